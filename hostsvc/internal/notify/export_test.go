package notify

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// For tests of texts, signatures and what is due.
var (
	Sign    = sign
	Subject = subject
	Body    = body
	LastDue = lastDue
)

// Send is one look of Run at what is due.
func (s *Digests) Send(ctx context.Context, now time.Time) { s.send(ctx, now) }

// DigestLetter is a digest in which everything has that name.
func DigestLetter(name string, d wire.Dashboard, now time.Time) (subject, text, html string, err error) {
	l, err := digestLetter(summary{Product: name, URL: name, Every: Daily, Dashboard: d, now: now})
	return l.subject, l.text, l.html, err
}
