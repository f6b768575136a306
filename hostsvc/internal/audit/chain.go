// Package audit reads the audit log: pages of it, exports, and the check that
// nothing in it was changed, put in or taken out.
//
// Every vmgroup has a chain of lines of its own, and the service has one. Each
// line is numbered in its chain and holds a hash of itself and of the hash
// before it, so that no line can change without all later ones. Who keeps the
// last hash elsewhere can prove later that nothing was cut off either.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Line is a line of the audit log in its place.
type Line struct {
	volspec.Audit
	Group volspec.VMGroupID // whose chain, "" for the service's own
	Seq   int64             // in the whole log
	Link  int64             // in its chain, from 1; 0: older than chains
	Hash  string            // see Sum
}

// format is the first word that is hashed. Another format gets another word.
const format = "mooring audit 1"

// Sum is the hash of a line after the one whose hash is previous, "" for the
// first: SHA-256, in hex, over the words of the line, each as its length in
// bytes in decimal, a colon, itself and a comma. docs/operations.md lists the
// words; their order is for ever.
func Sum(previous string, l Line) string {
	h := sha256.New()
	for _, word := range []string{
		format, previous, string(l.Group), strconv.FormatInt(l.Link, 10), l.Time.UTC().Format(time.RFC3339Nano),
		l.Actor, l.As, l.From, l.VMGroup, l.Action, l.Object, l.Outcome, l.Detail, l.Request,
	} {
		h.Write([]byte(strconv.Itoa(len(word)) + ":" + word + ","))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Follower follows one chain from its first line. The zero value is at its
// beginning.
type Follower struct {
	Lines  int64  // that fit
	Head   string // hash of the last one
	Broken int64  // number of the first line that does not fit, 0 for none
	Why    string // it does not
}

// Next looks at the next line, and tells whether to go on.
func (f *Follower) Next(l Line) bool {
	switch {
	case l.Link != f.Lines+1:
		f.Broken, f.Why = f.Lines+1, "it is missing"
	case l.Hash != Sum(f.Head, l):
		f.Broken, f.Why = l.Link, "it was changed, or the one before it"
	default:
		f.Lines, f.Head = l.Link, l.Hash
		return true
	}
	return false
}
