package app

import (
	"context"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// host is a hypervisor as this package handles it.
type host interface {
	hypervisor.Hypervisor
	// check refuses what configure can only ignore, and changes nothing.
	check(cfg config.Config) error
	// configure replaces the datastores and VMs by those of cfg, all or none.
	configure(ctx context.Context, cfg config.Config) error
	// id is the identity of a VM of the configuration.
	id(name string) volspec.VMID
	// findings are about what the hypervisor itself depends on.
	findings(ctx context.Context) ([]wire.Finding, error)
	// noDatastores is what the doctor says when there are none, and what to do.
	noDatastores() (detail, remedy string)
	// storeRemedy is what to do about a datastore that is not online.
	storeRemedy(d wire.Datastore) string
	// close is for when nothing is done any more.
	close(ctx context.Context) error
}

// newHost makes the hypervisor that cfg names; config.Load refuses other words.
func newHost(ctx context.Context, cfg config.Config, version string) (host, error) {
	if cfg.Hypervisor == config.VSphere {
		return newVSphereHost(cfg, version)
	}
	return newLocalHost(ctx, cfg)
}
