package vsphere

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.MachineImager = (*VSphere)(nil)

// machineDisk is a disk of a VM, or of a snapshot of one. Its key is that of the
// device: it follows from the place in the VM, whatever file is there.
type machineDisk struct {
	hypervisor.MachineDisk
	device  *types.VirtualDisk
	at      string // its file, as vSphere writes it; "" where it has none
	chained bool   // the file is a child of others
	// tracked is the moment as change tracking names it, "" when it names none.
	tracked string
}

// MachineDisks implements hypervisor.MachineImager.
func (v *VSphere) MachineDisks(ctx context.Context, vm volspec.VMID) ([]hypervisor.MachineDisk, error) {
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return nil, err
	}
	now, err := v.now(ctx, "looking at the disks of VM "+m.Name, m)
	if err != nil {
		return nil, err
	}
	disks, err := v.machineDisks(ctx, now.devices, placesOf(vm, now.extra))
	return plain(disks, false), err
}

// plain are the disks as the contract has them.
func plain(disks []machineDisk, moment bool) []hypervisor.MachineDisk {
	var all []hypervisor.MachineDisk
	for _, d := range disks {
		if moment && d.Refusal == "" && d.tracked != "" {
			d.Change = change{d.Size, d.tracked}.String()
		}
		all = append(all, d.MachineDisk)
	}
	return all
}

// machineDisks are the disks among devices, in the order of their slots.
func (v *VSphere) machineDisks(ctx context.Context, devices []types.BaseVirtualDevice, places places) ([]machineDisk, error) {
	found, err := v.inv.Datastores(ctx)
	if err != nil {
		return nil, err
	}
	var all []machineDisk
	for _, d := range disksAmong(devices) {
		m := v.machineDisk(d)
		if r, ok := places.volume(d); ok {
			m.Volume = r.Volume
		}
		if m.Refusal == "" && !slices.ContainsFunc(found, func(ds vcenter.Datastore) bool { return ds.Name == m.Datastore }) {
			m.Refusal = fmt.Sprintf("datastore %s is not in the datacenter that mooringd works in; move it to one that is, %s", m.Datastore, inGuest)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b machineDisk) int {
		return cmp.Or(cmp.Compare(a.device.ControllerKey, b.device.ControllerKey), cmp.Compare(slot(a.device), slot(b.device)), cmp.Compare(a.device.Key, b.device.Key))
	})
	return all, nil
}

func slot(d *types.VirtualDisk) int32 {
	if d.UnitNumber == nil {
		return -1
	}
	return *d.UnitNumber
}

func (v *VSphere) machineDisk(d *types.VirtualDisk) machineDisk {
	m := machineDisk{device: d}
	m.Key, m.Label = strconv.Itoa(int(d.Key)), "Disk "+strconv.Itoa(int(d.Key))
	if info := d.DeviceInfo; info != nil && info.GetDescription().Label != "" {
		m.Label = info.GetDescription().Label
	}
	if m.Size = volspec.Size(d.CapacityInBytes); m.Size == 0 {
		m.Size = volspec.Size(d.CapacityInKB) * volspec.KiB
	}
	if b, ok := d.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		m.at = b.GetVirtualDeviceFileBackingInfo().FileName
		m.Datastore, _, _ = vcenter.SplitPath(m.at)
	}
	m.Refusal = refusal(d)
	flat, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return m
	}
	m.chained = flat.Parent != nil
	if id, err := cbt.ParseID(flat.ChangeId); err == nil {
		m.tracked = id.String()
	}
	return m
}

const inGuest = "or back up its files in the guest"

// refusal is why there is no image of a disk, "" when there is one.
func refusal(d *types.VirtualDisk) string {
	var mode, sharing string
	var key *types.CryptoKeyId
	switch b := d.Backing.(type) {
	case *types.VirtualDiskRawDiskMappingVer1BackingInfo:
		if b.CompatibilityMode == string(types.VirtualDiskCompatibilityModePhysicalMode) {
			return "it is a raw device in physical mode, which snapshots leave out; replace it by a virtual disk, " + inGuest
		}
		return "it is a raw device, whose content is in no file; replace it by a virtual disk, " + inGuest
	case *types.VirtualDiskFlatVer2BackingInfo:
		mode, sharing, key = b.DiskMode, b.Sharing, b.KeyId
	case *types.VirtualDiskSeSparseBackingInfo:
		mode, key = b.DiskMode, b.KeyId
	case *types.VirtualDiskSparseVer2BackingInfo:
		mode, key = b.DiskMode, b.KeyId
	default:
		return "it is kept in a way that is not known here; replace it by an ordinary virtual disk, " + inGuest
	}
	switch {
	case mode != "" && mode != string(types.VirtualDiskModePersistent) && mode != string(types.VirtualDiskModeAppend):
		return "it is independent (" + mode + "), so that snapshots leave it out; power the VM off and make it dependent, " + inGuest
	case sharing == string(types.VirtualDiskSharingSharingMultiWriter):
		return "several VMs write to it (multi-writer), so that there are no snapshots of it; end the sharing, " + inGuest
	case key != nil:
		return "it is encrypted, so that only its VM can read it; decrypt it, " + inGuest
	}
	return ""
}
