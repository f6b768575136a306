package vsphere

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// DeleteMachineSnapshot implements hypervisor.MachineImager. Snapshots that came
// after it stay. Where files of it stay too, because something reads them, that
// is an error once.
func (v *VSphere) DeleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	err := v.deleteMachineSnapshot(ctx, vm, id)
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}

func (v *VSphere) deleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error {
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("removing snapshot %s of VM %s", id, m.Name)
	unlock, err := v.slots.Lock(ctx, vm)
	if err != nil {
		return vcenter.Translate(err, what)
	}
	defer unlock()
	now, err := v.condition(ctx, what, m)
	if err != nil {
		return err
	}
	for _, s := range now.ours {
		if s.id != id {
			continue
		}
		v.sweepReads(ctx, m, s)
		if err := v.removeSnapshot(ctx, what, m, s); err != nil {
			return err
		}
	}
	return nil
}

// removeSnapshot removes one of a VM's snapshots and sees to it that its files
// are gone.
func (v *VSphere) removeSnapshot(ctx context.Context, what string, m vcenter.VM, s machineSnapshot) error {
	v.sweepTransporter(ctx)
	_, err := v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		res, err := methods.RemoveSnapshot_Task(ctx, vc, &types.RemoveSnapshot_Task{This: s.Snapshot, Consolidate: types.NewBool(true)})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
	if err != nil && ctx.Err() != nil {
		return err
	}
	now, again := v.condition(ctx, what, m)
	if again != nil {
		return cmp.Or(err, again)
	}
	if slices.ContainsFunc(now.ours, func(o machineSnapshot) bool { return o.Snapshot == s.Snapshot }) {
		return cmp.Or(err, errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM still has it; repeat it", what))
	}
	if !now.Runtime.ConsolidationNeeded {
		return nil
	}
	_, err = v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		res, err := methods.ConsolidateVMDisks_Task(ctx, vc, &types.ConsolidateVMDisks_Task{This: m.Ref})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
	if err == nil {
		return nil
	}
	return errkind.Wrap(errkind.Of(err), err, "snapshot %s of VM %s is removed, but its files are not (%s): consolidate the disks of the VM in vSphere once nothing reads them any more", s.id, m.Name, errkind.Text(err))
}

// MachineSnapshots implements hypervisor.MachineImager.
func (v *VSphere) MachineSnapshots(ctx context.Context) ([]hypervisor.MachineSnapshotRef, error) {
	const what = "listing the snapshots of VMs"
	for attempt := 1; ; attempt++ {
		vms, err := v.inv.VMs(ctx)
		if err != nil || len(vms) == 0 {
			return nil, err
		}
		read, whose, err := v.ofVMs(ctx, what, vms, "snapshot")
		if vcenter.Is[*types.ManagedObjectNotFound](err) && attempt < 5 {
			continue // one of them was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		var all []hypervisor.MachineSnapshotRef
		for _, vm := range read {
			for _, s := range oursOf(vm.Snapshot) {
				all = append(all, hypervisor.MachineSnapshotRef{VM: volspec.VMID(whose[vm.Self].ID), ID: s.id})
			}
		}
		return all, nil
	}
}
