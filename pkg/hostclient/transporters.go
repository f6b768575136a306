package hostclient

import (
	"context"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// Transporters lists those that work for a vmgroup, or with "" all that the
// caller may see.
func (a *Admin) Transporters(ctx context.Context, vmgroup string) ([]wire.Transporter, error) {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	return get[[]wire.Transporter](ctx, a, q, "transporters")
}

// UpdateTransporter changes a transporter's description.
func (a *Admin) UpdateTransporter(ctx context.Context, name string, r wire.UpdateTransporter) (wire.Transporter, error) {
	return change[wire.Transporter](ctx, a, http.MethodPatch, nil, r, "transporters", name)
}

// RemoveTransporter forgets a transporter that is offline and works for nobody.
func (a *Admin) RemoveTransporter(ctx context.Context, name string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "transporters", name)
}

// SetTransporters binds a vmgroup to transporters, these and no others, and
// tells of them.
func (a *Admin) SetTransporters(ctx context.Context, group string, r wire.SetTransporters) ([]wire.Transporter, error) {
	return change[[]wire.Transporter](ctx, a, http.MethodPut, nil, r, "vmgroups", group, "transporters")
}
