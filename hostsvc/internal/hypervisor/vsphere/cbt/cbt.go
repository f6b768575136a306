// Package cbt holds the rules by which vSphere's changed block tracking is
// believed. Tracking answers the question which areas of a disk were written
// between a moment of the past, named by a change id, and a snapshot. It is
// only right within one generation of one chain; everything here errs on the
// side of a full read.
//
// The functions are pure but for the query, which is an interface.
package cbt

import (
	"regexp"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// All asks for the allocated areas of a disk instead of its changes. It is not
// "what changed since the beginning".
const All = "*"

// ID names a moment in the life of one disk: the generation of its tracking,
// and a counter that grows with every snapshot.
type ID struct {
	Generation string // 16 bytes in hexadecimal, as vSphere writes a disk's UUID
	Counter    string
}

func (id ID) String() string { return id.Generation + "/" + id.Counter }

var shape = regexp.MustCompile(`^([0-9a-f]{2}( [0-9a-f]{2}){7}-[0-9a-f]{2}( [0-9a-f]{2}){7})/([0-9]{1,20})$`)

// ParseID reads a change id. An id of another shape is invalid: it is never
// sent, since vSphere would take it for one of another disk.
func ParseID(s string) (ID, error) {
	m := shape.FindStringSubmatch(strings.ToLower(s))
	if m == nil {
		return ID{}, errkind.New(errkind.Invalid, "change id %q has not the shape of one: read the whole disk", s)
	}
	return ID{Generation: m[1], Counter: m[4]}, nil
}

// Compare decides whether changes from snapshot base to snapshot now can be
// asked for, by the change ids that each of them bears, and returns the one to
// ask with. Otherwise it is unsupported with the reason.
func Compare(base, now string) (ID, error) {
	if base == "" || now == "" {
		which := "the older"
		if base != "" {
			which = "the newer"
		}
		return ID{}, cannot("changes were not tracked when %s snapshot was made", which)
	}
	from, err := ParseID(base)
	if err != nil {
		return ID{}, cannot("the change id %q of the older snapshot has not the shape of one", base)
	}
	to, err := ParseID(now)
	if err != nil {
		return ID{}, cannot("the change id %q of the newer snapshot has not the shape of one", now)
	}
	if from.Generation != to.Generation {
		return ID{}, cannot("tracking was begun anew between the two snapshots")
	}
	if older(to.Counter, from.Counter) {
		return ID{}, cannot("the snapshot to compare is older than the one to compare with")
	}
	return from, nil
}

// older compares two counters, which are decimal numbers of up to 20 digits.
func older(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a < b
}

func cannot(format string, args ...any) error {
	return errkind.New(errkind.Unsupported, format, args...)
}
