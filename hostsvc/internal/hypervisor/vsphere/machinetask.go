package vsphere

import (
	"context"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

// started is a task that was begun, as those want it who wait for its end.
func started(t *object.Task, err error) (types.ManagedObjectReference, error) {
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	return t.Reference(), nil
}

// canRun reports whether a host can be given a VM with disks on these datastores.
func canRun(h vcenter.Host, stores ...types.ManagedObjectReference) bool {
	return h.Connected && !h.Maintenance && !slices.ContainsFunc(stores, func(s types.ManagedObjectReference) bool { return !slices.Contains(h.Datastores, s) })
}

// createVM makes a VM in a folder, on a host.
func (v *VSphere) createVM(ctx context.Context, what string, folder, host types.ManagedObjectReference, spec types.VirtualMachineConfigSpec) (types.ManagedObjectReference, error) {
	info, err := v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		on := object.NewHostSystem(vc, host)
		pool, err := on.ResourcePool(ctx)
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return started(object.NewFolder(vc, folder).CreateVM(ctx, spec, pool, on))
	})
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	ref, ok := info.Result.(types.ManagedObjectReference)
	if !ok {
		return ref, errkind.New(errkind.Internal, "%s was answered with %T", what, info.Result)
	}
	return ref, nil
}

// destroyVM deletes a VM with the disks that it has. Absent: nil.
func (v *VSphere) destroyVM(ctx context.Context, what string, ref types.ManagedObjectReference) error {
	_, err := v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		return started(object.NewVirtualMachine(vc, ref).Destroy(ctx))
	})
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}

// insist is change, made once more when its answer is lost: prepare makes no
// difference when it was carried out.
func (v *VSphere) insist(ctx context.Context, what string, m vcenter.VM, prepare func(machineNow) (*types.VirtualMachineConfigSpec, error)) error {
	err := v.change(ctx, what, m, prepare)
	if vcenter.Lost(err) && ctx.Err() == nil {
		err = v.change(ctx, what, m, prepare)
	}
	return err
}

// withoutDisk takes a disk out of a VM and keeps its files.
func withoutDisk(key int32) types.BaseVirtualDeviceConfigSpec {
	return &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationRemove,
		Device:    &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: key}},
	}
}

// used reports whether somebody has had a VM that we made, and that we leave off.
func (now machineNow) used(power types.VirtualMachinePowerState) bool {
	return power != types.VirtualMachinePowerStatePoweredOff || now.extra[hasRun] != ""
}
