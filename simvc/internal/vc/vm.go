package vc

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vmAPI has the methods of machines that differ from the simulator's.
type vmAPI struct {
	api
	s *Server
}

// folderAPI has those of folders.
type folderAPI struct {
	api
	s *Server
}

func (s *Server) vmByRef(ctx *simulator.Context, ref types.ManagedObjectReference) *simulator.VirtualMachine {
	vm, _ := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	return vm
}

func gone(ref types.ManagedObjectReference) *soap.Fault {
	return simulator.Fault("", &types.ManagedObjectNotFound{Obj: ref})
}

// ReconfigVMTask checks the devices, makes files, and hands on.
func (a *vmAPI) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	body := &methods.ReconfigVM_TaskBody{}
	vm := a.s.vmByRef(ctx, req.This)
	if vm == nil {
		body.Fault_ = gone(req.This)
		return body
	}
	release, fault := a.s.claim("reconfigure", req.This)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	ref := a.s.task(ctx, vm, "reconfigVm", release, func() (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.reconfigure(ctx, vm, req)
	})
	body.Res = &types.ReconfigVM_TaskResponse{Returnval: ref}
	return body
}

func (s *Server) reconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.ReconfigVM_Task) types.BaseMethodFault {
	if v := req.Spec.ChangeVersion; v != "" && v != vm.Config.ChangeVersion {
		return &types.ConcurrentAccess{}
	}
	dir := path.Dir(vm.Config.Files.VmPathName)
	c, fault := s.prepare(vm.Self, dir, vm.Config.Hardware.Device, req.Spec.DeviceChange)
	if fault != nil {
		return fault
	}
	res := vm.ReconfigVMTask(ctx, req)
	if _, fault := inner(ctx, res.(*methods.ReconfigVM_TaskBody).Res.Returnval); fault != nil {
		c.failed()
		return fault
	}
	c.done()
	if !s.isOn(vm.Self) || req.Spec.ChangeTrackingEnabled != nil && !*req.Spec.ChangeTrackingEnabled {
		s.tracksFrom(vm)
	}
	s.refreshDevices(ctx, vm)
	for _, st := range s.stores {
		s.publishStore(ctx, st)
	}
	s.publishAllSoon()
	s.changed(vm)
	return nil
}

// CreateVMTask gives the machine its folder and its disks, and hands on.
func (a *folderAPI) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	body := &methods.CreateVM_TaskBody{}
	folder, ok := ctx.Map.Get(req.This).(*simulator.Folder)
	if !ok {
		body.Fault_ = gone(req.This)
		return body
	}
	ref := a.s.task(ctx, folder, "createVm", nil, func() (types.AnyType, types.BaseMethodFault) {
		return a.s.createVM(ctx, folder, req)
	})
	body.Res = &types.CreateVM_TaskResponse{Returnval: ref}
	return body
}

func (s *Server) createVM(ctx *simulator.Context, folder *simulator.Folder, req *types.CreateVM_Task) (types.AnyType, types.BaseMethodFault) {
	spec := &req.Config
	if spec.Files == nil || spec.Name == "" {
		return nil, &types.InvalidVmConfig{Property: "configSpec.files"}
	}
	if !strings.HasSuffix(spec.Files.VmPathName, ".vmx") {
		name, fault := s.vmFolder(spec.Files.VmPathName, spec.Name)
		if fault != nil {
			return nil, fault
		}
		spec.Files.VmPathName = name
	}
	_, vmx, fault := s.resolve(spec.Files.VmPathName)
	if fault != nil {
		return nil, fault
	}
	if err := mkParent(vmx); err != nil {
		return nil, fileFault(spec.Files.VmPathName, err)
	}
	if spec.InstanceUuid == "" {
		spec.InstanceUuid = uuid.NewString()
	}
	if spec.Uuid == "" {
		spec.Uuid = uuid.NewString()
	}
	c, fault := s.prepare(types.ManagedObjectReference{}, path.Dir(spec.Files.VmPathName), nil, spec.DeviceChange)
	if fault != nil {
		return nil, fault
	}
	s.burn()
	res := folder.CreateVMTask(ctx, req)
	result, fault := inner(ctx, res.(*methods.CreateVM_TaskBody).Res.Returnval)
	if fault != nil {
		c.failed()
		return nil, fault
	}
	ref := result.(types.ManagedObjectReference)
	s.mu.Lock()
	for _, b := range spec.DeviceChange {
		if d, ok := b.GetVirtualDeviceConfigSpec().Device.(*types.VirtualDisk); ok {
			held := s.find(flatBacking(d).FileName)
			for i := range held.Holders {
				if held.Holders[i].VM.Value == "" && held.Holders[i].Key == d.Key {
					held.Holders[i].VM = ref
				}
			}
		}
	}
	s.mu.Unlock()
	c.done()
	if vm := s.vmByRef(ctx, ref); vm != nil {
		ctx.WithLock(vm, func() {
			s.refreshDevices(ctx, vm)
			s.tracksFrom(vm)
			s.changed(vm)
		})
	}
	return ref, nil
}

// vmFolder finds a folder for a machine that does not name one.
func (s *Server) vmFolder(asked, name string) (string, types.BaseMethodFault) {
	var p object.DatastorePath
	if !p.FromString(asked) || s.store(p.Datastore) == nil {
		return "", &types.InvalidDatastorePath{DatastorePath: asked}
	}
	for n := 0; ; n++ {
		dir := name
		if n > 0 {
			dir = fmt.Sprintf("%s_%d", name, n)
		}
		if _, err := os.Lstat(filepath.Join(s.store(p.Datastore).dir, dir)); err != nil {
			return fmt.Sprintf("[%s] %s/%s.vmx", p.Datastore, dir, name), nil
		}
	}
}

func mkParent(p string) error { return os.MkdirAll(filepath.Dir(p), 0o700) }

// addVM makes a machine as the tests know them: one controller, one small disk,
// one network card.
func (s *Server) addVM(name string, host int, datastore string) (types.ManagedObjectReference, error) {
	scsi := &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
		SharedBus:         types.VirtualSCSISharingNoSharing,
		VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -1}},
	}}
	d := &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: -2, ControllerKey: -1, UnitNumber: types.NewInt32(0),
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: fmt.Sprintf("[%s]", datastore)},
				ThinProvisioned:              types.NewBool(true),
			},
		},
		CapacityInBytes: 64 << 20, CapacityInKB: 64 << 10,
	}
	nic := &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: types.VirtualEthernetCard{
		VirtualDevice: types.VirtualDevice{
			Key: -3,
			Backing: &types.VirtualEthernetCardNetworkBackingInfo{
				VirtualDeviceDeviceBackingInfo: types.VirtualDeviceDeviceBackingInfo{DeviceName: "VM Network"},
			},
		},
		AddressType: string(types.VirtualEthernetCardMacTypeGenerated),
	}}}
	hosts := s.hosts()
	req := &types.CreateVM_Task{
		This: s.vmRoot(), Pool: s.pool, Host: &hosts[host].Self,
		Config: types.VirtualMachineConfigSpec{
			Name:        name,
			GuestId:     string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest),
			Version:     "vmx-21",
			NumCPUs:     2,
			MemoryMB:    2048,
			Files:       &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s]", datastore)},
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "disk.EnableUUID", Value: "TRUE"}},
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: scsi},
				&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate, Device: d},
				&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: nic},
			},
		},
	}
	ctx := s.ctx()
	res := (&folderAPI{s: s}).CreateVMTask(ctx, req)
	if res.Fault() != nil {
		return types.ManagedObjectReference{}, soap.WrapSoapFault(res.Fault())
	}
	out, fault := inner(s.ctx(), res.(*methods.CreateVM_TaskBody).Res.Returnval)
	if fault != nil {
		return types.ManagedObjectReference{}, fmt.Errorf("%T", fault)
	}
	return out.(types.ManagedObjectReference), nil
}

func (s *Server) vmRoot() types.ManagedObjectReference {
	dc := s.root.Map.Get(s.dc).(*simulator.Datacenter)
	return dc.VmFolder
}

// byName finds a machine by its name, instance UUID or moref.
func (s *Server) byName(name string) (*simulator.VirtualMachine, error) {
	for _, e := range s.root.Map.All("VirtualMachine") {
		vm := e.(*simulator.VirtualMachine)
		if vm.Name == name || vm.Self.Value == name || vm.Config.InstanceUuid == name {
			return vm, nil
		}
	}
	return nil, fmt.Errorf("there is no vm %q", name)
}
