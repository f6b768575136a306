package kopia

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/kopia/kopia/repo/blob"

	"mooring.dev/mooring/pkg/image"
)

// meter counts what one backup writes and keeps it to a rate. It travels in
// the context through kopia to the guard. A nil meter does nothing.
type meter struct {
	stored atomic.Int64
	pace   image.Pace

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
	return m.pace.Wait(ctx, n)
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
