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

// NewAdminInside makes a client whose requests go through rt, for other parts of
// the service's own process.
func NewAdminInside(rt http.RoundTripper, o Options) *Admin { return &Admin{newCoreInside(rt, o)} }

func get[T any](ctx context.Context, a *Admin, q url.Values, path ...string) (into T, err error) {
	_, err = a.do(ctx, call{method: http.MethodGet, path: path, query: q, into: &into})
	return into, err
}

func change[T any](ctx context.Context, a *Admin, method string, q url.Values, body any, path ...string) (into T, err error) {
	_, err = a.do(ctx, call{method: method, path: path, query: q, body: body, into: &into, once: true})
	return into, err
}

func (a *Admin) tell(ctx context.Context, method string, q url.Values, body any, path ...string) error {
	_, err := a.do(ctx, call{method: method, path: path, query: q, body: body, once: true})
	return err
}

// below is the path of what a vmgroup has, or with "" the service itself.
func below(vmgroup string, path ...string) []string {
	if vmgroup == "" {
		return path
	}
	return append([]string{"vmgroups", vmgroup}, path...)
}

// Hello asks the service for its version and abilities.
func (a *Admin) Hello(ctx context.Context) (wire.Hello, error) { return a.hello(ctx) }

// OpenAPI is the description of this interface, as JSON.
func (a *Admin) OpenAPI(ctx context.Context) (Download, error) {
	return a.download(ctx, nil, "openapi.json")
}

// Status describes the service itself.
func (a *Admin) Status(ctx context.Context) (wire.Status, error) {
	return get[wire.Status](ctx, a, nil, "status")
}

// Doctor lets the service examine itself.
func (a *Admin) Doctor(ctx context.Context) ([]wire.Finding, error) {
	return get[[]wire.Finding](ctx, a, nil, "doctor")
}

// DoctorIsolation lets the service examine whether tenants learn of each other.
// It takes a minute or less.
func (a *Admin) DoctorIsolation(ctx context.Context) ([]wire.Finding, error) {
	return change[[]wire.Finding](ctx, a, http.MethodPost, nil, nil, "doctor", "isolation")
}

// VMs lists all virtual machines.
func (a *Admin) VMs(ctx context.Context) ([]wire.VM, error) {
	return get[[]wire.VM](ctx, a, nil, "vms")
}

// Datastores lists all datastores.
func (a *Admin) Datastores(ctx context.Context) ([]wire.Datastore, error) {
	return get[[]wire.Datastore](ctx, a, nil, "datastores")
}

// Scan compares a datastore with the catalog.
func (a *Admin) Scan(ctx context.Context, datastore string, r wire.Scan) (wire.ScanResult, error) {
	return change[wire.ScanResult](ctx, a, http.MethodPost, nil, r, "datastores", datastore, "scan")
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
