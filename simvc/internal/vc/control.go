package vc

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
	"mooring.dev/mooring/simvc/internal/vmfile"
)

// VMs describes all machines.
func (s *Server) VMs() []control.VM {
	list := []control.VM{}
	for _, e := range s.root.Map.All("VirtualMachine") {
		list = append(list, s.describe(e.(*simulator.VirtualMachine)))
	}
	slices.SortFunc(list, func(a, b control.VM) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// VM describes one.
func (s *Server) VM(name string) (control.VM, error) {
	vm, err := s.byName(name)
	if err != nil {
		return control.VM{}, err
	}
	return s.describe(vm), nil
}

func (s *Server) describe(vm *simulator.VirtualMachine) control.VM {
	ctx := s.ctx()
	var v control.VM
	ctx.WithLock(vm, func() {
		v = control.VM{
			Name: vm.Name, Moref: vm.Self.Value,
			InstanceUUID: vm.Config.InstanceUuid, BIOSUUID: vm.Config.Uuid,
			Power: string(vm.Runtime.PowerState),
		}
		if vm.Runtime.Host != nil {
			if h, ok := ctx.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
				v.Host = h.Name
			}
		}
		v.Disks = s.describeDisks(vm.Config.Hardware.Device)
	})
	return v
}

func (s *Server) describeDisks(devices object.VirtualDeviceList) []control.Disk {
	var list []control.Disk
	for _, dev := range devices {
		d, ok := dev.(*types.VirtualDisk)
		if !ok {
			continue
		}
		b := flatBacking(d)
		if b == nil {
			continue
		}
		c := control.Disk{Key: d.Key, UUID: b.Uuid, File: b.FileName, Capacity: d.CapacityInBytes, Mode: b.DiskMode}
		if ctl, ok := devices.FindByKey(d.ControllerKey).(types.BaseVirtualController); ok {
			c.Controller = ctl.GetVirtualController().BusNumber
		}
		if d.UnitNumber != nil {
			c.Unit = *d.UnitNumber
		}
		if d.VDiskId != nil {
			c.FCD = d.VDiskId.Id
		}
		if st, p, fault := s.resolve(b.FileName); fault == nil {
			c.Datastore, c.Path = st.name, vmfile.Flat(p)
		}
		list = append(list, c)
	}
	return list
}
