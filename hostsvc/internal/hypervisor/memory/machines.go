package memory

import (
	"context"
	"slices"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// VMs implements hypervisor.Machines.
func (m *Memory) VMs(ctx context.Context) ([]hypervisor.VM, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []hypervisor.VM
	for _, v := range m.vms {
		all = append(all, v.VM)
	}
	slices.SortFunc(all, func(a, b hypervisor.VM) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// VM implements hypervisor.Machines.
func (m *Memory) VM(ctx context.Context, id volspec.VMID) (hypervisor.VM, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return hypervisor.VM{}, err
	}
	defer unlock()
	v, err := m.machine(id)
	if err != nil {
		return hypervisor.VM{}, err
	}
	return v.VM, nil
}

func (m *Memory) machine(id volspec.VMID) (*machine, error) {
	if v := m.vms[id]; v != nil {
		return v, nil
	}
	return nil, errkind.New(errkind.NotFound, "no VM %s: see the list of VMs", id)
}

func (m *Memory) name(id volspec.VMID) string {
	if v := m.vms[id]; v != nil {
		return v.Name
	}
	return string(id)
}

// Attach implements hypervisor.Machines.
func (m *Memory) Attach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return hypervisor.Device{}, err
	}
	defer unlock()
	v, err := m.machine(vm)
	if err != nil {
		return hypervisor.Device{}, err
	}
	d, err := m.find(r, !readOnly)
	if err != nil {
		return hypervisor.Device{}, err
	}
	if err := m.quiet(r); err != nil {
		return hypervisor.Device{}, err
	}
	if v.Power != hypervisor.On {
		return hypervisor.Device{}, errkind.New(errkind.Unavailable, "VM %s is %s: power it on and repeat", v.Name, v.Power)
	}
	if dev, ok := m.attached[r]; ok {
		switch {
		case dev.VM != vm:
			return hypervisor.Device{}, errkind.New(errkind.InUse, "disk %s is attached to VM %s: detach it there first", r.Volume, m.name(dev.VM))
		case dev.ReadOnly != readOnly:
			return hypervisor.Device{}, errkind.New(errkind.InUse, "disk %s is attached to VM %s in the other access mode: detach it first", r.Volume, v.Name)
		}
		return dev, nil
	}
	dev := hypervisor.Device{Ref: r, VM: vm, Serial: volspec.Serial(r.Volume), ReadOnly: readOnly, Size: d.size}
	m.attached[r] = dev
	return dev, nil
}

// Detach implements hypervisor.Machines.
func (m *Memory) Detach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	v, err := m.machine(vm)
	if err != nil {
		return err
	}
	if dev, ok := m.attached[r]; !ok || dev.VM != vm {
		return nil
	}
	d := m.disks[r]
	if d.busy && v.Power != hypervisor.Off {
		return errkind.New(errkind.InUse, "VM %s still has disk %s mounted or open: unmount it there first", v.Name, r.Volume)
	}
	m.release(r)
	return nil
}

func (m *Memory) release(r hypervisor.Ref) {
	delete(m.attached, r)
	m.disks[r].busy = false
}

// Fence implements hypervisor.Machines.
func (m *Memory) Fence(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := m.machine(vm); err != nil {
		return err
	}
	if dev, ok := m.attached[r]; ok && dev.VM == vm {
		m.release(r)
	}
	return nil
}

// Attached implements hypervisor.Machines.
func (m *Memory) Attached(ctx context.Context) ([]hypervisor.Device, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []hypervisor.Device
	for _, d := range m.attached {
		all = append(all, d)
	}
	return all, nil
}
