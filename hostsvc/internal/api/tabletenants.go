package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// lifecycle is what the interface wants of tenants beside their VMs and rights.
type lifecycle interface {
	Tenants(ctx context.Context, q tenancy.TenantQuery) (wire.TenantList, error)
	Tenant(ctx context.Context, name string) (wire.Tenant, error)
	CreateTenant(ctx context.Context, c volspec.Caller, r wire.CreateTenant) (wire.TenantMade, error)
	UpdateTenant(ctx context.Context, c volspec.Caller, name string, r wire.UpdateTenant) (wire.Tenant, error)
	SetProfile(ctx context.Context, c volspec.Caller, name string, p wire.Profile) (wire.Tenant, error)
	SetSecurity(ctx context.Context, c volspec.Caller, name string, r wire.UpdateSecurity) (wire.Tenant, error)
	DeleteTenant(ctx context.Context, c volspec.Caller, name string, withData, immediately bool) error
	Settings(ctx context.Context) (wire.Settings, error)
	PutSettings(ctx context.Context, c volspec.Caller, v wire.Settings) (wire.Settings, error)
}

var tenantEndpoints = []endpoint{
	{
		http.MethodGet, "/tenants", admins, serviceRead, allTenants,
		"The tenants with their states, in pages",
		append([]param{
			{"sort", "string", "name, health, storage or users"},
			{"desc", "boolean", "the other way around"},
			{"q", "string", "words in name, description or e-mail"},
			{"state", "string", "enabled, disabled or deleted"},
			{"health", "string", "good, notices or alarms"},
			{"label", "string", "only with this label"},
		}, pageParams...),
		give(listTenants),
	},
	{
		http.MethodPost, "/tenants", admins, vmgroupManage, allTenants,
		"Make a vmgroup with all that belongs to a tenant, or nothing", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateTenant) (wire.TenantMade, error) {
			return s.o.Tenants.CreateTenant(ctx, c.caller, in)
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/tenant", users, vmgroupRead, ofPath,
		"A vmgroup as a tenant: contact data, state, health", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Tenant, error) {
			return s.o.Tenants.Tenant(ctx, c.group())
		}),
	},
	{
		http.MethodPatch, "/vmgroups/{vmgroup}/tenant", admins, vmgroupManage, ofPath,
		"Change what is given of a tenant; state enabled brings a deleted one back", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.UpdateTenant) (wire.Tenant, error) {
			return s.o.Tenants.UpdateTenant(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodDelete, "/vmgroups/{vmgroup}/tenant", admins, vmgroupManage, ofPath,
		"Take a tenant out of use; after its grace period it is removed for good",
		[]param{
			{"with_data", "boolean", "even if it has volumes or repositories"},
			{"now", "boolean", "without a grace period"},
		},
		give(deleteTenant),
	},
	{
		http.MethodPut, "/vmgroups/{vmgroup}/profile", users, tenantManage, ofPath,
		"Replace a tenant's contact data and labels", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Profile) (wire.Tenant, error) {
			return s.o.Tenants.SetProfile(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodPatch, "/vmgroups/{vmgroup}/security", users, tenantManage, ofPath,
		"Change what is given of who gets at a tenant's data", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.UpdateSecurity) (wire.Tenant, error) {
			return s.o.Tenants.SetSecurity(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodGet, "/settings", admins, serviceRead, noTenant,
		"The settings of the installation", nil,
		give(func(ctx context.Context, s *Server, _ *call) (wire.Settings, error) { return s.o.Tenants.Settings(ctx) }),
	},
	{
		http.MethodPut, "/settings", admins, serviceManage, noTenant,
		"Replace the settings of the installation", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Settings) (wire.Settings, error) {
			return s.o.Tenants.PutSettings(ctx, c.caller, in)
		}),
	},
}

func listTenants(ctx context.Context, s *Server, c *call) (wire.TenantList, error) {
	desc, err := c.flag("desc")
	if err != nil {
		return wire.TenantList{}, err
	}
	limit, err := c.number("limit")
	if err != nil {
		return wire.TenantList{}, err
	}
	return s.o.Tenants.Tenants(ctx, tenancy.TenantQuery{
		Sort: c.query.Get("sort"), Desc: desc, Words: c.query.Get("q"), State: c.query.Get("state"),
		Health: c.query.Get("health"), Label: c.query.Get("label"), After: c.query.Get("after"), Limit: limit,
	})
}

func deleteTenant(ctx context.Context, s *Server, c *call) (wire.Message, error) {
	data, err := c.flag("with_data")
	if err != nil {
		return wire.Message{}, err
	}
	immediately, err := c.flag("now")
	if err != nil {
		return wire.Message{}, err
	}
	return said(s.o.Tenants.DeleteTenant(ctx, c.caller, c.group(), data, immediately), "tenant", c.group(), "is deleted")
}
