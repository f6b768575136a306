package vsphere

import (
	"context"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Hosts = (*VSphere)(nil)

// VMHosts implements hypervisor.Hosts.
func (v *VSphere) VMHosts(ctx context.Context) (map[volspec.VMID]hypervisor.Host, error) {
	hosts, err := v.inv.Hosts(ctx)
	if err != nil {
		return nil, err
	}
	vms, err := v.inv.VMs(ctx)
	if err != nil {
		return nil, err
	}
	known := map[types.ManagedObjectReference]hypervisor.Host{}
	for _, h := range hosts {
		known[h.Ref] = hypervisor.Host{ID: h.Ref.Value, Name: h.Name, Sockets: h.Sockets}
	}
	on := map[volspec.VMID]hypervisor.Host{}
	for _, m := range vms {
		if h, ok := known[m.Host]; ok {
			on[volspec.VMID(m.ID)] = h
		}
	}
	return on, nil
}
