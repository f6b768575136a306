package vsphere

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// readOnlyMode is what read-only is on vSphere: no disk is write-protected
// there, but in this mode what a guest writes goes to a log of its own that is
// thrown away, so that it never reaches the disk. The guest's plugin makes the
// device read-only besides, so that nobody takes such a write for kept.
const (
	readOnlyMode = string(types.VirtualDiskModeIndependent_nonpersistent)
	writableMode = string(types.VirtualDiskModePersistent)
)

// plugged is one of our disks in a VM.
type plugged struct {
	hypervisor.Device
	key     int32
	child   bool   // its content is in a child, which a snapshot of the VM or of the disk has made
	away    *away  // where it lies, nil at its place
	running string // its running file, as vSphere writes it
}

// devices remembers which of our disks each VM has, as of a version of it.
type devices struct {
	mu    sync.Mutex // guards known
	known map[types.ManagedObjectReference]seen
}

type seen struct {
	version string
	disks   []plugged
}

// Attached implements hypervisor.Machines. The devices of a VM are read only
// when something about it has changed since they were last read.
func (v *VSphere) Attached(ctx context.Context) ([]hypervisor.Device, error) {
	all, err := v.attached(ctx)
	if err != nil {
		return nil, err
	}
	var out []hypervisor.Device
	for _, a := range all {
		out = append(out, a.disk.Device)
	}
	return out, nil
}

// attachment is a disk and the VM that has it.
type attachment struct {
	vm   vcenter.VM
	disk plugged
}

func (v *VSphere) attached(ctx context.Context) ([]attachment, error) {
	const what = "listing the attached disks"
	v.sweepTransporter(ctx)
	v.sweepAtStart(ctx)
	for attempt := 1; ; attempt++ {
		vms, err := v.inv.VMs(ctx)
		if err != nil {
			return nil, err
		}
		changed := v.devices.changed(vms)
		found, err := v.readDevices(ctx, what, changed)
		if vcenter.Is[*types.ManagedObjectNotFound](err) && attempt < 5 {
			continue // one of them was deleted meanwhile
		}
		if err != nil {
			return nil, err
		}
		v.noteAll(ctx, found)
		return v.devices.take(vms, changed, found), nil
	}
}

// changed are the VMs whose devices are not known as of now. VMs that are gone
// are forgotten.
func (d *devices) changed(vms []vcenter.VM) (out []vcenter.VM) {
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[types.ManagedObjectReference]bool{}
	for _, m := range vms {
		there[m.Ref] = true
		if s, ok := d.known[m.Ref]; !ok || s.version != m.Version {
			out = append(out, m)
		}
	}
	for ref := range d.known {
		if !there[ref] {
			delete(d.known, ref)
		}
	}
	return out
}

// take remembers what was found for the changed ones and answers for all. The
// versions are from before the reading, so that a change meanwhile makes them
// be read again.
func (d *devices) take(vms, changed []vcenter.VM, found map[types.ManagedObjectReference][]plugged) (all []attachment) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[types.ManagedObjectReference]seen{}
	}
	for _, m := range changed {
		d.known[m.Ref] = seen{m.Version, found[m.Ref]}
	}
	for _, m := range vms {
		disks := found[m.Ref]
		if s, ok := d.known[m.Ref]; ok {
			disks = s.disks
		}
		for _, p := range disks {
			all = append(all, attachment{m, p})
		}
	}
	return all
}

// ofVMs reads properties of VMs, of which there is one at least, and tells whose
// each answer is.
func (v *VSphere) ofVMs(ctx context.Context, what string, vms []vcenter.VM, names ...string) (read []mo.VirtualMachine, whose map[types.ManagedObjectReference]vcenter.VM, err error) {
	whose = map[types.ManagedObjectReference]vcenter.VM{}
	refs := make([]types.ManagedObjectReference, len(vms))
	for i, m := range vms {
		whose[m.Ref], refs[i] = m, m.Ref
	}
	err = v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).Retrieve(ctx, refs, names, &read)
	})
	return read, whose, err
}

func (v *VSphere) readDevices(ctx context.Context, what string, vms []vcenter.VM) (map[types.ManagedObjectReference][]plugged, error) {
	found := map[types.ManagedObjectReference][]plugged{}
	if len(vms) == 0 {
		return found, nil
	}
	read, whose, err := v.ofVMs(ctx, what, vms, "config.hardware.device", "config.extraConfig")
	if err != nil {
		return nil, err
	}
	for _, m := range read {
		if m.Config != nil {
			if err := v.devicesAsGiven(ctx, m.Config.Hardware.Device); err != nil {
				return nil, err
			}
			vm := whose[m.Self]
			found[m.Self] = v.ours(vm, m.Config.Hardware.Device, placesOf(volspec.VMID(vm.ID), settings(m.Config.ExtraConfig)))
		}
	}
	return found, nil
}

// ours are those of a VM's devices that are disks of ours. What the transporter
// has plugged in for its content is attached to nobody.
func (v *VSphere) ours(m vcenter.VM, all []types.BaseVirtualDevice, places places) (out []plugged) {
	for _, d := range disksAmong(all) {
		b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
		if !ok || v.isTransporter(m) && independent(b.DiskMode) {
			continue
		}
		base := baseOf(b)
		r, away, ok := places.whose(base, b, d.VDiskId)
		if !ok {
			continue
		}
		p := plugged{key: d.Key, child: base != b, away: away, running: b.FileName, Device: hypervisor.Device{
			Ref: r, VM: volspec.VMID(m.ID), Serial: serial(b.Uuid), Size: volspec.Size(d.CapacityInBytes),
			ReadOnly: b.DiskMode == readOnlyMode || b.DiskMode == string(types.VirtualDiskModeNonpersistent),
		}}
		if d.CapacityInBytes == 0 {
			p.Size = volspec.Size(d.CapacityInKB) * volspec.KiB
		}
		out = append(out, p)
	}
	return out
}

func independent(mode string) bool {
	return mode == string(types.VirtualDiskModeIndependent_persistent) || mode == string(types.VirtualDiskModeIndependent_nonpersistent)
}

// serial is what the guest's system makes of the UUID of a disk.
func serial(uuid string) string {
	return strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(uuid, "-", ""), " ", ""))
}

// holder is who has r, nil when nobody has.
func (v *VSphere) holder(ctx context.Context, r hypervisor.Ref) (*attachment, error) {
	all, err := v.attached(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(a attachment) bool { return a.disk.Ref == r })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// unattached is in-use while a VM has r. done says what is not to be then:
// "deleted".
func (v *VSphere) unattached(ctx context.Context, r hypervisor.Ref, done string) error {
	a, err := v.holder(ctx, r)
	if err != nil || a == nil {
		return err
	}
	return errkind.New(errkind.InUse, "disk %s cannot be %s: VM %s has it; detach it first", r.Volume, done, a.vm.Name)
}
