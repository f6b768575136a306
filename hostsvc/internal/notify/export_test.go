package notify

import (
	"context"
	"time"
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
