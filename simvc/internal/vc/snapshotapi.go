package vc

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// snapshotAPI has the methods of VirtualMachineSnapshot.
type snapshotAPI struct {
	api
	s *Server
}

func (s *Server) vmOfSnapshot(ctx *simulator.Context, ref types.ManagedObjectReference) types.ManagedObjectReference {
	if o, ok := ctx.Map.Get(ref).(*simulator.VirtualMachineSnapshot); ok {
		return o.Vm
	}
	return ref
}

// CreateSnapshotTask freezes a machine's disks.
func (a *vmAPI) CreateSnapshotTask(ctx *simulator.Context, req *types.CreateSnapshot_Task) soap.HasFault {
	body := &methods.CreateSnapshot_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "createSnapshot", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return a.s.snapshotVM(ctx, vm, req.Name, req.Description, req.Memory, req.Quiesce)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.CreateSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// CreateSnapshotExTask is the same with more to say about quiescing.
func (a *vmAPI) CreateSnapshotExTask(ctx *simulator.Context, req *types.CreateSnapshotEx_Task) soap.HasFault {
	body := &methods.CreateSnapshotEx_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "createSnapshot", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return a.s.snapshotVM(ctx, vm, req.Name, req.Description, req.Memory, req.QuiesceSpec != nil)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.CreateSnapshotEx_TaskResponse{Returnval: ref}
	}
	return body
}

// RemoveAllSnapshotsTask ends all snapshots of a machine.
func (a *vmAPI) RemoveAllSnapshotsTask(ctx *simulator.Context, req *types.RemoveAllSnapshots_Task) soap.HasFault {
	body := &methods.RemoveAllSnapshots_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "removeAllSnapshots", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		a.s.dropSnapshots(ctx, vm)
		return nil, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.RemoveAllSnapshots_TaskResponse{Returnval: ref}
	}
	return body
}

// RevertToCurrentSnapshotTask takes a machine back to where it comes from.
func (a *vmAPI) RevertToCurrentSnapshotTask(ctx *simulator.Context, req *types.RevertToCurrentSnapshot_Task) soap.HasFault {
	body := &methods.RevertToCurrentSnapshot_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "revertToCurrentSnapshot", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		a.s.mu.Lock()
		current := a.s.machine(vm.Self).Current
		a.s.mu.Unlock()
		return nil, a.s.revertVM(ctx, vm, current)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.RevertToCurrentSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// ConsolidateVMDisksTask merges what earlier removals could not.
func (a *vmAPI) ConsolidateVMDisksTask(ctx *simulator.Context, req *types.ConsolidateVMDisks_Task) soap.HasFault {
	body := &methods.ConsolidateVMDisks_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "consolidateVMDisks", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		left := false
		for _, d := range flatDisks(vm.Config.Hardware.Device) {
			a.s.mu.Lock()
			held := a.s.holding(vm.Self, d.Key, flatBacking(d).FileName)
			a.s.mu.Unlock()
			if held != nil && a.s.fold(held) {
				left = true
			}
		}
		a.s.publishSnapshots(ctx, vm)
		ctx.Update(vm, []types.PropertyChange{{Name: "runtime.consolidationNeeded", Val: left}})
		if left {
			return nil, &types.FileLocked{}
		}
		return nil, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.ConsolidateVMDisks_TaskResponse{Returnval: ref}
	}
	return body
}

// RemoveSnapshotTask ends a snapshot, and those that come from it if asked.
func (a *snapshotAPI) RemoveSnapshotTask(ctx *simulator.Context, req *types.RemoveSnapshot_Task) soap.HasFault {
	body := &methods.RemoveSnapshot_TaskBody{}
	ref, fault := a.s.vmTask(ctx, a.s.vmOfSnapshot(ctx, req.This), "removeSnapshot", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		if _, _, fault := a.s.writable(vm.Config.Files.VmPathName); fault != nil {
			return nil, fault
		}
		refs := []string{req.This.Value}
		if req.RemoveChildren {
			refs = a.s.subtree(vm.Self, req.This.Value)
		}
		a.s.removeSnapshots(ctx, vm, refs)
		return nil, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.RemoveSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// RevertToSnapshotTask takes a machine back to a snapshot.
func (a *snapshotAPI) RevertToSnapshotTask(ctx *simulator.Context, req *types.RevertToSnapshot_Task) soap.HasFault {
	body := &methods.RevertToSnapshot_TaskBody{}
	ref, fault := a.s.vmTask(ctx, a.s.vmOfSnapshot(ctx, req.This), "revertToSnapshot", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.revertVM(ctx, vm, req.This.Value)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.RevertToSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// QueryChangedDiskAreas lists what changed up to a snapshot of a machine.
func (a *vmAPI) QueryChangedDiskAreas(ctx *simulator.Context, req *types.QueryChangedDiskAreas) soap.HasFault {
	body := &methods.QueryChangedDiskAreasBody{}
	info, fault := a.s.vmAreas(ctx, req)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.QueryChangedDiskAreasResponse{Returnval: *info}
	return body
}

func (s *Server) vmAreas(ctx *simulator.Context, req *types.QueryChangedDiskAreas) (*types.DiskChangeInfo, types.BaseMethodFault) {
	vm := s.vmByRef(ctx, req.This)
	if vm == nil {
		return nil, &types.ManagedObjectNotFound{Obj: req.This}
	}
	if req.Snapshot == nil {
		return nil, cbtFault("", "cannotGetChanges")
	}
	s.mu.Lock()
	sn := s.machine(vm.Self).find(req.Snapshot.Value)
	var d *disk
	var l *link
	if sn != nil {
		if d = s.disks[sn.Disks[req.DeviceKey]]; d != nil {
			l = d.owned(sn.Ref.Value)
		}
	}
	s.mu.Unlock()
	switch {
	case sn == nil:
		return nil, &types.InvalidArgument{InvalidProperty: "snapshot"}
	case l == nil:
		var disk *types.VirtualDisk
		ctx.WithLock(vm, func() {
			disk, _ = object.VirtualDeviceList(sn.Config.Hardware.Device).FindByKey(req.DeviceKey).(*types.VirtualDisk)
		})
		if disk != nil {
			return nil, cbtFault(flatBacking(disk).FileName, "noTrack")
		}
		return nil, &types.InvalidArgument{InvalidProperty: "deviceKey"}
	}
	return s.areas(l.File, l.ChangeID, req.ChangeId, req.StartOffset)
}
