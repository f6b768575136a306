package vc

import (
	"context"
	"fmt"
	"path"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// CloneVM copies a machine with its settings and its disks' content.
func (s *Server) CloneVM(ctx context.Context, name, as string) error {
	_, m, err := s.object(name)
	if err != nil {
		return err
	}
	folder := object.NewFolder(s.vim, s.vmRoot())
	err = s.retry(ctx, func() (*object.Task, error) {
		return m.Clone(ctx, folder, as, types.VirtualMachineCloneSpec{Location: types.VirtualMachineRelocateSpec{Pool: &s.pool}})
	})
	if err != nil {
		return err
	}
	return s.Power(ctx, as, true)
}

// CloneVMTask copies a machine. The copy has the source's extraConfig, and
// identities of its own.
func (a *vmAPI) CloneVMTask(ctx *simulator.Context, req *types.CloneVM_Task) soap.HasFault {
	body := &methods.CloneVM_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "cloneVm", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		return a.s.cloneVM(ctx, vm, req)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.CloneVM_TaskResponse{Returnval: ref}
	}
	return body
}

func (s *Server) cloneVM(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.CloneVM_Task) (types.AnyType, types.BaseMethodFault) {
	folder, ok := ctx.Map.Get(req.Folder).(*simulator.Folder)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: req.Folder}
	}
	if o := ctx.Map.FindByName(req.Name, folder.ChildEntity); o != nil {
		return nil, &types.DuplicateName{Name: req.Name, Object: o.Reference()}
	}
	var where object.DatastorePath
	where.FromString(vm.Config.Files.VmPathName)
	if ds := req.Spec.Location.Datastore; ds != nil {
		st := s.storeOf(*ds)
		if st == nil {
			return nil, &types.InvalidDatastore{Datastore: ds}
		}
		where.Datastore = st.name
	}
	vmx, fault := s.vmFolder(fmt.Sprintf("[%s]", where.Datastore), req.Name)
	if fault != nil {
		return nil, fault
	}
	create := &types.CreateVM_Task{
		This: req.Folder, Pool: s.pool, Host: vm.Runtime.Host,
		Config: types.VirtualMachineConfigSpec{
			Name: req.Name, GuestId: vm.Config.GuestId, Version: vm.Config.Version,
			NumCPUs: vm.Config.Hardware.NumCPU, MemoryMB: int64(vm.Config.Hardware.MemoryMB),
			Files:                 &types.VirtualMachineFileInfo{VmPathName: vmx},
			ExtraConfig:           append([]types.BaseOptionValue{}, vm.Config.ExtraConfig...),
			ChangeTrackingEnabled: vm.Config.ChangeTrackingEnabled,
		},
	}
	if h := req.Spec.Location.Host; h != nil {
		create.Host = h
	}
	if c := req.Spec.Config; c != nil {
		create.Config.ExtraConfig = append(create.Config.ExtraConfig, c.ExtraConfig...)
		create.Config.Annotation = c.Annotation
	}
	undo, fault := s.cloneDevices(vm, path.Dir(vmx), &create.Config)
	if fault != nil {
		return nil, fault
	}
	ref, fault := s.createVM(ctx, folder, create)
	if fault != nil {
		undo()
		return nil, fault
	}
	if req.Spec.PowerOn {
		res := (&vmAPI{s: s}).PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: ref.(types.ManagedObjectReference)})
		if res.Fault() != nil {
			return nil, res.Fault().VimFault().(types.BaseMethodFault)
		}
		if _, fault := inner(ctx, res.(*methods.PowerOnVM_TaskBody).Res.Returnval); fault != nil {
			return nil, fault
		}
	}
	return ref, nil
}

// cloneDevices copies controllers, network cards and disks into a
// specification.
func (s *Server) cloneDevices(vm *simulator.VirtualMachine, dir string, spec *types.VirtualMachineConfigSpec) (undo func(), fault types.BaseMethodFault) {
	var made []string
	undo = func() {
		for _, name := range made {
			_ = s.removeDisk(name)
		}
	}
	add := func(d types.BaseVirtualDevice) {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d,
		})
	}
	if _, p, fault := s.writable(dir + "/x"); fault == nil {
		_ = mkParent(p)
	}
	for _, dev := range vm.Config.Hardware.Device {
		switch d := dev.(type) {
		case *types.ParaVirtualSCSIController:
			c := *d
			c.Device = nil
			add(&c)
		case *types.VirtualVmxnet3:
			n := *d
			n.Key, n.MacAddress, n.ExternalId = -d.Key, "", ""
			add(&n)
		case *types.VirtualDisk:
			b := flatBacking(d)
			i, fault := s.readDisk(b.FileName)
			if fault != nil {
				undo()
				return nil, fault
			}
			name := s.freeName("", dir)
			if fault := s.copyDisk(b.FileName, name, i.Thin); fault != nil {
				undo()
				return nil, fault
			}
			made = append(made, name)
			nd, nb := *d, types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: name}, DiskMode: b.DiskMode,
			}
			nd.Backing, nd.VDiskId = &nb, nil
			add(&nd)
		}
	}
	return undo, nil
}
