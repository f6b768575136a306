package api

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (s stubTenants) Tenants(ctx context.Context, q tenancy.TenantQuery) (wire.TenantList, error) {
	return wire.TenantList{}, s.note(ctx, "tenancy.Tenants", nobody, q)
}

func (s stubTenants) Tenant(ctx context.Context, name string) (wire.Tenant, error) {
	return wire.Tenant{Name: name}, s.note(ctx, "tenancy.Tenant", nobody, name)
}

func (s stubTenants) CreateTenant(ctx context.Context, c volspec.Caller, r wire.CreateTenant) (wire.TenantMade, error) {
	return wire.TenantMade{}, s.note(ctx, "tenancy.CreateTenant", c, r)
}

func (s stubTenants) UpdateTenant(ctx context.Context, c volspec.Caller, name string, r wire.UpdateTenant) (wire.Tenant, error) {
	return wire.Tenant{}, s.note(ctx, "tenancy.UpdateTenant", c, name, r)
}

func (s stubTenants) SetProfile(ctx context.Context, c volspec.Caller, name string, p wire.Profile) (wire.Tenant, error) {
	return wire.Tenant{}, s.note(ctx, "tenancy.SetProfile", c, name, p)
}

func (s stubTenants) SetSecurity(ctx context.Context, c volspec.Caller, name string, r wire.UpdateSecurity) (wire.Tenant, error) {
	return wire.Tenant{}, s.note(ctx, "tenancy.SetSecurity", c, name, r)
}

func (s stubTenants) DeleteTenant(ctx context.Context, c volspec.Caller, name string, withData, immediately bool) error {
	return s.note(ctx, "tenancy.DeleteTenant", c, name, withData, immediately)
}

func (s stubTenants) Settings(ctx context.Context) (wire.Settings, error) {
	return wire.Settings{}, s.note(ctx, "tenancy.Settings", nobody)
}

func (s stubTenants) PutSettings(ctx context.Context, c volspec.Caller, v wire.Settings) (wire.Settings, error) {
	return v, s.note(ctx, "tenancy.PutSettings", c, v)
}
