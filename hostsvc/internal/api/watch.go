package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// watched is ctx until the caller of x is not any more who it was, or may not
// read any more what x opens: what only waits or reads for long ends then, with
// the refusal as the cause. The caller calls stop when it is done.
func (s *Server) watched(ctx context.Context, x *exchange) (watched context.Context, stop func()) {
	if x.caller.User == "" || s.o.Accounts == nil || x.endpoint.method != http.MethodGet {
		return ctx, func() {}
	}
	watched, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(s.watchPause)
		defer tick.Stop()
		for {
			select {
			case <-watched.Done():
				return
			case <-tick.C:
			}
			err := s.o.Accounts.Still(watched, x.caller)
			if err == nil {
				err = s.mayRead(watched, x)
			}
			if errkind.Is(err, errkind.Denied) {
				cancel(err)
			}
		}
	})
	return watched, func() {
		cancel(nil)
		wg.Wait()
	}
}

// revoked is why the work under ctx ended, if its caller lost its rights.
func revoked(ctx context.Context) error {
	if err := context.Cause(ctx); errkind.Is(err, errkind.Denied) {
		return err
	}
	return nil
}
