package app

import (
	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/pkg/volspec"
)

// localHost is the hypervisor that is this machine.
type localHost struct{ *local.Local }

var _ host = localHost{}

// newHost makes the hypervisor that cfg names. There is one kind so far, and
// config.Load refuses other words.
func newHost(cfg config.Config) (host, error) {
	l, err := local.New(localOptions(cfg))
	return localHost{l}, err
}

func (h localHost) configure(cfg config.Config) error { return h.Reload(localOptions(cfg)) }

func (h localHost) id(name string) volspec.VMID { return local.VMID(name) }

func localOptions(cfg config.Config) local.Options {
	var o local.Options
	for _, d := range cfg.Datastores {
		o.Datastores = append(o.Datastores, local.Datastore{Name: d.Name, Path: d.Path})
	}
	for _, v := range cfg.VMs {
		o.VMs = append(o.VMs, local.VM{Name: v.Name, Datastore: v.Datastore, DevDir: v.Dev, InitPIDFile: v.InitPIDFile, Socket: v.Socket})
	}
	return o
}
