package vc

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Migrate moves a running machine to another host.
func (s *Server) Migrate(ctx context.Context, name, host string) error {
	_, m, err := s.object(name)
	if err != nil {
		return err
	}
	for _, h := range s.hosts() {
		if h.Name == host {
			return s.retry(ctx, func() (*object.Task, error) {
				return m.Relocate(ctx, types.VirtualMachineRelocateSpec{Host: &h.Self}, types.VirtualMachineMovePriorityDefaultPriority)
			})
		}
	}
	return fmt.Errorf("there is no host %q", host)
}

// RelocateVMTask moves a machine to another host, its files to other datastores,
// or both.
func (a *vmAPI) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) soap.HasFault {
	body := &methods.RelocateVM_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "relocateVm", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.relocate(ctx, vm, req)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.RelocateVM_TaskResponse{Returnval: ref}
	}
	return body
}

// MigrateVMTask is the older call for the same.
func (a *vmAPI) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) soap.HasFault {
	body := &methods.MigrateVM_TaskBody{}
	res := a.RelocateVMTask(ctx, &types.RelocateVM_Task{
		This: req.This, Spec: types.VirtualMachineRelocateSpec{Host: req.Host, Pool: req.Pool},
	})
	if body.Fault_ = res.Fault(); body.Fault_ == nil {
		body.Res = &types.MigrateVM_TaskResponse{Returnval: res.(*methods.RelocateVM_TaskBody).Res.Returnval}
	}
	return body
}

func (s *Server) relocate(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.RelocateVM_Task) types.BaseMethodFault {
	spec := req.Spec
	if len(spec.DeviceChange) > 0 {
		return &types.NotSupported{}
	}
	if fault := s.moveStorage(ctx, vm, &spec); fault != nil || spec.Host == nil {
		return fault
	}
	to, ok := ctx.Map.Get(*spec.Host).(*simulator.HostSystem)
	if !ok {
		return &types.ManagedObjectNotFound{Obj: *spec.Host}
	}
	from := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem)
	res := vm.RelocateVMTask(ctx, &types.RelocateVM_Task{This: vm.Self, Spec: types.VirtualMachineRelocateSpec{Host: spec.Host, Pool: spec.Pool}})
	if _, fault := inner(ctx, res.(*methods.RelocateVM_TaskBody).Res.Returnval); fault != nil {
		return fault
	}
	// The simulator leaves the lists of the hosts as they were.
	ctx.WithLock(from, func() {
		list := append([]types.ManagedObjectReference{}, from.Vm...)
		simulator.RemoveReference(&list, vm.Self)
		ctx.Update(from, []types.PropertyChange{{Name: "vm", Val: list}})
	})
	ctx.WithLock(to, func() {
		list := append([]types.ManagedObjectReference{}, to.Vm...)
		simulator.RemoveReference(&list, vm.Self)
		ctx.Update(to, []types.PropertyChange{{Name: "vm", Val: append(list, vm.Self)}})
	})
	s.changed(vm)
	return nil
}
