package vc

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// PowerOnVMTask starts a machine whose disks are there and free.
func (a *vmAPI) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	body := &methods.PowerOnVM_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "powerOn", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		if fault := a.s.lockAll(vm); fault != nil {
			return nil, fault
		}
		a.s.tracksFrom(vm)
		res := vm.PowerOnVMTask(ctx, req)
		if res.Fault() != nil {
			a.s.setOn(vm.Self, false)
			return nil, res.Fault().VimFault().(types.BaseMethodFault)
		}
		out, fault := inner(ctx, res.(*methods.PowerOnVM_TaskBody).Res.Returnval)
		a.s.setOn(vm.Self, vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn)
		a.s.booted(ctx, vm)
		return out, fault
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.PowerOnVM_TaskResponse{Returnval: ref}
	}
	return body
}

// PowerOffVMTask stops a machine.
func (a *vmAPI) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	body := &methods.PowerOffVM_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "powerOff", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.stop(ctx, vm)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.PowerOffVM_TaskResponse{Returnval: ref}
	}
	return body
}

func (s *Server) stop(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	res := vm.PowerOffVMTask(ctx, &types.PowerOffVM_Task{This: vm.Self})
	_, fault := inner(ctx, res.(*methods.PowerOffVM_TaskBody).Res.Returnval)
	if fault == nil {
		s.setOn(vm.Self, false)
	}
	s.changed(vm)
	return fault
}

// ShutdownGuest stops a machine as its guest would.
func (a *vmAPI) ShutdownGuest(ctx *simulator.Context, req *types.ShutdownGuest) soap.HasFault {
	body := &methods.ShutdownGuestBody{}
	if !a.s.isOn(req.This) {
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOn,
			ExistingState:  types.VirtualMachinePowerStatePoweredOff,
		})
		return body
	}
	res := a.PowerOffVMTask(ctx, &types.PowerOffVM_Task{This: req.This})
	if body.Fault_ = res.Fault(); body.Fault_ == nil {
		body.Res = &types.ShutdownGuestResponse{}
	}
	return body
}

// ResetVMTask restarts a machine; it keeps its disks.
func (a *vmAPI) ResetVMTask(ctx *simulator.Context, req *types.ResetVM_Task) soap.HasFault {
	body := &methods.ResetVM_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "reset", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		res := vm.ResetVMTask(ctx, req)
		out, fault := inner(ctx, res.(*methods.ResetVM_TaskBody).Res.Returnval)
		a.s.booted(ctx, vm)
		return out, fault
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.ResetVM_TaskResponse{Returnval: ref}
	}
	return body
}

// booted shows a running machine's boot time and tools.
func (s *Server) booted(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	ctx.Update(vm, []types.PropertyChange{
		{Name: "runtime.bootTime", Val: vm.Summary.Runtime.BootTime},
		{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
		{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
	})
	s.changed(vm)
}

func (s *Server) setOn(ref types.ManagedObjectReference, on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on {
		s.on[ref] = true
	} else {
		delete(s.on, ref)
	}
}

// lockAll takes the locks of a machine's disks for its start.
func (s *Server) lockAll(vm *simulator.VirtualMachine) types.BaseMethodFault {
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		if _, fault := s.readDisk(flatBacking(d).FileName); fault != nil {
			return fault
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, d := range s.disks {
		if name != d.Run {
			continue
		}
		var mine *holder
		for i := range d.Holders {
			if d.Holders[i].VM == vm.Self {
				mine = &d.Holders[i]
			}
		}
		if mine == nil {
			continue
		}
		for _, h := range d.Holders {
			if h.VM != vm.Self && s.on[h.VM] && !h.shares(*mine) {
				return &types.FileLocked{FileFault: types.FileFault{File: name}}
			}
		}
	}
	s.on[vm.Self] = true
	return nil
}
