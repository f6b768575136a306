package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/pkg/volspec"
)

// The parts fit.
var (
	_ api.Accounts    = (*account.Service)(nil)
	_ api.Credentials = (*account.Service)(nil)
	_ account.Sealer  = (*keyring.Ring)(nil)
)

// buildAccounts makes the service that knows people, the last of those that
// keep secrets.
func (d *daemon) buildAccounts(c *catalog.Catalog) *account.Service {
	a := account.New(account.Options{
		Store: c.Accounts(), Sealer: d.ring, Holds: api.PermissionsOf, Given: api.Permissions(),
		FirstCode: func(code string) error { return d.web.first.check(code) },
		OIDC:      func(ctx context.Context) (bool, error) { return d.providers.Master(ctx) },
		Brand: func(ctx context.Context) (string, bool, error) {
			v, err := d.tenants.Settings(ctx)
			return v.Product, v.Logo != "", err
		},
		SetMode: func(ctx context.Context, c volspec.Caller, mode string) error {
			v, err := d.tenants.Settings(ctx)
			if err != nil {
				return err
			}
			v.Mode = mode
			_, err = d.tenants.PutSettings(ctx, c, v)
			return err
		},
	})
	d.backups.service.UseSecrets(d.backups.told, d.providers, a, d.self, sharedKey{c})
	return a
}
