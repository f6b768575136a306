package vsphere

import (
	"context"
	"strings"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// pinned is in-use for a disk that snapshots of the VM hold, which names them:
// what the guest wrote since is in a file that belongs to them. Snapshots of
// the disk itself hold nothing.
func (v *VSphere) pinned(ctx context.Context, m vcenter.VM, r hypervisor.Ref) error {
	names, err := v.snapshotsWith(ctx, m, r)
	if err != nil || len(names) == 0 {
		return err
	}
	return errkind.New(errkind.InUse, "disk %s cannot be taken from VM %s: snapshot %s of the VM holds it; delete that in vSphere, or let the backup that made it end, and repeat", r.Volume, m.Name, strings.Join(names, ", "))
}

// snapshotsWith are the names of the snapshots of a VM that have r.
func (v *VSphere) snapshotsWith(ctx context.Context, m vcenter.VM, r hypervisor.Ref) (names []string, err error) {
	err = v.c.Read(ctx, "looking at the snapshots of VM "+m.Name, func(ctx context.Context, vc *vim25.Client) error {
		pc := property.DefaultCollector(vc)
		var vm mo.VirtualMachine
		if err := pc.RetrieveOne(ctx, m.Ref, []string{"snapshot", "config.extraConfig"}, &vm); err != nil || vm.Snapshot == nil {
			return err
		}
		called := map[types.ManagedObjectReference]string{}
		var refs []types.ManagedObjectReference
		for _, s := range allOf(vm.Snapshot) {
			called[s.Snapshot] = s.Name
			refs = append(refs, s.Snapshot)
		}
		var snaps []mo.VirtualMachineSnapshot
		if err := pc.Retrieve(ctx, refs, []string{"config.hardware.device"}, &snaps); err != nil {
			return err
		}
		here := places{}
		if vm.Config != nil {
			here = placesOf(volspec.VMID(m.ID), settings(vm.Config.ExtraConfig))
		}
		names = nil
		for _, s := range snaps {
			if err := v.devicesAsGiven(ctx, s.Config.Hardware.Device); err != nil {
				return err
			}
			for _, p := range v.ours(m, s.Config.Hardware.Device, here) {
				if p.Ref == r {
					names = append(names, called[s.Self])
				}
			}
		}
		return nil
	})
	return names, err
}

// allOf are the snapshots of a VM, each before those that come from it.
func allOf(info *types.VirtualMachineSnapshotInfo) (all []types.VirtualMachineSnapshotTree) {
	if info == nil {
		return nil
	}
	var walk func([]types.VirtualMachineSnapshotTree)
	walk = func(list []types.VirtualMachineSnapshotTree) {
		for _, s := range list {
			all = append(all, s)
			walk(s.ChildSnapshotList)
		}
	}
	walk(info.RootSnapshotList)
	return all
}
