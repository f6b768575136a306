package vc

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// AttachDiskTask plugs a first-class disk into a machine.
func (a *vmAPI) AttachDiskTask(ctx *simulator.Context, req *types.AttachDisk_Task) soap.HasFault {
	body := &methods.AttachDisk_TaskBody{}
	ref, fault := a.s.attachTask(ctx, req.This, req.DiskId.Id, req.ControllerKey, req.UnitNumber)
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	body.Res = &types.AttachDisk_TaskResponse{Returnval: ref}
	return body
}

func (s *Server) attachTask(ctx *simulator.Context, vmRef types.ManagedObjectReference, id string, controller int32, unit *int32) (types.ManagedObjectReference, *soap.Fault) {
	if ctx.Map.Path != vim25.Path {
		ctx = ctx.For(vim25.Path) // one context for the task and all it does: locks belong to contexts
	}
	return s.vmTask(ctx, vmRef, "attachDisk", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		_, d, fault := s.fcdByID(id)
		if fault != nil {
			return nil, fault
		}
		controller, unit, fault := place(vm.Config.Hardware.Device, controller, unit)
		if fault != nil {
			return nil, fault
		}
		return nil, s.reconfigure(ctx, vm, &types.ReconfigVM_Task{This: vm.Self, Spec: types.VirtualMachineConfigSpec{
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd,
				Device: &types.VirtualDisk{
					VirtualDevice: types.VirtualDevice{
						ControllerKey: controller, UnitNumber: unit,
						Backing: &types.VirtualDiskFlatVer2BackingInfo{
							VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: d.Run},
							DiskMode:                     string(types.VirtualDiskModePersistent),
						},
					},
					VDiskId: &types.ID{Id: id},
				},
			}},
		}})
	})
}

// place chooses a controller and a unit where none is asked for.
func place(have object.VirtualDeviceList, controller int32, unit *int32) (int32, *int32, types.BaseMethodFault) {
	for _, c := range scsiControllers(have) {
		if controller != 0 && c.Key != controller {
			continue
		}
		if unit != nil {
			return c.Key, unit, nil
		}
		for n := range int32(unitsPVSCSI) {
			d := &types.VirtualDisk{VirtualDevice: types.VirtualDevice{ControllerKey: c.Key, UnitNumber: &n}}
			if checkUnit(have, d, 0) == nil {
				return c.Key, &n, nil
			}
		}
	}
	return 0, nil, &types.InvalidController{InvalidDeviceSpec: types.InvalidDeviceSpec{}, ControllerKey: controller}
}

// DetachDiskTask takes a first-class disk off a machine.
func (a *vmAPI) DetachDiskTask(ctx *simulator.Context, req *types.DetachDisk_Task) soap.HasFault {
	body := &methods.DetachDisk_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "detachDisk", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		for _, dev := range vm.Config.Hardware.Device {
			d, ok := dev.(*types.VirtualDisk)
			if !ok || d.VDiskId == nil || d.VDiskId.Id != req.DiskId.Id {
				continue
			}
			return nil, a.s.reconfigure(ctx, vm, &types.ReconfigVM_Task{This: vm.Self, Spec: types.VirtualMachineConfigSpec{
				DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
					Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: d,
				}},
			}})
		}
		return nil, notFound()
	})
	if fault != nil {
		body.Fault_ = fault
		return body
	}
	body.Res = &types.DetachDisk_TaskResponse{Returnval: ref}
	return body
}

// vmTask runs work as the only task of a machine.
func (s *Server) vmTask(ctx *simulator.Context, ref types.ManagedObjectReference, name string, f func(*simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault)) (types.ManagedObjectReference, *soap.Fault) {
	vm := s.vmByRef(ctx, ref)
	if vm == nil {
		return types.ManagedObjectReference{}, gone(ref)
	}
	if blockedByLease[name] && s.leased(ref) {
		return types.ManagedObjectReference{}, simulator.Fault("", &types.TaskInProgress{})
	}
	release, fault := s.claim(name, ref)
	if fault != nil {
		return types.ManagedObjectReference{}, simulator.Fault("", fault)
	}
	return s.task(ctx, vm, name, release, func() (types.AnyType, types.BaseMethodFault) { return f(vm) }), nil
}

// blockedByLease are the operations that wait until disks are transferred.
var blockedByLease = map[string]bool{
	"powerOn": true, "powerOff": true, "reset": true, "relocateVm": true, "destroy": true,
	"removeSnapshot": true, "removeAllSnapshots": true, "revertToSnapshot": true, "revertToCurrentSnapshot": true,
	"consolidateVMDisks": true,
}
