package app

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/isolation"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// prover runs the check of the isolation of tenants, one at a time.
type prover struct {
	d  *daemon
	mu sync.Mutex
}

// check lets the service examine itself as its tenants' users would, inside
// this process.
func (p *prover) check(ctx context.Context, c volspec.Caller) ([]wire.Finding, error) {
	if !p.mu.TryLock() {
		return nil, errkind.New(errkind.InUse, "the isolation of tenants is being examined already: wait until that ends")
	}
	defer p.mu.Unlock()
	dir := filepath.Join(p.d.config().Backup.CacheDir, "isolation")
	if err := emptied(dir); err != nil {
		return nil, err
	}
	inside := p.d.listeners.server.Inside()
	r, err := isolation.Check(ctx, isolation.Options{
		Operations: operations(),
		API:        insideAs{inside, api.PeoplePeers(p.d.accounts)},
		Admin: hostclient.NewAdminInside(insideAs{inside, func(context.Context, *http.Request) (volspec.Caller, error) {
			return c, nil
		}}, hostclient.Options{UserAgent: "doctor"}),
		Repository: dir,
	})
	if err != nil {
		return nil, err
	}
	return r.Findings(), errkind.Wrap(errkind.Unavailable, os.RemoveAll(dir), "remove the repository of the check")
}

func emptied(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "remove the repository of an earlier check")
	}
	return errkind.Wrap(errkind.Unavailable, os.MkdirAll(dir, 0o700), "make a directory for the check")
}

// insideAs is the interface inside this process, for whom id finds.
type insideAs struct {
	next http.RoundTripper
	id   api.Identity
}

// RoundTrip implements http.RoundTripper.
func (i insideAs) RoundTrip(r *http.Request) (*http.Response, error) {
	c, err := i.id(r.Context(), r)
	if err != nil {
		return nil, err
	}
	return i.next.RoundTrip(r.WithContext(api.WithCaller(r.Context(), c)))
}

// operations are the endpoints that a check of the isolation plays.
func operations() []isolation.Operation {
	all := api.Table()
	ops := make([]isolation.Operation, len(all))
	for i, o := range all {
		ops[i] = isolation.Operation(o)
	}
	return ops
}
