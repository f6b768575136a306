package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Bundles moves tenants between instances.
type Bundles interface {
	Save(ctx context.Context, c volspec.Caller, name, passphrase string) (wire.Bundle, error)
	Load(ctx context.Context, c volspec.Caller, r wire.LoadTenant) (wire.TenantLoaded, error)
}

var bundleEndpoints = []endpoint{
	{
		http.MethodPost, "/vmgroups/{vmgroup}/save", admins, vmgroupManage, ofPath,
		"A tenant with all its secrets, sealed under a passphrase, for another instance", nil,
		reveal(take(func(ctx context.Context, s *Server, c *call, in wire.SaveTenant) (wire.Bundle, error) {
			return s.o.Bundles.Save(ctx, c.caller, c.group(), in.Passphrase)
		})),
	},
	{
		http.MethodPost, "/tenants/load", admins, vmgroupManage, allTenants,
		"Make a tenant, disabled at first, of what another instance has saved", nil,
		large(take(func(ctx context.Context, s *Server, c *call, in wire.LoadTenant) (wire.TenantLoaded, error) {
			return s.o.Bundles.Load(ctx, c.caller, in)
		})),
	},
}
