package vc

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

func morefNumber(moref string) int {
	n, _ := strconv.Atoi(moref[strings.LastIndexByte(moref, '-')+1:])
	return n
}

// burned is an object that only takes a number.
type burned struct{ mo.CertificateManager }

// registering takes two numbers before that of the machine.
const tasksBefore = 2

// skip advances the simulator's counter so that a machine gets the number it had.
func (s *Server) skip(moref string) {
	for s.burn()+tasksBefore+1 < morefNumber(moref) {
	}
}

// burn takes a number. It is done once for every machine that is made, so that
// one is there to find out where the counter stands when it is made again.
func (s *Server) burn() int {
	ctx := s.ctx()
	b := &burned{}
	b.Self.Type = "Burned"
	ref := ctx.Map.Put(b).Reference()
	ctx.Map.Remove(ctx, ref)
	return morefNumber(ref.Value)
}

// restoreVM registers a machine and gives it the configuration it had. It runs
// on, if it did: only the simulator was away.
func (s *Server) restoreVM(v savedVM) error {
	c, err := decode(v.Config)
	if err != nil {
		return fmt.Errorf("vm %s: %w", v.Name, err)
	}
	var host *types.ManagedObjectReference
	for _, h := range s.hosts() {
		if h.Name == v.Host || host == nil {
			host = &h.Self
		}
	}
	// The simulator looks for this file by the machine's present name.
	if _, p, fault := s.resolve(path.Join(path.Dir(c.Files.VmPathName), v.Name+".nvram")); fault == nil {
		f, err := os.OpenFile(p, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("vm %s: %w", v.Name, err)
		}
		_ = f.Close()
	}
	s.skip(v.Moref)
	ctx := s.ctx()
	folder := ctx.Map.Get(s.vmRoot()).(*simulator.Folder)
	var res types.AnyType
	var fault types.BaseMethodFault
	ctx.WithLock(folder, func() {
		out := folder.RegisterVMTask(ctx, &types.RegisterVM_Task{
			This: folder.Self, Path: c.Files.VmPathName, Name: v.Name, Pool: &s.pool, Host: host,
		})
		res, fault = inner(ctx, out.(*methods.RegisterVM_TaskBody).Res.Returnval)
	})
	if fault != nil {
		return fmt.Errorf("vm %s: %T", v.Name, fault)
	}
	vm := s.vmByRef(ctx, res.(types.ManagedObjectReference))
	if vm.Self.Value != v.Moref {
		return fmt.Errorf("vm %s: was %s and would be %s", v.Name, v.Moref, vm.Self.Value)
	}
	ctx.WithLock(vm, func() { s.configure(ctx, vm, v, c) })
	return nil
}

func (s *Server) configure(ctx *simulator.Context, vm *simulator.VirtualMachine, v savedVM, c *types.VirtualMachineConfigInfo) {
	vm.Config = c
	vm.Capability.ChangeTrackingSupported = true // registering knows no hardware version
	sum := &vm.Summary.Config
	sum.Uuid, sum.InstanceUuid, sum.GuestId, sum.Name = c.Uuid, c.InstanceUuid, c.GuestId, c.Name
	sum.NumCpu, sum.MemorySizeMB = c.Hardware.NumCPU, c.Hardware.MemoryMB
	s.mu.Lock()
	m := v.Snapshots
	if m.Track == nil {
		m.Track = make(map[int32]*tracking)
	}
	s.machines[vm.Self] = &m
	for _, d := range v.Disks {
		s.adopt(d)
	}
	if v.On {
		s.on[vm.Self] = true
	}
	for _, sn := range m.List {
		s.snapshotN = max(s.snapshotN, morefNumber(sn.Ref.Value))
		if old, err := decode(v.Configs[sn.Ref.Value]); err == nil {
			sn.Config = *old
		}
	}
	s.mu.Unlock()
	for _, sn := range m.List {
		ctx.Map.Put(&simulator.VirtualMachineSnapshot{VirtualMachineSnapshot: mo.VirtualMachineSnapshot{
			ExtensibleManagedObject: mo.ExtensibleManagedObject{Self: sn.Ref}, Vm: vm.Self,
		}})
	}
	ctx.Update(vm, []types.PropertyChange{{Name: "datastore", Val: v.Datastore}, {Name: "network", Val: v.Network}})
	for _, ref := range v.Datastore {
		if ds, ok := ctx.Map.Get(ref).(*simulator.Datastore); ok {
			ctx.Map.AddReference(ctx, ds, &ds.Vm, vm.Self)
		}
	}
	if v.On {
		ctx.Update(vm, []types.PropertyChange{
			{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOn},
			{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOn},
			{Name: "guest.toolsRunningStatus", Val: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)},
			{Name: "guest.toolsStatus", Val: types.VirtualMachineToolsStatusToolsOk},
		})
		vm.Summary.Runtime.BootTime, vm.Runtime.BootTime = v.Booted, v.Booted
	}
	s.publishSnapshots(ctx, vm)
}
