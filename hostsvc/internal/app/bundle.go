package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/bundle"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The parts fit.
var _ api.Bundles = (*bundle.Service)(nil)

// carrier is a part of a bundle whose transactions are T: all are those of the
// one catalog.
type carrier[T any] struct {
	carry  func(tx T, g volspec.VMGroup, to *wire.Carried) error
	arrive func(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(tx T) ([]string, error), error)
}

func (p carrier[T]) Save(tx bundle.Tx, g volspec.VMGroup, to *wire.Carried) error {
	return p.carry(tx.(T), g, to)
}

func (p carrier[T]) Load(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(bundle.Tx) ([]string, error), error) {
	put, err := p.arrive(ctx, c, g, from)
	if err != nil {
		return nil, err
	}
	return func(tx bundle.Tx) ([]string, error) { return put(tx.(T)) }, nil
}

// bundles are the options of what moves tenants between instances: all that know
// something of a tenant.
func (d *daemon) bundles(c *catalog.Catalog) bundle.Options {
	return bundle.Options{
		Store: c.Bundles(), Tenant: d.tenants.Tenant, Open: d.backups.service.CheckRepository,
		Parts: []bundle.Part{
			carrier[tenancy.Tx]{d.tenants.Carry, func(ctx context.Context, _ volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(tenancy.Tx) ([]string, error), error) {
				return d.tenants.Arrive(ctx, g, from.Tenant)
			}},
			carrier[account.Tx]{d.accounts.Carry, func(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(account.Tx) ([]string, error), error) {
				put, err := d.accounts.Arrive(ctx, c, g, from.Users)
				return func(tx account.Tx) ([]string, error) { return nil, put(tx) }, err
			}},
			carrier[oidc.Tx]{d.providers.Carry, func(_ context.Context, _ volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(oidc.Tx) ([]string, error), error) {
				return d.providers.Arrive(g, from.OIDC)
			}},
			carrier[notify.Tx]{d.backups.told.Carry, func(_ context.Context, _ volspec.Caller, g volspec.VMGroup, from wire.Carried) (func(notify.Tx) ([]string, error), error) {
				return d.backups.told.Arrive(g, from.Notifications)
			}},
			carrier[backup.Tx]{d.backups.service.Carry, d.backups.service.Arrive},
		},
	}
}
