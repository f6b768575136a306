package app

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/isolation"
	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// prover runs the check of the isolation of tenants, one at a time.
type prover struct {
	d       *daemon
	options func(c volspec.Caller, dir string) isolation.Options // see daemon.examination

	mu sync.Mutex // held while one runs
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
	r, err := isolation.Check(ctx, p.options(c, dir))
	if err != nil {
		return nil, err
	}
	return r.Findings(), errkind.Wrap(errkind.Unavailable, os.RemoveAll(dir), "remove the repository of the check")
}

// run takes away at the start what a check left during which the service was
// killed. In a catalog that several services share another may be in the middle
// of one: there the next check does it.
func (p *prover) run(ctx context.Context) error {
	if p.d.config().Catalog.Driver != config.Postgres {
		p.mu.Lock()
		o := p.options(volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "service"}, "")
		err := isolation.Sweep(ctx, o.Admin)
		p.mu.Unlock()
		if err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("tenants of a check of the isolation are left")
		}
	}
	<-ctx.Done()
	return nil
}

// examination is what a check in the name of c works with.
func (d *daemon) examination(c volspec.Caller, dir string) isolation.Options {
	inside, site := d.listeners.server.Inside(), d.site()
	return isolation.Options{
		Operations: operations(),
		Pages:      pages(site),
		API:        channel{insideAs{inside, api.PeoplePeers(d.accounts)}, site},
		Admin: hostclient.NewAdminInside(insideAs{inside, func(context.Context, *http.Request) (volspec.Caller, error) {
			return c, nil
		}}, hostclient.Options{UserAgent: "doctor"}),
		Repository: dir,
	}
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

// pages are those of the portal, none where there is no portal.
func pages(site http.Handler) []isolation.Page {
	if site == nil {
		return nil
	}
	all := portal.Table()
	pages := make([]isolation.Page, len(all))
	for i, p := range all {
		pages[i] = isolation.Page(p)
	}
	return pages
}

// site is what the channel for people shows beside the interface, nil where
// there is no such channel.
func (d *daemon) site() http.Handler {
	for _, door := range d.openDoors() {
		if door.name == webDoor {
			return door.web.Pages
		}
	}
	return nil
}

// channel is the channel for people inside this process.
type channel struct {
	api  http.RoundTripper
	site http.Handler
}

// RoundTrip implements http.RoundTripper.
func (c channel) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, wire.Prefix+"/") {
		return c.api.RoundTrip(r)
	}
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	w := &shown{header: http.Header{}}
	c.site.ServeHTTP(w, r)
	w.WriteHeader(http.StatusOK)
	return &http.Response{
		StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: w.header,
		Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}, nil
}

// shown is a whole answer of the portal.
type shown struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (s *shown) Header() http.Header { return s.header }

func (s *shown) WriteHeader(status int) { s.status = cmp.Or(s.status, status) }

func (s *shown) Write(b []byte) (int, error) {
	s.WriteHeader(http.StatusOK)
	return s.body.Write(b)
}

// Flush has nothing to do: the answer is read when it is complete.
func (s *shown) Flush() {}
