package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Transporters is everything the interface wants of the transporter use cases.
type Transporters interface {
	// List tells of those of a vmgroup, or with "" of all.
	List(ctx context.Context, c volspec.Caller, group string) ([]wire.Transporter, error)
	Update(ctx context.Context, c volspec.Caller, name string, r wire.UpdateTransporter) (wire.Transporter, error)
	Remove(ctx context.Context, c volspec.Caller, name string) error
	Set(ctx context.Context, c volspec.Caller, group string, names []string) ([]wire.Transporter, error)
}

var transporterEndpoints = []endpoint{
	{
		http.MethodGet, "/transporters", users, vmgroupRead, ofScope,
		"The processes that move the data of backups: of a tenant those that work for it",
		append([]param{{"vmgroup", "string", "only those that work for this vmgroup"}}, rowParams...),
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Transporter, error) {
			return s.o.Transporters.List(ctx, c.caller, c.scope())
		}, "name"),
	},
	{
		http.MethodPatch, "/transporters/{transporter}", admins, serviceManage, noTenant,
		"Change what is given of a transporter", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.UpdateTransporter) (wire.Transporter, error) {
			return s.o.Transporters.Update(ctx, c.caller, c.vars["transporter"], in)
		}),
	},
	{
		http.MethodDelete, "/transporters/{transporter}", admins, serviceManage, noTenant,
		"Forget a transporter that is offline and works for nobody", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Transporters.Remove(ctx, c.caller, c.vars["transporter"]), "transporter", c.vars["transporter"], "is removed")
		}),
	},
	{
		http.MethodPut, "/vmgroups/{vmgroup}/transporters", admins, vmgroupManage, ofPath,
		"Bind a vmgroup to transporters, these and no others", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetTransporters) ([]wire.Transporter, error) {
			return s.o.Transporters.Set(ctx, c.caller, c.group(), in.Transporters)
		}),
	},
}
