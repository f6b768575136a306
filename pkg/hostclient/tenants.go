package hostclient

import (
	"context"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// TenantQuery selects tenants; zero fields select everything. Sort is name,
// health, storage or users; Words are searched in name, description and e-mail.
// After is the Next of the page before, Limit the length of a page (0: the
// service's default).
type TenantQuery struct {
	Sort                        string
	Desc                        bool
	Words, State, Health, Label string
	After                       string
	Limit                       int
}

func (r TenantQuery) values() url.Values {
	q := url.Values{}
	set(q, "sort", r.Sort)
	setBool(q, "desc", r.Desc)
	set(q, "q", r.Words)
	set(q, "state", r.State)
	set(q, "health", r.Health)
	set(q, "label", r.Label)
	set(q, "after", r.After)
	setInt(q, "limit", r.Limit)
	return q
}

// Tenants is one page of tenants.
func (a *Admin) Tenants(ctx context.Context, r TenantQuery) (wire.TenantList, error) {
	return get[wire.TenantList](ctx, a, r.values(), "tenants")
}

// CreateTenant makes a vmgroup with all that belongs to a tenant.
func (a *Admin) CreateTenant(ctx context.Context, r wire.CreateTenant) (wire.TenantMade, error) {
	return change[wire.TenantMade](ctx, a, http.MethodPost, nil, r, "tenants")
}

// Tenant describes a vmgroup as a tenant.
func (a *Admin) Tenant(ctx context.Context, name string) (wire.Tenant, error) {
	return get[wire.Tenant](ctx, a, nil, "vmgroups", name, "tenant")
}

// UpdateTenant changes a tenant's state, contact data, description or guest
// access.
func (a *Admin) UpdateTenant(ctx context.Context, name string, r wire.UpdateTenant) (wire.Tenant, error) {
	return change[wire.Tenant](ctx, a, http.MethodPatch, nil, r, "vmgroups", name, "tenant")
}

// DeleteTenant takes a tenant out of use. One that has volumes or repositories
// is refused without withData. After its grace period, or at once with
// immediately, it is removed for good.
func (a *Admin) DeleteTenant(ctx context.Context, name string, withData, immediately bool) error {
	q := url.Values{}
	setBool(q, "with_data", withData)
	setBool(q, "now", immediately)
	return a.tell(ctx, http.MethodDelete, q, nil, "vmgroups", name, "tenant")
}

// SetProfile replaces a tenant's contact data and labels.
func (a *Admin) SetProfile(ctx context.Context, name string, p wire.Profile) (wire.Tenant, error) {
	return change[wire.Tenant](ctx, a, http.MethodPut, nil, p, "vmgroups", name, "profile")
}

// SetSecurity changes what is not nil of who gets at a tenant's data.
func (a *Admin) SetSecurity(ctx context.Context, name string, r wire.UpdateSecurity) (wire.Tenant, error) {
	return change[wire.Tenant](ctx, a, http.MethodPatch, nil, r, "vmgroups", name, "security")
}

// Settings are those of the installation.
func (a *Admin) Settings(ctx context.Context) (wire.Settings, error) {
	return get[wire.Settings](ctx, a, nil, "settings")
}

// PutSettings replaces the settings of the installation.
func (a *Admin) PutSettings(ctx context.Context, v wire.Settings) (wire.Settings, error) {
	return change[wire.Settings](ctx, a, http.MethodPut, nil, v, "settings")
}

// SaveTenant makes a bundle of a tenant, with all its secrets, sealed under a
// passphrase.
func (a *Admin) SaveTenant(ctx context.Context, name string, r wire.SaveTenant) (wire.Bundle, error) {
	return change[wire.Bundle](ctx, a, http.MethodPost, nil, r, "vmgroups", name, "save")
}

// LoadTenant makes a tenant, disabled at first, of a bundle.
func (a *Admin) LoadTenant(ctx context.Context, r wire.LoadTenant) (wire.TenantLoaded, error) {
	return change[wire.TenantLoaded](ctx, a, http.MethodPost, nil, r, "tenants", "load")
}
