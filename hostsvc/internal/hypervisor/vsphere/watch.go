package vsphere

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
)

// Watch implements hypervisor.Watcher. A VM that is deleted has been switched
// off; one that moves to another host has not. What happened while vCenter or
// a host did not answer shows when it does again.
func (v *VSphere) Watch(ctx context.Context, events chan<- hypervisor.Event) error {
	last := map[volspec.VMID]hypervisor.VM{}
	return v.inv.Follow(ctx, func(before, after *vcenter.VM) {
		for _, kind := range step(last, before, after) {
			id := volspec.VMID(idOf(before, after))
			select {
			case events <- hypervisor.Event{Time: time.Now(), VM: id, Kind: kind}:
			case <-ctx.Done():
				return
			}
		}
	})
}

// step takes one change into last and gives the events that it means.
func step(last map[volspec.VMID]hypervisor.VM, before, after *vcenter.VM) []string {
	id := volspec.VMID(idOf(before, after))
	was, known := last[id]
	is := hypervisor.VM{ID: id, Power: hypervisor.Off}
	if after != nil {
		is = machine(*after)
	}
	switch {
	case id == "" || is.Power == hypervisor.Unknown:
		return nil
	case after == nil:
		delete(last, id)
	default:
		last[id] = is
	}
	if !known {
		return nil
	}
	var kinds []string
	rebooted := was.Power == hypervisor.On && is.Power == hypervisor.On && was.BootID != "" && is.BootID != was.BootID
	if was.Power == hypervisor.On && is.Power == hypervisor.Off || rebooted {
		kinds = append(kinds, "power-off")
	}
	if was.Power == hypervisor.Off && is.Power == hypervisor.On || rebooted {
		kinds = append(kinds, "power-on")
	}
	return kinds
}

// idOf is the identity of a VM in one of two states.
func idOf(before, after *vcenter.VM) string {
	if after != nil {
		return after.ID
	}
	return before.ID
}
