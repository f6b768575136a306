package app

import (
	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// host is a hypervisor as this package handles it.
type host interface {
	hypervisor.Hypervisor
	// configure replaces the datastores and VMs by those of cfg, all or none.
	configure(cfg config.Config) error
	// id is the identity of a VM of the configuration.
	id(name string) volspec.VMID
}
