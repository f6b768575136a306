package vc

import (
	"fmt"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// addDisk makes or finds the disk of a new device and fills in what a vCenter
// does: capacity, identity, kind.
func (s *Server) addDisk(c *change, vm types.ManagedObjectReference, dir string, have object.VirtualDeviceList, spec *types.VirtualDeviceConfigSpec, d *types.VirtualDisk, i int32) types.BaseMethodFault {
	b := flatBacking(d)
	if b == nil {
		return invalidDevice(i, "device.backing")
	}
	if fault := checkUnit(have, d, i); fault != nil {
		return fault
	}
	if b.FileName == "" || strings.HasSuffix(b.FileName, "]") || strings.HasSuffix(b.FileName, "/") {
		b.FileName = s.freeName(b.FileName, dir)
	}
	b.FileName = canon(b.FileName)
	capacity := d.CapacityInBytes
	if capacity == 0 {
		capacity = d.CapacityInKB << 10
	}
	if spec.FileOperation == types.VirtualDeviceConfigSpecFileOperationCreate {
		thin := b.ThinProvisioned != nil && *b.ThinProvisioned
		if _, fault := s.createDisk(b.FileName, capacity, thin); fault != nil {
			return fault
		}
		name := b.FileName
		c.undo = append(c.undo, func() { _ = s.removeDisk(name) })
	}
	spec.FileOperation = "" // the file is there now
	if b.DiskMode == "" {
		b.DiskMode = string(types.VirtualDiskModePersistent)
	}
	if b.Sharing == "" {
		b.Sharing = string(types.VirtualDiskSharingSharingNone)
	}
	if fault := s.fill(d, b.FileName); fault != nil {
		return fault
	}
	b.Parent = nil
	letGo, fault := s.hold(b.FileName, holder{VM: vm, Key: d.Key, Mode: b.DiskMode, Sharing: b.Sharing})
	if fault != nil {
		return fault
	}
	c.undo = append(c.undo, letGo)
	return nil
}

// fill puts what is known of a file into a device.
func (s *Server) fill(d *types.VirtualDisk, name string) types.BaseMethodFault {
	b := flatBacking(d)
	if b.DiskMode != string(types.VirtualDiskModeIndependent_nonpersistent) {
		if _, _, fault := s.writable(name); fault != nil {
			return fault
		}
	}
	info, fault := s.readDisk(name)
	if fault != nil {
		return fault
	}
	d.CapacityInBytes, d.CapacityInKB = info.Size, info.Size>>10
	b.Uuid = info.UUID
	b.ThinProvisioned = types.NewBool(info.Thin)
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.find(name)
	// The running file of a chain is what a device gets that asks for the disk.
	if name == held.Base && held.link(name) == nil || name == held.Run {
		b.FileName = held.Run
	}
	if held.FCD != "" {
		d.VDiskId = &types.ID{Id: held.FCD}
	}
	return nil
}

// pinned says whether a snapshot of the machine holds on to the disk.
func (s *Server) pinned(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disks[name]
	if d == nil {
		return false
	}
	for _, l := range d.Links {
		if strings.HasPrefix(l.Owner, "snapshot-") {
			return true
		}
	}
	return false
}

// chained says whether a disk has snapshots of any kind.
func (s *Server) chained(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disks[name]
	return d != nil && len(d.Links) > 0
}

// editDisk enlarges a disk or changes its mode.
func (s *Server) editDisk(vm types.ManagedObjectReference, have object.VirtualDeviceList, spec *types.VirtualDeviceConfigSpec, d *types.VirtualDisk, i int32) types.BaseMethodFault {
	old, _ := have.FindByKey(d.Key).(*types.VirtualDisk)
	if old == nil {
		return invalidDevice(i, "device.key")
	}
	was, b := flatBacking(old), flatBacking(d)
	if b == nil || was == nil || canon(b.FileName) != was.FileName {
		return invalidDevice(i, "device.backing")
	}
	spec.FileOperation = ""
	size := d.CapacityInBytes
	if size == 0 || size == old.CapacityInBytes {
		size = max(d.CapacityInKB<<10, size)
	}
	switch {
	case size < old.CapacityInBytes && size != 0:
		return &types.InvalidDeviceOperation{InvalidDeviceSpec: types.InvalidDeviceSpec{DeviceIndex: i}}
	case size > old.CapacityInBytes:
		if s.chained(b.FileName) {
			return invalidDevice(i, "device.capacityInKB")
		}
		if fault := s.growDisk(b.FileName, size); fault != nil {
			return fault
		}
	default:
		size = old.CapacityInBytes
	}
	d.CapacityInBytes, d.CapacityInKB = size, size>>10
	b.Uuid, b.ThinProvisioned, b.Parent, d.VDiskId = was.Uuid, was.ThinProvisioned, was.Parent, old.VDiskId
	if b.DiskMode != was.DiskMode {
		if s.pinned(b.FileName) || s.isOn(vm) {
			return invalidDevice(i, "device.backing.diskMode")
		}
		s.setMode(vm, d, b)
	}
	return nil
}

func (s *Server) setMode(vm types.ManagedObjectReference, d *types.VirtualDisk, b *types.VirtualDiskFlatVer2BackingInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.find(b.FileName)
	for i := range held.Holders {
		if h := &held.Holders[i]; h.VM == vm && h.Key == d.Key {
			h.Mode, h.Sharing = b.DiskMode, b.Sharing
		}
	}
}

// dropDisk lets go of a disk, and deletes it if asked. A disk that a snapshot
// of the machine holds on to stays where it is.
func (s *Server) dropDisk(c *change, vm types.ManagedObjectReference, have object.VirtualDeviceList, spec *types.VirtualDeviceConfigSpec, d *types.VirtualDisk, i int32) types.BaseMethodFault {
	old, _ := have.FindByKey(d.Key).(*types.VirtualDisk)
	if old == nil {
		return invalidDevice(i, "device.key")
	}
	b := flatBacking(old)
	name := b.FileName
	if dependent(b.DiskMode) && s.pinned(name) {
		return invalidDevice(i, "device")
	}
	destroy := spec.FileOperation == types.VirtualDeviceConfigSpecFileOperationDestroy
	spec.FileOperation = ""
	spec.Device = old
	c.commit = append(c.commit, func() {
		s.letGo(name, holder{VM: vm, Key: old.Key})
		s.mu.Lock()
		delete(s.machine(vm).Track, old.Key) // the next disk there is another one
		s.mu.Unlock()
		if destroy {
			s.destroyDisk(name)
		}
	})
	return nil
}

// dependent says whether a disk of this mode takes part in snapshots.
func dependent(mode string) bool {
	return mode == string(types.VirtualDiskModePersistent) || mode == string(types.VirtualDiskModeAppend)
}

// destroyDisk deletes a disk that its machine gave up, unless somebody else has
// it; a first-class one leaves the catalog with it.
func (s *Server) destroyDisk(name string) {
	s.mu.Lock()
	d := s.find(name)
	rest, id := len(d.Holders), d.FCD
	s.mu.Unlock()
	if rest > 0 {
		return
	}
	if id != "" {
		_ = s.deleteFCD(id)
		return
	}
	if s.untouched(name) == nil {
		_ = s.removeDisk(name)
	}
}

// freeName finds a name for a disk whose file was not named.
func (s *Server) freeName(asked, dir string) string {
	var p object.DatastorePath
	if !p.FromString(asked) || p.Path == "" && strings.Trim(p.Datastore, " ") == "" {
		p.FromString(dir)
	} else if p.Path == "" {
		var d object.DatastorePath
		d.FromString(dir)
		p.Path = d.Path
	}
	base := path.Base(p.Path)
	for n := 0; ; n++ {
		name := fmt.Sprintf("[%s] %s/%s.vmdk", p.Datastore, p.Path, base)
		if n > 0 {
			name = fmt.Sprintf("[%s] %s/%s_%d.vmdk", p.Datastore, p.Path, base, n)
		}
		if _, fault := s.readDisk(name); fault != nil {
			return name
		}
	}
}
