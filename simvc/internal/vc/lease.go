package vc

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// leaseTimeout is how long a lease lives without a sign of progress, if nobody
// has set another.
const leaseTimeout = 5 * time.Minute

// SetLeaseTimeout sets it for the leases that begin from now on.
func (s *Server) SetLeaseTimeout(d time.Duration) {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.lease = d
}

// lease is a transfer of whole disks, see nfc.go for the bytes.
type lease struct {
	mo.HttpNfcLease
	s      *Server
	vm     types.ManagedObjectReference
	upload bool
	timer  *time.Timer
	lives  time.Duration

	mu       sync.Mutex
	files    map[string]*transfer
	manifest []types.HttpNfcLeaseManifestEntry
}

// transfer is one disk of a lease.
type transfer struct {
	key  string
	flat string
	size int64
	done bool
}

// newLease makes a lease that is ready.
func (s *Server) newLease(ctx *simulator.Context, vm *simulator.VirtualMachine, devices object.VirtualDeviceList, upload bool) *lease {
	s.rules.mu.Lock()
	l := &lease{s: s, vm: vm.Self, upload: upload, files: make(map[string]*transfer), lives: cmp.Or(s.rules.lease, leaseTimeout)}
	s.rules.mu.Unlock()
	l.Self = types.ManagedObjectReference{Type: "HttpNfcLease", Value: "lease-" + uuid.NewString()}
	l.InitializeProgress, l.State = 100, types.HttpNfcLeaseStateReady
	l.Mode = string(types.HttpNfcLeaseModePushOrGet)
	l.Info = &types.HttpNfcLeaseInfo{Lease: l.Self, Entity: vm.Self, LeaseTimeout: int32(l.lives.Seconds())}
	host := s.addr
	if s.o.ESX {
		host = "*" // the one that was asked
	}
	n := 0
	for _, d := range flatDisks(devices) {
		_, p, fault := s.resolve(flatBacking(d).FileName)
		if fault != nil {
			continue
		}
		place := diskPlace(devices, d)
		name := fmt.Sprintf("disk-%d.vmdk", n)
		key := fmt.Sprintf("/%s/%s", vm.Self.Value, place)
		l.files[name] = &transfer{key: key, flat: vmfile.Flat(p), size: d.CapacityInBytes}
		l.Info.DeviceUrl = append(l.Info.DeviceUrl, types.HttpNfcLeaseDeviceUrl{
			Key: key, ImportKey: fmt.Sprintf("/%s/%s", vm.Name, place), Disk: types.NewBool(true), TargetId: name,
			Url:           fmt.Sprintf("https://%s/nfc/%s/%s", host, l.Self.Value, name),
			SslThumbprint: s.ident.sha1, FileSize: vmfile.Used(vmfile.Flat(p)),
		})
		l.Info.TotalDiskCapacityInKB += d.CapacityInKB
		n++
	}
	s.mu.Lock()
	s.leases[l.Self.Value] = l
	s.mu.Unlock()
	l.timer = time.AfterFunc(l.lives, func() { l.end(s.ctx(), true) })
	ctx.Map.Put(l)
	return l
}

// diskPlace names a disk by its controller and unit.
func diskPlace(devices object.VirtualDeviceList, d *types.VirtualDisk) string {
	c, ok := devices.FindByKey(d.ControllerKey).(types.BaseVirtualController)
	if !ok || d.UnitNumber == nil {
		return fmt.Sprintf("disk:%d", d.Key)
	}
	kind := strings.TrimPrefix(fmt.Sprintf("%T", c), "*types.")
	return fmt.Sprintf("%s%d:%d", kind, c.GetVirtualController().BusNumber, *d.UnitNumber)
}

// end closes a lease; an import that is given up leaves no machine.
func (l *lease) end(ctx *simulator.Context, abort bool) bool {
	l.s.mu.Lock()
	_, open := l.s.leases[l.Self.Value]
	delete(l.s.leases, l.Self.Value)
	l.s.mu.Unlock()
	if !open {
		return false
	}
	l.timer.Stop()
	state, vm := types.HttpNfcLeaseStateDone, l.s.vmByRef(ctx, l.vm)
	if abort {
		state = types.HttpNfcLeaseStateError
		if l.upload && vm != nil {
			res := (&vmAPI{s: l.s}).DestroyTask(l.s.ctx(), &types.Destroy_Task{This: l.vm})
			if res.Fault() == nil {
				_, _ = inner(l.s.ctx(), res.(*methods.Destroy_TaskBody).Res.Returnval)
			}
		}
	}
	ctx.WithLock(l, func() { ctx.Update(l, []types.PropertyChange{{Name: "state", Val: state}}) })
	return true
}

// leased says whether a machine is being transferred.
func (s *Server) leased(ref types.ManagedObjectReference) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.leases {
		if l.vm == ref {
			return true
		}
	}
	return false
}

// HttpNfcLeaseComplete ends a transfer.
func (l *lease) HttpNfcLeaseComplete(ctx *simulator.Context, _ *types.HttpNfcLeaseComplete) soap.HasFault {
	body := &methods.HttpNfcLeaseCompleteBody{}
	if !l.end(ctx, false) {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	body.Res = &types.HttpNfcLeaseCompleteResponse{}
	return body
}

// HttpNfcLeaseAbort gives a transfer up.
func (l *lease) HttpNfcLeaseAbort(ctx *simulator.Context, _ *types.HttpNfcLeaseAbort) soap.HasFault {
	body := &methods.HttpNfcLeaseAbortBody{}
	if !l.end(ctx, true) {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	body.Res = &types.HttpNfcLeaseAbortResponse{}
	return body
}

// HttpNfcLeaseProgress keeps a lease alive.
func (l *lease) HttpNfcLeaseProgress(ctx *simulator.Context, req *types.HttpNfcLeaseProgress) soap.HasFault {
	body := &methods.HttpNfcLeaseProgressBody{}
	if l.State != types.HttpNfcLeaseStateReady {
		body.Fault_ = simulator.Fault("", &types.InvalidState{})
		return body
	}
	l.timer.Reset(l.lives)
	ctx.Update(l, []types.PropertyChange{{Name: "transferProgress", Val: req.Percent}})
	body.Res = &types.HttpNfcLeaseProgressResponse{}
	return body
}

// HttpNfcLeaseGetManifest lists what was transferred.
func (l *lease) HttpNfcLeaseGetManifest(_ *simulator.Context, _ *types.HttpNfcLeaseGetManifest) soap.HasFault {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &methods.HttpNfcLeaseGetManifestBody{Res: &types.HttpNfcLeaseGetManifestResponse{Returnval: l.manifest}}
}

// ExportVm leases the disks of a machine that is off.
func (a *vmAPI) ExportVm(ctx *simulator.Context, req *types.ExportVm) soap.HasFault {
	body := &methods.ExportVmBody{}
	vm := a.s.vmByRef(ctx, req.This)
	switch {
	case vm == nil:
		body.Fault_ = gone(req.This)
	case a.s.isOn(vm.Self):
		body.Fault_ = simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState,
		})
	default:
		ctx.WithLock(vm, func() {
			l := a.s.newLease(ctx, vm, vm.Config.Hardware.Device, false)
			body.Res = &types.ExportVmResponse{Returnval: l.Self}
		})
	}
	return body
}

// ExportSnapshot leases the frozen disks of a machine.
func (a *snapshotAPI) ExportSnapshot(ctx *simulator.Context, req *types.ExportSnapshot) soap.HasFault {
	body := &methods.ExportSnapshotBody{}
	sn, ok := ctx.Map.Get(req.This).(*simulator.VirtualMachineSnapshot)
	if !ok {
		body.Fault_ = gone(req.This)
		return body
	}
	vm := a.s.vmByRef(ctx, sn.Vm)
	var devices object.VirtualDeviceList
	ctx.WithLock(sn, func() { devices = sn.Config.Hardware.Device })
	// What takes no part in the snapshot is not in the export.
	devices = devices.Select(func(dev types.BaseVirtualDevice) bool {
		d, ok := dev.(*types.VirtualDisk)
		return !ok || flatBacking(d) != nil && dependent(flatBacking(d).DiskMode)
	})
	l := a.s.newLease(ctx, vm, devices, false)
	body.Res = &types.ExportSnapshotResponse{Returnval: l.Self}
	return body
}

// poolAPI has the methods of ResourcePool.
type poolAPI struct {
	api
	s *Server
}

// ImportVApp makes a machine and leases its disks for writing.
func (a *poolAPI) ImportVApp(ctx *simulator.Context, req *types.ImportVApp) soap.HasFault {
	body := &methods.ImportVAppBody{}
	spec, ok := req.Spec.(*types.VirtualMachineImportSpec)
	if !ok {
		body.Fault_ = simulator.Fault("", &types.InvalidArgument{InvalidProperty: "spec"})
		return body
	}
	to := a.s.vmRoot()
	if req.Folder != nil {
		to = *req.Folder
	}
	folder, ok := ctx.Map.Get(to).(*simulator.Folder)
	if !ok {
		body.Fault_ = gone(to)
		return body
	}
	res := (&folderAPI{s: a.s}).CreateVMTask(ctx, &types.CreateVM_Task{
		This: folder.Self, Config: spec.ConfigSpec, Pool: req.This, Host: req.Host,
	})
	ref, fault := inner(ctx, res.(*methods.CreateVM_TaskBody).Res.Returnval)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	vm := a.s.vmByRef(ctx, ref.(types.ManagedObjectReference))
	var l *lease
	ctx.WithLock(vm, func() { l = a.s.newLease(ctx, vm, vm.Config.Hardware.Device, true) })
	body.Res = &types.ImportVAppResponse{Returnval: l.Self}
	return body
}

// find is an open transfer by its URL.
func (s *Server) transfer(path string) (*lease, *transfer) {
	id, name := filepath.Split(strings.TrimPrefix(path, "/nfc/"))
	s.mu.Lock()
	l := s.leases[strings.TrimSuffix(id, "/")]
	s.mu.Unlock()
	if l == nil {
		return nil, nil
	}
	return l, l.files[name]
}
