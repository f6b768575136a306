package vc

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// revertVM takes a machine back to a snapshot: its disks' content, its devices
// and its settings. It is off afterwards, unless the snapshot has its memory.
func (s *Server) revertVM(ctx *simulator.Context, vm *simulator.VirtualMachine, ref string) types.BaseMethodFault {
	s.mu.Lock()
	m := s.machine(vm.Self)
	sn := m.find(ref)
	s.mu.Unlock()
	if sn == nil {
		return notFound()
	}
	if s.isOn(vm.Self) && sn.Power != types.VirtualMachinePowerStatePoweredOn {
		if fault := s.stop(ctx, vm); fault != nil {
			return fault
		}
	}
	for _, d := range s.ownedBy(ref) {
		s.mu.Lock()
		l := d.owned(ref)
		s.mu.Unlock()
		if fault := s.restore(d, l); fault != nil {
			return fault
		}
		s.mu.Lock()
		if f := s.fcds[d.FCD]; f != nil {
			f.Tracking.reset()
			s.saveFCD(f)
		}
		s.mu.Unlock()
	}
	s.dropLater(vm, sn)
	s.mu.Lock()
	m.Current = ref
	for _, t := range m.Track {
		t.reset()
	}
	s.mu.Unlock()
	ctx.Update(vm, []types.PropertyChange{
		{Name: "config.extraConfig", Val: slices.Clone(sn.Config.ExtraConfig)},
		{Name: "config.hardware.device", Val: slices.Clone(sn.Config.Hardware.Device)},
	})
	s.publishSnapshots(ctx, vm)
	return nil
}

// dropLater lets go of disks that the machine got after the snapshot.
func (s *Server) dropLater(vm *simulator.VirtualMachine, sn *vmSnapshot) {
	then := object.VirtualDeviceList(sn.Config.Hardware.Device)
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		s.mu.Lock()
		held := s.holding(vm.Self, d.Key, flatBacking(d).FileName)
		s.mu.Unlock()
		if old, ok := then.FindByKey(d.Key).(*types.VirtualDisk); ok && flatBacking(old) != nil &&
			(flatBacking(old).FileName == held.Base || strings.EqualFold(flatBacking(old).Uuid, flatBacking(d).Uuid)) {
			continue
		}
		s.letGo(held.Run, holder{VM: vm.Self, Key: d.Key})
	}
}
