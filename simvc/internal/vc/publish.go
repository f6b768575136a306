package vc

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// publishSnapshots shows a machine's snapshots and what its devices and theirs
// have for files now.
func (s *Server) publishSnapshots(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	s.refreshDevices(ctx, vm)
	s.mu.Lock()
	m := s.machine(vm.Self)
	roots := m.tree(vm.Self, "")
	var refs []types.ManagedObjectReference
	for _, r := range roots {
		refs = append(refs, r.Snapshot)
	}
	current := m.find(m.Current)
	configs := make(map[types.ManagedObjectReference]types.VirtualMachineConfigInfo)
	for _, sn := range m.List {
		configs[sn.Ref] = s.frozenConfig(sn)
	}
	s.mu.Unlock()
	var val types.AnyType
	if len(roots) > 0 {
		info := types.VirtualMachineSnapshotInfo{RootSnapshotList: roots}
		if current != nil {
			info.CurrentSnapshot = &current.Ref
		}
		val = info
	}
	ctx.Update(vm, []types.PropertyChange{
		{Name: "snapshot", Val: val},
		{Name: "rootSnapshot", Val: refs},
	})
	for ref, c := range configs {
		if o, ok := ctx.Map.Get(ref).(*simulator.VirtualMachineSnapshot); ok {
			ctx.WithLock(o, func() {
				o.Config, o.Vm = c, vm.Self
				o.ChildSnapshot = nil
				s.mu.Lock()
				for _, sn := range m.List {
					if sn.Parent == ref.Value {
						o.ChildSnapshot = append(o.ChildSnapshot, sn.Ref)
					}
				}
				s.mu.Unlock()
			})
		}
	}
	s.changed(vm)
}

func (m *snapshots) tree(vm types.ManagedObjectReference, parent string) []types.VirtualMachineSnapshotTree {
	var list []types.VirtualMachineSnapshotTree
	for _, sn := range m.List {
		if sn.Parent != parent {
			continue
		}
		list = append(list, types.VirtualMachineSnapshotTree{
			Snapshot: sn.Ref, Vm: vm, Name: sn.Name, Description: sn.Description, Id: sn.ID, CreateTime: sn.Created,
			State: sn.Power, Quiesced: sn.Quiesced, ReplaySupported: types.NewBool(false),
			ChildSnapshotList: m.tree(vm, sn.Ref.Value),
		})
	}
	return list
}

// frozenConfig is a snapshot's configuration, its disks backed by the frozen
// files. s.mu is held.
func (s *Server) frozenConfig(sn *vmSnapshot) types.VirtualMachineConfigInfo {
	c := sn.Config
	c.Hardware.Device = slices.Clone(c.Hardware.Device)
	for i, dev := range c.Hardware.Device {
		old, ok := dev.(*types.VirtualDisk)
		if !ok || flatBacking(old) == nil {
			continue
		}
		d := s.disks[sn.Disks[old.Key]]
		if d == nil {
			continue
		}
		if l := d.owned(sn.Ref.Value); l != nil {
			nd := *old
			nd.Backing = s.chain(d, l.File, flatBacking(old))
			c.Hardware.Device[i] = &nd
		}
	}
	return c
}
