package kopia

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo/blob"
)

// meter counts what one backup writes and keeps it to a rate. It travels in
// the context through kopia to the guard. A nil meter does nothing.
type meter struct {
	stored atomic.Int64
	rate   *rate

	mu    sync.Mutex // guards packs
	packs []blob.ID
}

type meterKey struct{}

func withMeter(ctx context.Context, m *meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

func meterOf(ctx context.Context) *meter {
	m, _ := ctx.Value(meterKey{}).(*meter)
	return m
}

func (m *meter) wait(ctx context.Context, n int64) error {
	if m == nil {
		return nil
	}
	return m.rate.wait(ctx, n)
}

func (m *meter) add(n int64) {
	if m != nil {
		m.stored.Add(n)
	}
}

func (m *meter) packed(id blob.ID) {
	m.mu.Lock()
	m.packs = append(m.packs, id)
	m.mu.Unlock()
}

// rate is a number of bytes per second over everybody who waits on it.
type rate struct {
	perSecond int64

	mu   sync.Mutex // guards free
	free time.Time  // when all that was granted has passed
}

func newRate(perSecond int64) *rate {
	if perSecond <= 0 {
		return nil
	}
	return &rate{perSecond: perSecond}
}

// wait returns when n bytes may pass. What is granted late is not made up for.
func (r *rate) wait(ctx context.Context, n int64) error {
	if r == nil || n <= 0 {
		return nil
	}
	r.mu.Lock()
	now := time.Now()
	if r.free.Before(now) {
		r.free = now
	}
	r.free = r.free.Add(time.Duration(float64(n) / float64(r.perSecond) * float64(time.Second)))
	until := r.free.Sub(now)
	r.mu.Unlock()
	t := time.NewTimer(until)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
