package vsphere

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/slots"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// rounds is how often a change of a VM is tried anew because somebody else
// changed it at the same time.
const rounds = 8

// Attach implements hypervisor.Machines.
func (v *VSphere) Attach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	none := hypervisor.Device{}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return none, err
	}
	if _, err := v.place(ctx, r, !readOnly); err != nil {
		return none, err
	}
	if v.isTransporter(m) {
		return none, errkind.New(errkind.Unsupported, "disk %s cannot be attached: VM %s is the transporter (vsphere.transporter), and for nothing else; attach it to another VM", r.Volume, m.Name)
	}
	if p := power(m); p != hypervisor.On {
		return none, errkind.New(errkind.Unavailable, "disk %s cannot be attached: VM %s is %s; power it on and repeat", r.Volume, m.Name, inWords(m, p))
	}
	loc, err := v.locate(ctx, r, readOnly)
	if err != nil {
		return none, err
	}
	what := fmt.Sprintf("attaching disk %s to VM %s", r.Volume, m.Name)
	unlock, err := v.slots.Lock(ctx, vm)
	if err != nil {
		return none, vcenter.Translate(err, what)
	}
	defer unlock()
	if a, err := v.holder(ctx, r); err != nil || a != nil {
		return heldBy(a, err, vm, r, readOnly)
	}
	shown := true
	failed := v.change(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		if shown = now.shows(); !shown {
			return now.show(), nil
		}
		return now.plug(m, r, loc, readOnly)
	})
	if failed == nil && !shown {
		return none, hidden(m)
	}
	switch {
	case errkind.Is(failed, errkind.InUse):
		a, err := v.holder(ctx, r)
		if err != nil || a != nil {
			return heldBy(a, err, vm, r, readOnly)
		}
		return none, failed
	case failed != nil:
		return none, failed
	}
	now, err := v.now(ctx, what, m)
	if err != nil {
		return none, err
	}
	p := now.has(v, m, r)
	if p == nil {
		return none, errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM does not have the disk; repeat it", what)
	}
	return p.Device, nil
}

// heldBy is the answer to Attach for a disk that a VM has.
func heldBy(a *attachment, err error, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	switch {
	case err != nil:
		return hypervisor.Device{}, err
	case a.disk.VM != vm:
		return hypervisor.Device{}, errkind.New(errkind.InUse, "disk %s is attached to VM %s: detach it there first", r.Volume, a.vm.Name)
	case a.disk.ReadOnly != readOnly:
		return hypervisor.Device{}, errkind.New(errkind.InUse, "disk %s is attached to VM %s in the other access mode: detach it first", r.Volume, a.vm.Name)
	}
	return a.disk.Device, nil
}

func inWords(m vcenter.VM, p hypervisor.Power) string {
	switch {
	case !m.Connected:
		return "on a host that does not answer"
	case m.Power == types.VirtualMachinePowerStateSuspended:
		return "suspended"
	}
	return string(p)
}

// Detach implements hypervisor.Machines. vSphere does not look into its guests.
func (v *VSphere) Detach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	strayed, err := v.unplug(ctx, vm, r, "detaching")
	if err == nil && strayed {
		v.takeHome(ctx, r)
	}
	return err
}

// Fence implements hypervisor.Machines. A disk that is taken out of a VM is out
// of the guest's reach, whatever the guest does with it.
func (v *VSphere) Fence(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	_, err := v.unplug(ctx, vm, r, "cutting off")
	if !errkind.Is(err, errkind.Unavailable) || vcenter.Lost(err) || ctx.Err() != nil {
		return err
	}
	m, unknown := v.inv.VM(ctx, string(vm))
	if unknown != nil || power(m) != hypervisor.Unknown {
		return err
	}
	return errkind.Wrap(errkind.InUse, err, "VM %s cannot be cut off disk %s while it is %s: power it off, or bring its host back, and repeat", m.Name, r.Volume, inWords(m, hypervisor.Unknown))
}

// unplug takes a disk out of a VM and looks whether it is out. It tells of one
// that was not at its place.
func (v *VSphere) unplug(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, doing string) (strayed bool, err error) {
	if err := r.Check(); err != nil {
		return false, err
	}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return false, err
	}
	what := fmt.Sprintf("%s disk %s of VM %s", doing, r.Volume, m.Name)
	unlock, err := v.slots.Lock(ctx, vm)
	if err != nil {
		return false, vcenter.Translate(err, what)
	}
	defer unlock()
	err = v.change(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		p := now.has(v, m, r)
		if p == nil {
			return nil, nil
		}
		if strayed = p.away != nil; strayed {
			if err := v.noteBeforeDetach(ctx, r, p.away); err != nil {
				return nil, err
			}
		}
		if p.child {
			// Some versions would do it, and what the guest wrote since would be
			// lost with the snapshot.
			if err := v.pinned(ctx, m, r); err != nil {
				return nil, err
			}
		}
		spec := &types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{withoutDisk(p.key)}}
		if now.extra[placeKey+p.Serial] != "" {
			spec.ExtraConfig = append(spec.ExtraConfig, remember(vm, p.Serial, ""))
		}
		return spec, nil
	})
	if err != nil {
		if vcenter.Is[*types.InvalidDeviceSpec](err) || vcenter.Is[*types.InvalidDeviceOperation](err) {
			return false, cmp.Or(v.pinned(ctx, m, r), err)
		}
		return false, err
	}
	now, err := v.now(ctx, what, m)
	if errkind.Is(err, errkind.NotFound) {
		return false, nil // the VM was deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	if now.has(v, m, r) != nil {
		return false, errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM still has the disk; repeat it", what)
	}
	return strayed, nil
}

// machineNow is a VM as it was at one moment.
type machineNow struct {
	version   string // of the configuration: a change made on another one is refused
	hardware  int
	devices   []types.BaseVirtualDevice
	extra     map[string]string
	boot      string
	snapshots []string // names
}

func (v *VSphere) now(ctx context.Context, what string, m vcenter.VM) (machineNow, error) {
	var vm mo.VirtualMachine
	err := v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, m.Ref, []string{"config.hardware.device", "config.changeVersion", "config.version", "config.extraConfig", "snapshot"}, &vm)
	})
	if err != nil {
		return machineNow{}, err
	}
	if vm.Config == nil {
		return machineNow{}, errkind.New(errkind.Unavailable, "%s: vCenter cannot read the configuration of the VM now; repeat it", what)
	}
	if err := v.devicesAsGiven(ctx, vm.Config.Hardware.Device); err != nil {
		return machineNow{}, err
	}
	now := machineNow{version: vm.Config.ChangeVersion, devices: vm.Config.Hardware.Device, extra: settings(vm.Config.ExtraConfig), boot: machine(m).BootID}
	now.hardware, _ = strconv.Atoi(strings.TrimPrefix(vm.Config.Version, "vmx-"))
	for _, s := range allOf(vm.Snapshot) {
		now.snapshots = append(now.snapshots, s.Name)
	}
	return now, nil
}

// change makes one change of a VM that prepare derives from what the VM is. It
// is derived anew when somebody else was faster. A nil change is none.
func (v *VSphere) change(ctx context.Context, what string, m vcenter.VM, prepare func(machineNow) (*types.VirtualMachineConfigSpec, error)) error {
	for round := 1; ; round++ {
		now, err := v.now(ctx, what, m)
		if err != nil {
			return err
		}
		spec, err := prepare(now)
		if err != nil || spec == nil {
			return err
		}
		spec.ChangeVersion = now.version
		_, err = v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
			return started(object.NewVirtualMachine(vc, m.Ref).Reconfigure(ctx, *spec))
		})
		if !vcenter.Is[*types.ConcurrentAccess](err) || round == rounds || ctx.Err() != nil {
			return err
		}
	}
}

// has is the device through which a VM has r, nil when it has not.
func (now machineNow) has(v *VSphere, m vcenter.VM, r hypervisor.Ref) *plugged {
	for _, p := range v.ours(m, now.devices, placesOf(volspec.VMID(m.ID), now.extra)) {
		if p.Ref == r {
			return &p
		}
	}
	return nil
}

// plug is the change that adds a disk.
func (now machineNow) plug(m vcenter.VM, r hypervisor.Ref, loc located, readOnly bool) (*types.VirtualMachineConfigSpec, error) {
	mode := writableMode
	if readOnly {
		mode = readOnlyMode
	}
	disk := &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: loc.file},
		DiskMode:                     mode,
	}}}
	if loc.fcd != "" {
		disk.VDiskId = &types.ID{Id: loc.fcd}
	}
	changes, _, ok := now.seat(disk)
	if !ok {
		return nil, errkind.New(errkind.Quota, "disk %s cannot be attached: VM %s has no free place on its paravirtual SCSI controllers (%d on each, 4 controllers of all kinds); detach another disk first", r.Volume, m.Name, slots.Room(now.hardware))
	}
	spec := &types.VirtualMachineConfigSpec{DeviceChange: changes}
	if loc.serial != "" {
		spec.ExtraConfig = append(spec.ExtraConfig, remember(volspec.VMID(m.ID), loc.serial, loc.place))
	}
	return spec, nil
}

// seat is what adds a disk in a free place; false: there is none.
func (now machineNow) seat(disk *types.VirtualDisk) (changes []types.BaseVirtualDeviceConfigSpec, slot slots.Slot, ok bool) {
	slot, ok = slots.Choose(now.hardware, now.controllers())
	if !ok {
		return nil, slot, false
	}
	if slot.New {
		changes = append(changes, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device: &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
				SharedBus:         types.VirtualSCSISharingNoSharing,
				VirtualController: types.VirtualController{BusNumber: slot.Bus, VirtualDevice: types.VirtualDevice{Key: slot.Controller}},
			}},
		})
	}
	disk.Key, disk.ControllerKey, disk.UnitNumber = -1, slot.Controller, &slot.Unit
	return append(changes, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: disk}), slot, true
}

// controllers are the SCSI controllers with what is on them.
func (now machineNow) controllers() (all []slots.Controller) {
	units := map[int32][]int32{}
	for _, d := range now.devices {
		if b := d.GetVirtualDevice(); b.UnitNumber != nil {
			units[b.ControllerKey] = append(units[b.ControllerKey], *b.UnitNumber)
		}
	}
	for _, d := range now.devices {
		c, ok := d.(types.BaseVirtualSCSIController)
		if !ok {
			continue
		}
		b := c.GetVirtualSCSIController()
		_, para := d.(*types.ParaVirtualSCSIController)
		all = append(all, slots.Controller{
			Key: b.Key, Bus: b.BusNumber, Units: units[b.Key],
			Usable: para && (b.SharedBus == types.VirtualSCSISharingNoSharing || b.SharedBus == ""),
		})
	}
	return all
}
