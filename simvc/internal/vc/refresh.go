package vc

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// refresh shows a disk's files and size on the machines that have it.
func (s *Server) refresh(ctx *simulator.Context, d *disk) {
	s.mu.Lock()
	holders := slices.Clone(d.Holders)
	s.mu.Unlock()
	for _, h := range holders {
		vm := s.vmByRef(ctx, h.VM)
		if vm == nil {
			continue
		}
		ctx.WithLock(vm, func() {
			s.refreshDevices(ctx, vm)
			s.changed(vm)
		})
	}
}

// refreshDevices puts what is true of the files into a machine's devices. The
// machine is locked. Devices are replaced, because readers may have the old.
func (s *Server) refreshDevices(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	devices := slices.Clone(vm.Config.Hardware.Device)
	for i, dev := range devices {
		old, ok := dev.(*types.VirtualDisk)
		if !ok || flatBacking(old) == nil {
			continue
		}
		nd, nb := *old, *flatBacking(old)
		nd.Backing = &nb
		s.mu.Lock()
		if d := s.holding(vm.Self, old.Key, nb.FileName); d != nil {
			nb.FileName = d.Run
			nb.Parent = s.chain(d, d.Parent, &nb)
			if d.FCD != "" {
				nd.VDiskId = &types.ID{Id: d.FCD}
			} else {
				nd.VDiskId = nil
			}
		}
		s.mu.Unlock()
		if _, p, fault := s.resolve(nb.FileName); fault == nil {
			if info, err := vmfile.Read(p); err == nil {
				nd.CapacityInBytes, nd.CapacityInKB = info.Size, info.Size>>10
			}
		}
		devices[i] = &nd
	}
	ctx.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: devices}})
}

// holding is the disk whose running file a device has. s.mu is held.
func (s *Server) holding(vm types.ManagedObjectReference, key int32, file string) *disk {
	mine := func(h holder) bool { return h.VM == vm && h.Key == key }
	if d := s.disks[file]; d != nil && slices.ContainsFunc(d.Holders, mine) {
		return d
	}
	for _, d := range s.disks {
		if slices.ContainsFunc(d.Holders, mine) {
			return d
		}
	}
	return nil
}

// chain is the backing of a frozen file and of what it comes from. s.mu is held.
func (s *Server) chain(d *disk, file string, like *types.VirtualDiskFlatVer2BackingInfo) *types.VirtualDiskFlatVer2BackingInfo {
	l := d.link(file)
	if l == nil {
		return nil
	}
	b := *like
	b.FileName, b.ChangeId = l.File, l.ChangeID
	b.Parent = s.chain(d, l.Parent, like)
	return &b
}

func (s *Server) isOn(ref types.ManagedObjectReference) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.on[ref]
}
