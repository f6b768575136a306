// Package ratelimit bounds how often somebody does something that costs others,
// such as guessing.
package ratelimit

import (
	"net/netip"
	"sync"
	"time"
)

// Limiter counts deeds by who does them, for a minute at a time. It is safe for
// concurrent use.
type Limiter struct {
	most    int
	now     func() time.Time
	refusal error

	mu    sync.Mutex // guards what follows
	since time.Time
	seen  map[string]int
}

// New makes a limiter that answers refusal to everybody's deeds beyond most in
// one minute.
func New(most int, now func() time.Time, refusal error) *Limiter {
	return &Limiter{most: most, now: now, refusal: refusal, seen: map[string]int{}}
}

// maxSeen bounds the table; beyond it everybody waits for the next minute.
const maxSeen = 100_000

// Allow counts one deed of who, and refuses it when there were too many.
func (l *Limiter) Allow(who string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.now(); now.Sub(l.since) >= time.Minute || now.Before(l.since) {
		l.since = now
		clear(l.seen)
	}
	if l.seen[who]++; l.seen[who] > l.most || len(l.seen) > maxSeen {
		return l.refusal
	}
	return nil
}

// Source is the address that a peer on a network counts for; of IPv6 the
// network, since whoever has one address there has all of them.
func Source(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() || a.IsLoopback() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}
