package app

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"strings"
	"sync"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// firstAttempts is how many wrong codes end the first visit until a restart.
const firstAttempts = 10

// firstCode proves on the first visit that somebody reads mooringd's log. It
// lives as long as the process. It is safe for concurrent use.
type firstCode struct {
	code string

	mu    sync.Mutex // guards wrong
	wrong int
}

func newFirstCode() *firstCode {
	text := rand.Text() // of 26 characters
	return &firstCode{code: strings.ToLower(text[:5] + "-" + text[5:10] + "-" + text[10:15] + "-" + text[15:20])}
}

// check refuses a code that is not the one.
func (f *firstCode) check(code string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong >= firstAttempts {
		return errkind.New(errkind.Denied, "there were too many wrong codes: restart mooringd for a new one, or run mooringd init on its machine")
	}
	if subtle.ConstantTimeCompare([]byte(strings.ToLower(strings.TrimSpace(code))), []byte(f.code)) == 1 {
		return nil
	}
	f.wrong++
	return errkind.New(errkind.Denied, "this is not the code of the first visit: it is in the log of mooringd, in the line about the first administrator")
}

// announceFirst writes the code into the log while nobody can log in.
func (d *daemon) announceFirst(ctx context.Context) error {
	if d.webURL() == "" {
		return nil
	}
	first, err := d.accounts.NeedsFirst(ctx)
	if err != nil || !first {
		return err
	}
	log.G(ctx).WithField("url", d.webURL()).WithField("code", d.web.first.code).
		Warn("nobody can log in yet: make the first administrator in the portal with this one-time code, or with mooringd init")
	return nil
}
