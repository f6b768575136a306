package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/overview"
)

// The parts fit.
var (
	_ api.Overview     = (*overview.Service)(nil)
	_ overview.Backups = outlook{}
)

// outlook is the backup service as the overview needs it.
type outlook struct{ *backup.Service }

func (o outlook) Ran(ctx context.Context, w overview.Window) ([]overview.Ran, error) {
	all, err := o.Service.Ran(ctx, w.VMGroup, w.Policy, w.From, w.To, w.Limit)
	out := make([]overview.Ran, len(all))
	for i, r := range all {
		out[i] = overview.Ran(r)
	}
	return out, err
}
