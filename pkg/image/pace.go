package image

import (
	"context"
	"sync"
	"time"
)

// Pace holds a stream of bytes to Rate bytes per second, 0 for no limit, over
// any number of goroutines. The zero value is ready.
type Pace struct {
	Rate int64

	mu   sync.Mutex // guards next
	next time.Time  // when the next byte may go
}

// Wait returns when n more bytes may go, or with the cause of ctx's end. After
// a pause a tenth of a second's worth may go at once, not more.
func (p *Pace) Wait(ctx context.Context, n int64) error {
	if p.Rate <= 0 {
		return context.Cause(ctx)
	}
	p.mu.Lock()
	now := time.Now()
	if floor := now.Add(-time.Second / 10); p.next.Before(floor) {
		p.next = floor
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.Rate) * float64(time.Second)))
	wait := p.next.Sub(now)
	p.mu.Unlock()
	if wait <= 0 {
		return context.Cause(ctx)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
