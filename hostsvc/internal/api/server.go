package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Options are the parts and settings of a Server.
type Options struct {
	Volumes  Volumes
	Tenants  Tenants
	System   System
	Freezes  Freezes
	Backups  Backups  // nil: a service without backup
	Accounts Accounts // nil: a service without users
	Audit    Audit
	Notify   Notifications

	Overview Overview

	Enrolment Enrolment
	Providers Providers

	SelfBackup   SelfBackup
	Allowances   Allowances
	Transporters Transporters
	Bundles      Bundles

	// Isolation examines whether tenants learn of each other; nil: it cannot.
	Isolation func(ctx context.Context, c volspec.Caller) ([]wire.Finding, error)

	Answers Answers // nil: idempotency keys are not looked at

	Version      string
	Capabilities []string

	RequestLimit time.Duration // of one request's work; 0: 2 minutes
	DrainLimit   time.Duration // how long a stop waits for requests; 0: 10 seconds
	Conns        int           // open connections per listener, more wait; 0: 64
	SharedConns  int           // the same for a listener that all VMs share; 0: 4096
}

// lastWords is what requests get that are cut off, to answer.
const lastWords = time.Second

// Server answers requests on any number of listeners.
type Server struct {
	o         Options
	metrics   *metrics
	writeTime time.Duration // how long a peer may take to read an answer, or a piece of a stream

	eventPause, keepAlive time.Duration // between events of a job, and between signs of life
	watchPause            time.Duration // between looks at whether a caller may still wait
}

// New makes a server that listens nowhere yet.
func New(o Options) *Server {
	o.RequestLimit = cmp.Or(o.RequestLimit, 2*time.Minute)
	o.DrainLimit = cmp.Or(o.DrainLimit, 10*time.Second)
	o.Conns = cmp.Or(o.Conns, 64)
	o.SharedConns = cmp.Or(o.SharedConns, 4096)
	return &Server{
		o: o, metrics: newMetrics(o.Version, statsOf{o.System, o.Volumes}),
		writeTime: 30 * time.Second, eventPause: 500 * time.Millisecond, keepAlive: 15 * time.Second, watchPause: 3 * time.Second,
	}
}

// statsOf takes the gauges from where they are known anyway.
type statsOf struct {
	System
	inventory
}

// Serve answers requests on l, whose peers id names, until ctx ends. Then it
// accepts no more, lets requests in flight finish for DrainLimit, cuts off
// the rest and returns when nothing it started is left. l is closed. It
// returns nil unless accepting failed.
func (s *Server) Serve(ctx context.Context, l net.Listener, id Identity) error {
	return s.serveTo(ctx, newLimitListener(l, s.o.Conns), id)
}

// ServeShared is Serve for a listener that all VMs share.
func (s *Server) ServeShared(ctx context.Context, l net.Listener, id Identity) error {
	return s.serveTo(ctx, newLimitListener(l, s.o.SharedConns), id)
}

func (s *Server) serveTo(ctx context.Context, l net.Listener, id Identity) error {
	return s.listen(ctx, l, nil, func(w http.ResponseWriter, r *http.Request) {
		// For others than an admin /healthz and the like do not exist.
		if h := s.observer(r.URL.Path); h != nil {
			if c, err := id(r.Context(), r); err == nil && c.Admin {
				h(w, r)
				return
			}
		}
		s.serve(w, r, id)
	})
}

// ServeObservers answers only /healthz, /readyz and /metrics, to everybody
// who reaches l. Otherwise it is as Serve.
func (s *Server) ServeObservers(ctx context.Context, l net.Listener) error {
	return s.listen(ctx, newLimitListener(l, s.o.Conns), nil, func(w http.ResponseWriter, r *http.Request) {
		if h := s.observer(r.URL.Path); h != nil {
			h(w, r)
			return
		}
		writeProblem(w, problemFor(log.WithRequest(r.Context(), ""), volspec.Caller{}, noEndpoint))
	})
}

// stopping is why requests end that outlast DrainLimit.
var stopping = errkind.New(errkind.Unavailable, "mooringd is stopping: repeat the command in a moment")

type stopKey struct{}

// stoppingOf is closed when the listener of a request's connection begins to
// stop: what waits without working ends then.
func stoppingOf(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}

// listen is Serve with a handler; c adds TLS to l, nil for none.
func (s *Server) listen(ctx context.Context, l net.Listener, c *tls.Config, h http.HandlerFunc) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	base = context.WithValue(base, stopKey{}, ctx.Done())
	var conns sync.WaitGroup // the goroutines that net/http starts
	srv := &http.Server{
		Handler:     h,
		BaseContext: func(net.Listener) context.Context { return base },
		ConnContext: withConn,
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew: // in the loop that accepts, so before Serve returns
				conns.Add(1)
			case http.StateClosed:
				conns.Done()
			}
		},
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          stdlog.New(lineLog{log.G(ctx)}, "", 0),
	}
	drained := make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(drained)
		s.drain(base, srv, cut)
	})
	serve := srv.Serve
	if c != nil {
		srv.TLSConfig, srv.HTTP2 = c, &http.HTTP2Config{MaxConcurrentStreams: webStreams}
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	err := serve(l)
	if unhook() { // ctx lives: accepting failed
		_ = srv.Close() // its only error is that of the listener, known
	} else {
		<-drained
	}
	cut(nil)
	conns.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return errkind.Wrap(errkind.Unavailable, err, "serve on %s", l.Addr())
}

// drain stops srv: it accepts no more, waits for requests, then ends their
// contexts so that they can still answer, and then their connections.
func (s *Server) drain(ctx context.Context, srv *http.Server, cut context.CancelCauseFunc) {
	for _, limit := range []time.Duration{s.o.DrainLimit, lastWords} {
		wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		err := srv.Shutdown(wait)
		cancel()
		if err == nil {
			return
		}
		log.G(ctx).WithField(log.Err, err.Error()).Warn("requests did not finish in time and are cut off")
		cut(stopping)
	}
	_ = srv.Close() // its only error is that of the listener, closed long before
}

// lineLog takes what net/http has to say about connections.
type lineLog struct{ to *log.Entry }

var _ io.Writer = lineLog{}

func (l lineLog) Write(b []byte) (int, error) {
	l.to.WithField(log.Err, strings.TrimSpace(string(b))).Debug("connection")
	return len(b), nil
}
