package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// SelfBackup is everything the interface wants of the copies of the catalog.
type SelfBackup interface {
	Show(ctx context.Context) (wire.SelfBackup, error)
	Now(ctx context.Context, c volspec.Caller) (wire.SelfBackup, error)
	Kit(ctx context.Context, c volspec.Caller) (wire.Kit, error)
}

var selfBackupEndpoints = []endpoint{
	{
		http.MethodGet, "/self-backup", admins, serviceRead, allTenants,
		"How the service backs up its own catalog, and the copies there are", nil,
		give(func(ctx context.Context, s *Server, _ *call) (wire.SelfBackup, error) {
			return s.o.SelfBackup.Show(ctx)
		}),
	},
	{
		http.MethodPost, "/self-backup", admins, serviceManage, allTenants,
		"Back the catalog up now", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.SelfBackup, error) {
			return s.o.SelfBackup.Now(ctx, c.caller)
		}),
	},
	{
		http.MethodPost, "/self-backup/kit", admins, serviceManage, allTenants,
		"The recovery kit of the service itself: with it an empty machine becomes this one", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Kit, error) {
			return s.o.SelfBackup.Kit(ctx, c.caller)
		}),
	},
}
