package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// wholeMachines are the VMs of the hypervisor as backup needs them.
type wholeMachines struct {
	hypervisor.MachineImager
	host    hypervisor.Machines
	store   volume.Store
	tenants *tenancy.Service
}

// machinesOf is nil where the hypervisor has no images of VMs.
func machinesOf(h hypervisor.Hypervisor, store volume.Store, tenants *tenancy.Service) backup.Machines {
	m, ok := hypervisor.As[hypervisor.MachineImager](h)
	if !ok {
		return nil
	}
	return wholeMachines{m, h, store, tenants}
}

// Machines leaves out VMs that are of no vmgroup.
func (w wholeMachines) Machines(ctx context.Context, g volspec.VMGroupID) ([]backup.Machine, error) {
	all, err := w.host.VMs(ctx)
	if err != nil {
		return nil, err
	}
	var out []backup.Machine
	err = w.store.View(ctx, func(tx volume.Tx) error {
		out = nil
		for _, v := range all {
			have, err := tx.GroupOfVM(v.ID)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if g == "" || have.ID == g {
				out = append(out, backup.Machine{ID: v.ID, Group: have, Name: v.Name})
			}
		}
		return nil
	})
	return out, err
}

// Adopt leaves _DEFAULT alone: every VM is of it that is of no other.
func (w wholeMachines) Adopt(ctx context.Context, c volspec.Caller, group string, vm volspec.VMID) error {
	if group == volspec.DefaultGroup {
		return nil
	}
	var have volspec.VMGroup
	err := w.store.View(ctx, func(tx volume.Tx) (err error) {
		have, err = tx.GroupOfVM(vm)
		return err
	})
	if err == nil && have.Name == group {
		return nil
	}
	return w.tenants.AddVMs(ctx, c, group, []string{string(vm)})
}
