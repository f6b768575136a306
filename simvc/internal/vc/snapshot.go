package vc

import (
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// vmSnapshot is a snapshot of a machine.
type vmSnapshot struct {
	Ref         types.ManagedObjectReference
	Parent      string // moref, "" for a root
	ID          int32
	Name        string
	Description string
	Created     time.Time
	Power       types.VirtualMachinePowerState
	Memory      bool
	Quiesced    bool
	Config      types.VirtualMachineConfigInfo `json:"-"`
	Disks       map[int32]string               // device key: base name of the disk
}

// snapshots of a machine, oldest first, and the one it comes from.
type snapshots struct {
	List    []*vmSnapshot
	Current string
	Next    int32
	Track   map[int32]*tracking // by device key
}

const maxSnapshots = 32

// machine is what we know of a machine beside the simulator.
func (s *Server) machine(ref types.ManagedObjectReference) *snapshots {
	m := s.machines[ref]
	if m == nil {
		m = &snapshots{Track: make(map[int32]*tracking)}
		s.machines[ref] = m
	}
	return m
}

func (m *snapshots) find(ref string) *vmSnapshot {
	for _, sn := range m.List {
		if sn.Ref.Value == ref {
			return sn
		}
	}
	return nil
}

// tracksFrom starts the tracking of a machine's disks where it may start: it
// does so without a snapshot, and for a running machine only after a stun.
func (s *Server) tracksFrom(vm *simulator.VirtualMachine) {
	on := vm.Config.ChangeTrackingEnabled != nil && *vm.Config.ChangeTrackingEnabled
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.machine(vm.Self)
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		t := m.Track[d.Key]
		if t == nil {
			t = &tracking{}
			m.Track[d.Key] = t
		}
		if !on || len(m.List) == 0 {
			t.set(on && dependent(flatBacking(d).DiskMode))
		}
	}
}

// snapshotVM freezes the disks of a machine that take part in snapshots.
func (s *Server) snapshotVM(ctx *simulator.Context, vm *simulator.VirtualMachine, name, description string, memory, quiesce bool) (types.AnyType, types.BaseMethodFault) {
	s.mu.Lock()
	m := s.machine(vm.Self)
	sn := &vmSnapshot{
		Ref:    types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: fmt.Sprintf("snapshot-%d", s.nextSnapshot())},
		Parent: m.Current, ID: m.Next + 1, Name: name, Description: description, Created: time.Now(),
		Power: types.VirtualMachinePowerStatePoweredOff, Memory: memory, Quiesced: quiesce, Disks: make(map[int32]string),
	}
	depth := len(m.List)
	s.mu.Unlock()
	if depth >= maxSnapshots {
		return nil, &types.TooManySnapshotLevels{}
	}
	if memory && s.isOn(vm.Self) {
		sn.Power = types.VirtualMachinePowerStatePoweredOn
	}
	var frozen []*disk
	for _, dev := range vm.Config.Hardware.Device {
		dd, ok := dev.(*types.VirtualDisk)
		if !ok || flatBacking(dd) == nil {
			continue
		}
		if !dependent(flatBacking(dd).DiskMode) {
			if memory && s.isOn(vm.Self) {
				s.unfreeze(frozen, sn.Ref.Value)
				return nil, &types.MemorySnapshotOnIndependentDisk{}
			}
			continue
		}
		s.mu.Lock()
		d := s.holding(vm.Self, dd.Key, flatBacking(dd).FileName)
		change := ""
		if t := m.Track[dd.Key]; t != nil {
			change = t.next()
		}
		s.mu.Unlock()
		l, fault := s.freeze(d, sn.Ref.Value, change)
		if fault == nil {
			frozen = append(frozen, d)
			fault = s.mark(l)
		}
		if fault != nil {
			s.unfreeze(frozen, sn.Ref.Value)
			s.refreshDevices(ctx, vm)
			return nil, fault
		}
		sn.Disks[dd.Key] = d.Base
	}
	sn.Config = *vm.Config
	sn.Config.ExtraConfig = slices.Clone(vm.Config.ExtraConfig)
	s.mu.Lock()
	m.Next++
	m.List = append(m.List, sn)
	m.Current = sn.Ref.Value
	s.mu.Unlock()
	ctx.Map.Put(&simulator.VirtualMachineSnapshot{VirtualMachineSnapshot: mo.VirtualMachineSnapshot{
		ExtensibleManagedObject: mo.ExtensibleManagedObject{Self: sn.Ref}, Vm: vm.Self,
	}})
	s.stunned(vm)
	s.publishSnapshots(ctx, vm)
	return sn.Ref, nil
}

// stunned starts the tracking that waited for a stun: the snapshot that stunned
// the machine has no change id yet.
func (s *Server) stunned(vm *simulator.VirtualMachine) {
	s.mu.Lock()
	alone := len(s.machine(vm.Self).List) == 1
	s.mu.Unlock()
	if !alone || vm.Config.ChangeTrackingEnabled == nil || !*vm.Config.ChangeTrackingEnabled {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		if !dependent(flatBacking(d).DiskMode) {
			continue
		}
		t := s.machine(vm.Self).Track[d.Key]
		if t == nil {
			t = &tracking{}
			s.machine(vm.Self).Track[d.Key] = t
		}
		t.set(true)
	}
}

// nextSnapshot is a number that no snapshot has. s.mu is held.
func (s *Server) nextSnapshot() int {
	s.snapshotN++
	return s.snapshotN
}

// unfreeze undoes the freezing of disks for an owner; it reports whether files
// are left that others read.
func (s *Server) unfreeze(disks []*disk, owner string) (left bool) {
	for _, d := range disks {
		s.mu.Lock()
		if l := d.owned(owner); l != nil {
			l.Owner = ""
		}
		s.mu.Unlock()
		left = s.fold(d) || left
	}
	return left
}

// ownedBy lists the disks that a snapshot has a frozen file of.
func (s *Server) ownedBy(owner string) []*disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*disk
	for name, d := range s.disks {
		if name == d.Run && d.owned(owner) != nil {
			list = append(list, d)
		}
	}
	return list
}

// removeSnapshots ends snapshots; their children become their parent's.
func (s *Server) removeSnapshots(ctx *simulator.Context, vm *simulator.VirtualMachine, refs []string) {
	left := false
	for _, ref := range refs {
		left = s.unfreeze(s.ownedBy(ref), ref) || left
		s.mu.Lock()
		m := s.machine(vm.Self)
		gone := m.find(ref)
		for _, sn := range m.List {
			if sn.Parent == ref {
				sn.Parent = gone.Parent
			}
		}
		if m.Current == ref {
			m.Current = gone.Parent
		}
		m.List = slices.DeleteFunc(m.List, func(sn *vmSnapshot) bool { return sn == gone })
		s.mu.Unlock()
		ctx.Map.Remove(ctx, gone.Ref)
	}
	s.publishSnapshots(ctx, vm)
	if left {
		ctx.Update(vm, []types.PropertyChange{{Name: "runtime.consolidationNeeded", Val: true}})
	}
}

// subtree lists a snapshot and all that come from it, the youngest first.
func (s *Server) subtree(vm types.ManagedObjectReference, root string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := map[string]bool{root: true}
	list := []string{root}
	for _, sn := range s.machine(vm).List {
		if in[sn.Parent] {
			in[sn.Ref.Value] = true
			list = append(list, sn.Ref.Value)
		}
	}
	slices.Reverse(list)
	return list
}

// dropSnapshots ends all snapshots of a machine.
func (s *Server) dropSnapshots(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	s.mu.Lock()
	var refs []string
	for _, sn := range s.machine(vm.Self).List {
		refs = append(refs, sn.Ref.Value)
	}
	s.mu.Unlock()
	slices.Reverse(refs)
	s.removeSnapshots(ctx, vm, refs)
}
