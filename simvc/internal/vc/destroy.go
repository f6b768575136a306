package vc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// DestroyTask deletes a machine and its disks, but not those first-class disks
// that are to be kept.
func (a *vmAPI) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	body := &methods.Destroy_TaskBody{}
	ref, fault := a.s.vmTask(ctx, req.This, "destroy", func(vm *simulator.VirtualMachine) (types.AnyType, types.BaseMethodFault) {
		if a.s.isOn(vm.Self) {
			return nil, &types.InvalidPowerState{
				RequestedState: types.VirtualMachinePowerStatePoweredOff,
				ExistingState:  vm.Runtime.PowerState,
			}
		}
		return nil, a.s.destroyVM(ctx, vm, req)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.Destroy_TaskResponse{Returnval: ref}
	}
	return body
}

func (s *Server) destroyVM(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.Destroy_Task) types.BaseMethodFault {
	if _, _, fault := s.writable(vm.Config.Files.VmPathName); fault != nil {
		return fault
	}
	_ = s.unplug(vm.Self)
	s.dropSnapshots(ctx, vm)
	var rest []types.BaseVirtualDevice
	for _, dev := range vm.Config.Hardware.Device {
		d, ok := dev.(*types.VirtualDisk)
		if !ok {
			rest = append(rest, dev)
			continue
		}
		name := flatBacking(d).FileName
		s.letGo(name, holder{VM: vm.Self, Key: d.Key})
		if !s.kept(name) && dependentOrOwn(flatBacking(d).DiskMode) {
			s.destroyDisk(name)
		}
	}
	ctx.Update(vm, []types.PropertyChange{{Name: "config.hardware.device", Val: rest}})
	// The simulator deletes the folder with all that is in it; we delete what is
	// the machine's.
	_, vmx, _ := s.resolve(vm.Config.Files.VmPathName)
	st, _, _ := s.resolve(vm.Config.Files.VmPathName)
	vm.Config.Files.LogDirectory = fmt.Sprintf("[%s] .gone-%s", st.name, uuid.NewString())
	res := vm.DestroyTask(ctx, req)
	if _, fault := inner(ctx, res.(*methods.Destroy_TaskBody).Res.Returnval); fault != nil {
		return fault
	}
	s.removeOwn(vmx)
	s.forgetVM(vm)
	return nil
}

// dependentOrOwn leaves out what a machine only reads.
func dependentOrOwn(mode string) bool {
	return mode != string(types.VirtualDiskModeIndependent_nonpersistent)
}

func (s *Server) removeOwn(vmx string) {
	base := strings.TrimSuffix(vmx, ".vmx")
	nvram, _ := filepath.Glob(filepath.Join(filepath.Dir(vmx), "*.nvram")) // the pattern is valid
	for _, p := range append(nvram, vmx, base+".vmsd", filepath.Join(filepath.Dir(vmx), "vmware.log")) {
		_ = os.Remove(p)
	}
	_ = os.Remove(filepath.Dir(vmx)) // if it is empty
}

// kept says whether a disk outlives its machine.
func (s *Server) kept(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[s.find(name).FCD]
	return f != nil && f.Keep
}

// UnregisterVM takes a machine out of the inventory and leaves its files.
func (a *vmAPI) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) soap.HasFault {
	body := &methods.UnregisterVMBody{}
	vm := a.s.vmByRef(ctx, req.This)
	if vm == nil {
		body.Fault_ = gone(req.This)
		return body
	}
	release, fault := a.s.claim("unregister", req.This)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	defer release()
	var res soap.HasFault
	ctx.WithLock(vm, func() { res = vm.UnregisterVM(ctx, req) })
	if res.Fault() != nil {
		return res
	}
	a.s.mu.Lock()
	for _, d := range a.s.disks {
		d.Holders = slices.DeleteFunc(d.Holders, func(h holder) bool { return h.VM == vm.Self })
		if len(d.Holders) == 0 && d.FCD == "" {
			d.Links = nil // nobody knows of its snapshots any more
		}
		a.s.keep(d)
	}
	a.s.mu.Unlock()
	a.s.forgetVM(vm)
	return res
}
