package enroll

import (
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// limiter counts requests by who makes them, for a minute at a time.
type limiter struct {
	limit int
	now   func() time.Time

	mu    sync.Mutex // guards what follows
	since time.Time
	seen  map[string]int
}

func newLimiter(limit int, now func() time.Time) *limiter {
	return &limiter{limit: limit, now: now, seen: map[string]int{}}
}

// maxSeen bounds the table; beyond it everybody waits for the next minute.
const maxSeen = 100_000

func (l *limiter) allow(who string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= time.Minute || now.Before(l.since) {
		l.since = now
		clear(l.seen)
	}
	if l.seen[who]++; l.seen[who] > l.limit || len(l.seen) > maxSeen {
		return errkind.New(errkind.Unavailable, "too many requests for certificates: wait a minute and repeat")
	}
	return nil
}
