package dockerapi

import (
	"context"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// headerTime bounds the wait for a request that began. There is no limit on
// the whole of it: net/http would end a long call's context with that.
const headerTime = 10 * time.Second

// Serve answers requests on l until ctx ends, then accepts no more, lets the
// requests in flight end within drain, drops the rest and returns when their
// handlers have returned. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, drain time.Duration) error {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime,
		BaseContext: func(net.Listener) context.Context { return inner },
		ErrorLog:    stdlog.New(io.Discard, "", 0), // aborted handlers are intended
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }() // ends with Shutdown or Close below
	select {
	case err := <-ended:
		return errkind.Wrap(errkind.Unavailable, err, "serve Docker's requests")
	case <-ctx.Done():
	}
	stop, done := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer done()
	err := s.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		cancel(errkind.New(errkind.Unavailable, "the plugin is stopping: repeat the command"))
		last, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if err = s.Shutdown(last); err != nil {
			err = errors.Join(err, s.Close())
		}
	}
	if serr := <-ended; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return errkind.Wrap(errkind.Unavailable, err, "stop serving Docker's requests")
}
