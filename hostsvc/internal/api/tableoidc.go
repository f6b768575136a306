package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Providers is what the interface wants of log-in by OIDC providers. vmgroup ""
// is the master.
type Providers interface {
	Get(ctx context.Context, vmgroup string) (wire.OIDC, error)
	Put(ctx context.Context, c volspec.Caller, vmgroup string, r wire.OIDC) (wire.OIDC, error)
	Remove(ctx context.Context, c volspec.Caller, vmgroup string) error
}

func getOIDC(ctx context.Context, s *Server, c *call) (wire.OIDC, error) {
	return s.o.Providers.Get(ctx, c.group())
}

func putOIDC(ctx context.Context, s *Server, c *call, in wire.OIDC) (wire.OIDC, error) {
	return s.o.Providers.Put(ctx, c.caller, c.group(), in)
}

func removeOIDC(ctx context.Context, s *Server, c *call) (wire.Message, error) {
	return said(s.o.Providers.Remove(ctx, c.caller, c.group()), "log-in by a provider is removed")
}

var oidcEndpoints = []endpoint{
	{http.MethodGet, "/oidc", admins, serviceManage, noTenant, "The OIDC provider by which the master's users log in", nil, give(getOIDC)},
	{http.MethodPut, "/oidc", admins, serviceManage, noTenant, "Let the master's users log in by an OIDC provider", nil, take(putOIDC)},
	{http.MethodDelete, "/oidc", admins, serviceManage, noTenant, "Remove the OIDC provider of the master's users", nil, give(removeOIDC)},
	{http.MethodGet, "/vmgroups/{vmgroup}/oidc", users, tenantManage, ofPath, "The OIDC provider by which a tenant's users log in", nil, give(getOIDC)},
	{http.MethodPut, "/vmgroups/{vmgroup}/oidc", users, tenantManage, ofPath, "Let a tenant's users log in by an OIDC provider", nil, take(putOIDC)},
	{http.MethodDelete, "/vmgroups/{vmgroup}/oidc", users, tenantManage, ofPath, "Remove the OIDC provider of a tenant's users", nil, give(removeOIDC)},
}
