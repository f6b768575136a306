package app

import (
	"context"
	"net/http"
	"sync/atomic"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// gate holds requests off until recovery has made the catalog true. Sockets
// listen before that, so that a guest which boots with the host is told to
// repeat instead of finding nobody.
type gate struct{ opened atomic.Bool }

func (g *gate) open() { g.opened.Store(true) }

// check is nil once the gate is open.
func (g *gate) check() error {
	if g.opened.Load() {
		return nil
	}
	return errkind.New(errkind.Unavailable, "mooringd is starting: repeat the command in a moment")
}

// before puts the gate before an identity: nobody is anybody until it opens.
func (g *gate) before(id api.Identity) api.Identity {
	return func(ctx context.Context, r *http.Request) (volspec.Caller, error) {
		if err := g.check(); err != nil {
			return volspec.Caller{}, err
		}
		return id(ctx, r)
	}
}
