package vc

import (
	"fmt"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// Limits of a machine that the simulator does not know.
const (
	maxControllers = 4
	reservedUnit   = 7
	unitsPVSCSI    = 64
	unitsOther     = 16
)

// change is what a specification means for disks: files made before the
// simulator sees it, and what is to be done after it agreed or refused.
type change struct {
	undo, commit []func()
}

func (c *change) failed() {
	for i := len(c.undo) - 1; i >= 0; i-- {
		c.undo[i]()
	}
}

func (c *change) done() {
	for _, f := range c.commit {
		f()
	}
}

// prepare checks the devices of a specification against those of a machine,
// which is locked, and makes the files of new disks.
func (s *Server) prepare(vm types.ManagedObjectReference, dir string, have object.VirtualDeviceList, specs []types.BaseVirtualDeviceConfigSpec) (*change, types.BaseMethodFault) {
	c := &change{}
	have = append(object.VirtualDeviceList{}, have...)
	for i, b := range specs {
		spec := b.GetVirtualDeviceConfigSpec()
		var fault types.BaseMethodFault
		switch d := spec.Device.(type) {
		case *types.VirtualDisk:
			switch spec.Operation {
			case types.VirtualDeviceConfigSpecOperationAdd:
				fault = s.addDisk(c, vm, dir, have, spec, d, int32(i))
			case types.VirtualDeviceConfigSpecOperationEdit:
				fault = s.editDisk(vm, have, spec, d, int32(i))
			case types.VirtualDeviceConfigSpecOperationRemove:
				fault = s.dropDisk(c, vm, have, spec, d, int32(i))
			}
		case types.BaseVirtualSCSIController:
			if spec.Operation == types.VirtualDeviceConfigSpecOperationAdd {
				fault = addController(have, specs, d, int32(i))
			}
		}
		if fault != nil {
			c.failed()
			return nil, fault
		}
		switch spec.Operation {
		case types.VirtualDeviceConfigSpecOperationAdd:
			have = append(have, spec.Device)
		case types.VirtualDeviceConfigSpecOperationRemove:
			have = without(have, spec.Device.GetVirtualDevice().Key)
		}
	}
	return c, nil
}

func without(have object.VirtualDeviceList, key int32) object.VirtualDeviceList {
	return have.Select(func(d types.BaseVirtualDevice) bool { return d.GetVirtualDevice().Key != key })
}

func invalidDevice(i int32, property string) types.BaseMethodFault {
	return &types.InvalidDeviceSpec{
		InvalidVmConfig: types.InvalidVmConfig{Property: fmt.Sprintf("configSpec.deviceChange[%d].%s", i, property)},
		DeviceIndex:     i,
	}
}

func scsiControllers(have object.VirtualDeviceList) []*types.VirtualSCSIController {
	var list []*types.VirtualSCSIController
	for _, d := range have {
		if c, ok := d.(types.BaseVirtualSCSIController); ok {
			list = append(list, c.GetVirtualSCSIController())
		}
	}
	return list
}

// addController gives a new controller the bus and the key a vCenter would.
func addController(have object.VirtualDeviceList, specs []types.BaseVirtualDeviceConfigSpec, b types.BaseVirtualSCSIController, i int32) types.BaseMethodFault {
	c := b.GetVirtualSCSIController()
	taken := make(map[int32]bool)
	for _, o := range scsiControllers(have) {
		taken[o.BusNumber] = true
	}
	if len(taken) >= maxControllers {
		return &types.TooManyDevices{InvalidVmConfig: types.InvalidVmConfig{Property: fmt.Sprintf("configSpec.deviceChange[%d].device", i)}}
	}
	if c.BusNumber < 0 || c.BusNumber >= maxControllers || taken[c.BusNumber] {
		return invalidDevice(i, "device.busNumber")
	}
	old := c.Key
	c.Key = 1000 + c.BusNumber
	if c.ControllerKey == 0 {
		c.ControllerKey = 100
	}
	for _, s := range specs {
		if d := s.GetVirtualDeviceConfigSpec().Device.GetVirtualDevice(); d.ControllerKey == old && old != c.Key {
			d.ControllerKey = c.Key
		}
	}
	return nil
}

// checkUnit finds the place of a disk: its controller, and a unit that is
// allowed and free. None asked for is the first free one.
func checkUnit(have object.VirtualDeviceList, d *types.VirtualDisk, i int32) types.BaseMethodFault {
	ctl := have.FindByKey(d.ControllerKey)
	sc, ok := ctl.(types.BaseVirtualSCSIController)
	if !ok {
		return invalidDevice(i, "device.controllerKey")
	}
	limit := int32(unitsOther)
	if _, ok := ctl.(*types.ParaVirtualSCSIController); ok {
		limit = unitsPVSCSI
	}
	used := map[int32]bool{reservedUnit: true}
	for _, o := range have {
		v := o.GetVirtualDevice()
		if v.ControllerKey == d.ControllerKey && v.UnitNumber != nil && v.Key != d.Key {
			used[*v.UnitNumber] = true
		}
	}
	if d.UnitNumber == nil {
		return invalidDevice(i, "device.unitNumber")
	}
	if n := *d.UnitNumber; n < 0 || n >= limit || used[n] {
		return invalidDevice(i, "device.unitNumber")
	}
	if d.Key <= 0 {
		d.Key = 2000 + sc.GetVirtualSCSIController().BusNumber*unitsPVSCSI + *d.UnitNumber
	}
	return nil
}

// flatDisks are the disks among devices whose files the simulator knows.
func flatDisks(devices []types.BaseVirtualDevice) (disks []*types.VirtualDisk) {
	for _, dev := range devices {
		if d, ok := dev.(*types.VirtualDisk); ok && flatBacking(d) != nil {
			disks = append(disks, d)
		}
	}
	return disks
}

func flatBacking(d *types.VirtualDisk) *types.VirtualDiskFlatVer2BackingInfo {
	b, _ := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	return b
}
