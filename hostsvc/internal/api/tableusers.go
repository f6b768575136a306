package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/wire"
)

// userEndpoints are those of the master's users, and the same of a vmgroup's.
var userEndpoints = slices.Concat(
	usersAt("", admins, serviceRead, serviceManage, noTenant, "the master"),
	usersAt(ofGroup, users, tenantManage, tenantManage, ofPath, "one vmgroup"),
)

func (c *call) user() string { return c.vars["user"] }

// usersAt are the endpoints about users below a path; whose says of whom they
// are.
func usersAt(below string, a audience, read, change permission, rule tenantRule, whose string) []endpoint {
	all, each := below+"/users", below+"/users/{user}"
	return []endpoint{
		{
			http.MethodGet, all, a, read, rule,
			"The users of " + whose, rowParams,
			rows(func(ctx context.Context, s *Server, c *call) ([]wire.User, error) {
				return s.o.Accounts.Users(ctx, c.group())
			}, "name", "id"),
		},
		{
			http.MethodPost, all, a, change, rule,
			"Make a user of " + whose + "; without a password one is generated", nil,
			take(func(ctx context.Context, s *Server, c *call, in wire.CreateUser) (wire.User, error) {
				return s.o.Accounts.CreateUser(ctx, c.caller, c.group(), in)
			}),
		},
		{
			http.MethodGet, each, a, read, rule,
			"One user of " + whose, nil,
			give(func(ctx context.Context, s *Server, c *call) (wire.User, error) {
				return s.o.Accounts.User(ctx, c.group(), c.user())
			}),
		},
		{
			http.MethodPatch, each, a, change, rule,
			"Change a user of " + whose + ", unlock it, or reset its password or second factor", nil,
			take(func(ctx context.Context, s *Server, c *call, in wire.UpdateUser) (wire.User, error) {
				return s.o.Accounts.UpdateUser(ctx, c.caller, c.group(), c.user(), in)
			}),
		},
		{
			http.MethodDelete, each, a, change, rule,
			"Remove a user of " + whose + ", with its sessions and tokens", nil,
			give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
				return said(s.o.Accounts.RemoveUser(ctx, c.caller, c.group(), c.user()), "user", c.user(), "is removed")
			}),
		},
	}
}
