package app

import (
	"context"
	"os"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/volspec"
)

// newTransporter makes this process a transporter.
func newTransporter(cfg config.Config, o Options, c *catalog.Catalog, instance string) *transporter.Service {
	host, err := os.Hostname()
	if err != nil {
		host = "" // nobody acts on it
	}
	return transporter.New(transporter.Options{
		Store: c.Transporters(), Name: cfg.Transporter.Name, Description: cfg.Transporter.Description,
		Instance: instance, Host: host, Version: o.Version,
	})
}

// movers tell backup which transporters are away.
type movers struct{ t *transporter.Service }

var _ backup.Transporters = movers{}

func (m movers) Away(ctx context.Context, groups ...volspec.VMGroupID) (map[volspec.VMGroupID]backup.Away, error) {
	all, err := m.t.Away(ctx, groups...)
	out := map[volspec.VMGroupID]backup.Away{}
	for g, a := range all {
		out[g] = backup.Away(a)
	}
	return out, err
}

// allows is what backup asks of allowances.
type allows struct{ t *tenancy.Service }

var _ backup.Allowances = allows{}

func (a allows) Admission(ctx context.Context) func(backup.AllowanceTx, volspec.VMGroup, ...backup.Object) error {
	admit := a.t.Admission(ctx)
	return func(tx backup.AllowanceTx, g volspec.VMGroup, all ...backup.Object) error {
		newcomers := make([]tenancy.Newcomer, len(all))
		for i, o := range all {
			newcomers[i] = tenancy.Newcomer(o)
		}
		return admit(tx, g, newcomers...)
	}
}

func (a allows) SetStorage(ctx context.Context, tx backup.AllowanceTx, g volspec.VMGroup, limit int64) error {
	return a.t.SetStorage(ctx, tx, g, limit)
}
