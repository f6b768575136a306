package hostclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"mooring.dev/mooring/pkg/wire"
)

// Admin makes the calls of the service's administrator. A change whose
// answer was lost is not repeated, since somebody else may have acted in
// between: the error says that the service did not answer.
type Admin struct{ *core }

// NewAdmin makes a client of the admin channel at url. It does not connect
// yet. Close lets go of idle connections.
func NewAdmin(url string, o Options) *Admin { return &Admin{newCore(url, o)} }

func (a *Admin) get(ctx context.Context, q url.Values, into any, path ...string) error {
	_, err := a.do(ctx, call{method: http.MethodGet, path: path, query: q, into: into})
	return err
}

func (a *Admin) change(ctx context.Context, method string, q url.Values, body, into any, path ...string) error {
	_, err := a.do(ctx, call{method: method, path: path, query: q, body: body, into: into, once: true})
	return err
}

// Hello asks the service for its version and abilities.
func (a *Admin) Hello(ctx context.Context) (wire.Hello, error) { return a.hello(ctx) }

// Status describes the service itself.
func (a *Admin) Status(ctx context.Context) (s wire.Status, err error) {
	return s, a.get(ctx, nil, &s, "status")
}

// Doctor lets the service examine itself.
func (a *Admin) Doctor(ctx context.Context) (f []wire.Finding, err error) {
	return f, a.get(ctx, nil, &f, "doctor")
}

// Audit reads the audit log, newest first: of one vmgroup or, with "", of
// all; limit 0 is the service's default.
func (a *Admin) Audit(ctx context.Context, vmgroup string, limit int) (e []wire.AuditEntry, err error) {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	setInt(q, "limit", limit)
	return e, a.get(ctx, q, &e, "audit")
}

// VMs lists all virtual machines.
func (a *Admin) VMs(ctx context.Context) (v []wire.VM, err error) {
	return v, a.get(ctx, nil, &v, "vms")
}

// Datastores lists all datastores.
func (a *Admin) Datastores(ctx context.Context) (d []wire.Datastore, err error) {
	return d, a.get(ctx, nil, &d, "datastores")
}

// Scan compares a datastore with the catalog.
func (a *Admin) Scan(ctx context.Context, datastore string, r wire.Scan) (s wire.ScanResult, err error) {
	return s, a.change(ctx, http.MethodPost, nil, r, &s, "datastores", datastore, "scan")
}

func setInt(q url.Values, key string, n int) {
	if n > 0 {
		q.Set(key, strconv.Itoa(n))
	}
}

func setBool(q url.Values, key string, b bool) {
	if b {
		q.Set(key, "true")
	}
}
