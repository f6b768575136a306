package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Allowances is everything the interface wants of the pool and what is delegated
// of it.
type Allowances interface {
	Pool(ctx context.Context) (wire.Pool, error)
	SetPool(ctx context.Context, c volspec.Caller, r wire.Amounts) (wire.Pool, error)
	Allowance(ctx context.Context, group string) (wire.Allowance, error)
	SetAllowance(ctx context.Context, c volspec.Caller, group string, r wire.Amounts) (wire.Allowance, error)
}

var allowanceEndpoints = []endpoint{
	{
		http.MethodGet, "/pool", admins, serviceRead, allTenants,
		"What the service may hand out, and what of it is delegated and used", nil,
		give(func(ctx context.Context, s *Server, _ *call) (wire.Pool, error) { return s.o.Allowances.Pool(ctx) }),
	},
	{
		http.MethodPut, "/pool", admins, serviceManage, allTenants,
		"Replace the pool; what is left out has no bound", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Amounts) (wire.Pool, error) {
			return s.o.Allowances.SetPool(ctx, c.caller, in)
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/allowance", users, vmgroupRead, ofPath,
		"What is delegated to a vmgroup, and what of it it uses", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Allowance, error) {
			return s.o.Allowances.Allowance(ctx, c.group())
		}),
	},
	{
		http.MethodPut, "/vmgroups/{vmgroup}/allowance", admins, vmgroupManage, ofPath,
		"Replace what is delegated to a vmgroup; what is left out has no bound, or is nothing where the pool has one", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Amounts) (wire.Allowance, error) {
			return s.o.Allowances.SetAllowance(ctx, c.caller, c.group(), in)
		}),
	},
}
