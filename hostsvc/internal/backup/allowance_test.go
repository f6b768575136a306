package backup_test

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

// allowances are the real ones of the world's catalog.
type allowances struct{ t *tenancy.Service }

func (w *world) allowances() allowances {
	return allowances{tenancy.New(tenancy.Options{Store: w.store.Tenancy()})}
}

func (a allowances) Admission(ctx context.Context) func(backup.AllowanceTx, volspec.VMGroup, backup.Object) error {
	admit := a.t.Admission(ctx)
	return func(tx backup.AllowanceTx, g volspec.VMGroup, o backup.Object) error {
		return admit(tx, g, tenancy.Newcomer{Name: o.Name, VM: o.VM, Volume: o.Volume})
	}
}

func (a allowances) SetStorage(ctx context.Context, tx backup.AllowanceTx, g volspec.VMGroup, limit int64) error {
	return a.t.SetStorage(ctx, tx, g, limit)
}
