package app

import (
	"context"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The parts fit.
var _ backup.Tenants = (*tenancy.Service)(nil)

// buildTenants makes the service of vmgroups. What it asks of parts that are
// made later it asks of them when it is called.
func (d *daemon) buildTenants(cfg config.Config, c *catalog.Catalog, h host) *tenancy.Service {
	folders, _ := hypervisor.As[hypervisor.Folders](h)
	hosts, _ := hypervisor.As[hypervisor.Hosts](h)
	return tenancy.New(tenancy.Options{
		Store: c.Tenancy(), Machines: h, Datastores: h, Folders: folders, Hosts: hosts,
		Pending: func(g volspec.VMGroupID) int64 { return d.backups.service.Pending(g) },
		RemoveVolumes: func(ctx context.Context, caller volspec.Caller, g volspec.VMGroupID) error {
			return d.volumes.RemoveAll(ctx, caller, g)
		},
		Grace:   time.Duration(cfg.TenantGrace),
		NewUser: d.newUser,
		CancelJobs: func(ctx context.Context, caller volspec.Caller, g volspec.VMGroup) error {
			return d.backups.service.CancelJobs(ctx, caller, g)
		},
		DetachRepositories: func(ctx context.Context, caller volspec.Caller, g volspec.VMGroup) error {
			return d.backups.service.DetachRepositories(ctx, caller, g)
		},
	})
}

// newUser is account.Service.NewUser in a transaction of tenancy: both are those
// of the one catalog.
func (d *daemon) newUser(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r wire.CreateUser) (func(tenancy.Tx) (wire.User, error), error) {
	put, err := d.accounts.NewUser(ctx, c, g, r)
	if err != nil {
		return nil, err
	}
	return func(tx tenancy.Tx) (wire.User, error) { return put(tx.(account.Tx)) }, nil
}

// declaredAllowance is an allowance of the configuration. Its storage is applied
// with the rest of what it says of backups.
func declaredAllowance(a *config.Allowance) *volspec.Amounts {
	if a == nil {
		return nil
	}
	amount := func(n *int) int64 {
		if n == nil {
			return volspec.Unbounded
		}
		return int64(*n)
	}
	return &volspec.Amounts{Sockets: amount(a.Sockets), VMs: amount(a.VMs), Volumes: amount(a.Volumes), Storage: volspec.Unbounded}
}
