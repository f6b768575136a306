package driver

import (
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// How long a question that the cache could answer waits for the service:
// long while it is known to be well, so that an answer is fresh even on a
// loaded machine; short once it did not answer.
const (
	patientAsk = 5 * time.Second
	hastyAsk   = 500 * time.Millisecond
)

// health remembers whether the host service answered last time.
type health struct {
	mu   sync.Mutex // guards away
	away bool
}

// saw notes the outcome of a call and returns it.
func (h *health) saw(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away = errkind.Is(err, errkind.Unavailable)
	return err
}

// ask bounds a call whose answer the cache could give instead.
func (h *health) ask(ctx context.Context, cached bool) (context.Context, context.CancelFunc) {
	h.mu.Lock()
	away := h.away
	h.mu.Unlock()
	switch {
	case !cached:
		return context.WithCancel(ctx)
	case away:
		return context.WithTimeout(ctx, hastyAsk)
	}
	return context.WithTimeout(ctx, patientAsk)
}
