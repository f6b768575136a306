package account

import (
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// limiter counts log-ins by the address they come from, for a minute at a time.
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

func (l *limiter) allow(from string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= time.Minute || now.Before(l.since) {
		l.since = now
		clear(l.seen)
	}
	if l.seen[from]++; l.seen[from] > l.limit || len(l.seen) > maxSeen {
		return errkind.New(errkind.Unavailable, "too many log-ins from this address: wait a minute and try again")
	}
	return nil
}

// The lock of an account grows with the refusals since the last good log-in.
const (
	lockAfter = 5
	lockFirst = 30 * time.Second
	lockMost  = time.Hour
)

func lockFor(failures int) time.Duration {
	if failures < lockAfter {
		return 0
	}
	return min(lockFirst<<min(failures-lockAfter, 16), lockMost)
}
