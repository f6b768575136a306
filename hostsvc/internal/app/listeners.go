package app

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"slices"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
)

// door is one listener with who may enter. A nil id is for observers.
type door struct {
	name string // for messages: admin, metrics, VM docker1
	key  doorKey
	id   api.Identity
	l    net.Listener

	cert   func() (*tls.Certificate, error) // of a TLS door
	shared bool                             // by many VMs
	web    *api.Web                         // of the door for people
}

// doorKey is what makes two doors the same one.
type doorKey struct {
	network, address string
	mode             os.FileMode
	gid              int
	vm               string
}

// listen opens a door. Nobody is answered before listeners has it.
func (d *door) listen(ctx context.Context) (err error) {
	if d.key.network == "tls" {
		d.l, err = transport.ListenTLS(ctx, d.key.address, d.cert)
		return err
	}
	if d.key.network == "tcp" {
		d.l, err = new(net.ListenConfig).Listen(ctx, "tcp", d.key.address)
		return errkind.Wrap(errkind.Unavailable, err, "cannot listen for %s", d.name)
	}
	d.l, err = transport.ListenUnix(ctx, d.key.address, d.key.mode, -1, d.key.gid)
	return err
}

// listeners serves a set of doors that can change while it runs.
type listeners struct {
	server  *api.Server
	initial []*door
	changes chan change
}

type change struct {
	open, shut []*door
	done       chan struct{} // closed when shut doors answer nobody any more
}

func newListeners(s *api.Server) *listeners {
	return &listeners{server: s, changes: make(chan change)}
}

// Run serves until ctx ends or a door fails; then all doors shut at the same
// time, each letting its requests finish.
func (l *listeners) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type open struct {
		cancel context.CancelFunc
		ended  chan struct{}
	}
	var running sync.WaitGroup
	defer running.Wait()
	failed := make(chan error, 1)
	doors := map[*door]open{}
	start := func(d *door) {
		dctx, shut := context.WithCancel(ctx)
		o := open{shut, make(chan struct{})}
		doors[d] = o
		running.Go(func() {
			defer close(o.ended)
			defer shut()
			if err := l.serve(dctx, d); err != nil {
				select {
				case failed <- err:
				default: // one is enough to stop all
				}
			}
		})
	}
	for _, d := range l.initial {
		start(d)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case c := <-l.changes:
			for _, d := range c.shut {
				doors[d].cancel()
			}
			for _, d := range c.shut {
				<-doors[d].ended
				delete(doors, d)
			}
			for _, d := range c.open {
				start(d)
			}
			close(c.done)
		}
	}
}

func (l *listeners) serve(ctx context.Context, d *door) error {
	if d.web != nil {
		return l.server.ServeWeb(ctx, d.l, *d.web)
	}
	if d.id == nil {
		return l.server.ServeObservers(ctx, d.l)
	}
	if d.shared {
		return l.server.ServeShared(ctx, d.l, d.id)
	}
	return l.server.Serve(ctx, d.l, d.id)
}

// change opens and shuts doors of a running set and waits for it.
func (l *listeners) change(ctx context.Context, open, shut []*door) error {
	c := change{open: open, shut: shut, done: make(chan struct{})}
	select {
	case l.changes <- c:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listenAll opens all doors or none.
func listenAll(ctx context.Context, doors []*door) error {
	for i, d := range doors {
		if err := d.listen(ctx); err != nil {
			return errors.Join(err, closeAll(doors[:i]))
		}
	}
	return nil
}

func closeAll(doors []*door) error {
	var errs []error
	for _, d := range doors {
		errs = append(errs, d.l.Close())
	}
	return errors.Join(errs...)
}

// compare sorts doors into those to open, to shut and to keep.
func compare(old, want []*door) (open, shut, keep []*door) {
	same := func(a *door) func(*door) bool { return func(b *door) bool { return a.key == b.key } }
	for _, d := range want {
		if i := slices.IndexFunc(old, same(d)); i >= 0 {
			keep = append(keep, old[i])
		} else {
			open = append(open, d)
		}
	}
	for _, d := range old {
		if !slices.ContainsFunc(want, same(d)) {
			shut = append(shut, d)
		}
	}
	return open, shut, keep
}
