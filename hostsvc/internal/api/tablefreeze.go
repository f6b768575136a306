package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Freezes is what the interface wants of the broker of freezes. Both calls
// are about the orders of the calling VM and no others.
type Freezes interface {
	Next(ctx context.Context, c volspec.Caller, after string, wait time.Duration) (wire.FreezeOrders, error)
	Report(ctx context.Context, c volspec.Caller, id string, r wire.FreezeReport) (wire.FreezeAnswer, error)
}

var freezeEndpoints = []endpoint{
	{
		http.MethodGet, "/freezes", guests, volumeAttach, ofChannel,
		"Orders to freeze volumes in the calling VM; waits for one",
		[]param{
			{"after", "string", "the next of the answer before"},
			{"wait_ms", "integer", "how long to wait for an order, at most 25000"},
		},
		give(func(ctx context.Context, s *Server, c *call) (wire.FreezeOrders, error) {
			ms, err := c.number("wait_ms")
			if err != nil {
				return wire.FreezeOrders{}, err
			}
			ctx, cancel := untilStop(ctx)
			defer cancel()
			return s.o.Freezes.Next(ctx, c.caller, c.query.Get("after"), time.Duration(ms)*time.Millisecond)
		}),
	},
	{
		http.MethodPost, "/freezes/{id}", guests, volumeAttach, ofChannel,
		"Report on an order to freeze; the answer to frozen comes when the VM may thaw", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.FreezeReport) (wire.FreezeAnswer, error) {
			return s.o.Freezes.Report(ctx, c.caller, c.vars["id"], in)
		}),
	},
}

// untilStop is ctx for a request that only waits: it ends as soon as its
// listener stops, which otherwise would wait for it.
func untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	stop := stoppingOf(ctx)
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-stop:
			cancel(stopping)
		case <-ctx.Done():
		}
	})
	return ctx, func() { cancel(nil); watch.Wait() }
}
