package vsphere

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// replacing begins the setting of a VM that names the file with which a disk of
// it is to be replaced; the key of the disk follows. The change that puts the
// file in takes the setting away: while it is there the file is nobody's.
const replacing = "mooring.replacing."

// BuildMachineDisk implements hypervisor.MachineImager. The new content gets a
// file beside the old one, and the VM gets that in one change.
func (v *VSphere) BuildMachineDisk(ctx context.Context, vm volspec.VMID, key string, size volspec.Size, fill func(ctx context.Context, to image.Target) error) (string, error) {
	if err := hypervisor.CheckSize(size); err != nil {
		return "", err
	}
	r := replacement{v: v, vm: vm, key: key}
	type one struct {
		vm  volspec.VMID
		key string
	}
	old, err := r.find(ctx)
	if err != nil {
		return "", err
	}
	if err := r.room(ctx, old, size); err != nil {
		return "", err
	}
	if _, making := v.making.LoadOrStore(one{vm, key}, true); making {
		return "", errkind.New(errkind.InUse, "%s of VM %s is being replaced already: wait for it and repeat", old.Label, r.m.Name)
	}
	defer v.making.Delete(one{vm, key})
	file := besides(old.at)
	if err := r.intend(ctx, file); err != nil {
		return "", err
	}
	to := blank{what: fmt.Sprintf("%s of VM %s", old.Label, r.m.Name), at: file, size: hypervisor.RoundUp(size, volspec.KiB), format: formatOf(old.device)}
	if err = v.fill(ctx, to, fill); err == nil {
		crashpoint.Here("vsphere.replace.filled")
		err = r.swap(ctx, old, file)
	}
	if err != nil && !r.giveUp(ctx, file) {
		return "", err
	}
	return old.at, nil
}

// replacement is a disk of a VM whose content is replaced.
type replacement struct {
	v   *VSphere
	vm  volspec.VMID
	key string
	m   vcenter.VM
}

func (r *replacement) what() string {
	return fmt.Sprintf("replacing disk %s of VM %s", r.key, r.m.Name)
}

// find finds the disk and checks that it can be replaced now.
func (r *replacement) find(ctx context.Context) (d machineDisk, err error) {
	if r.m, err = r.v.inv.VM(ctx, string(r.vm)); err != nil {
		return d, err
	}
	now, err := r.v.now(ctx, r.what(), r.m)
	if err != nil {
		return d, err
	}
	disks, err := r.v.machineDisks(ctx, now.devices, placesOf(r.vm, now.extra))
	if err != nil {
		return d, err
	}
	i := slices.IndexFunc(disks, func(d machineDisk) bool { return d.Key == r.key })
	if i < 0 {
		return d, errkind.New(errkind.NotFound, "VM %s has no disk %s", r.m.Name, r.key)
	}
	d = disks[i]
	switch p := power(r.m); {
	case d.Volume != "":
		return d, errkind.New(errkind.Unsupported, "%s of VM %s is volume %s: restore it as a volume", d.Label, r.m.Name, d.Volume)
	case d.Refusal != "":
		return d, errkind.New(errkind.Unsupported, "%s of VM %s cannot be replaced: %s", d.Label, r.m.Name, d.Refusal)
	case p != hypervisor.Off:
		return d, errkind.New(errkind.InUse, "%s of VM %s cannot be replaced while the VM is %s: power it off and repeat", d.Label, r.m.Name, inWords(r.m, p))
	}
	return d, r.unpinned(ctx, d)
}

// unpinned is in-use while the VM has snapshots.
func (r *replacement) unpinned(ctx context.Context, d machineDisk) error {
	now, err := r.v.condition(ctx, r.what(), r.m)
	if err != nil {
		return err
	}
	all := allOf(now.Snapshot)
	if len(all) == 0 {
		return nil
	}
	remedy := "remove that first"
	if slices.ContainsFunc(now.ours, func(o machineSnapshot) bool { return o.Snapshot == all[0].Snapshot }) {
		remedy = "wait until its backup has ended"
	}
	return errkind.New(errkind.InUse, "%s of VM %s cannot be replaced while the VM has snapshot %s: %s", d.Label, r.m.Name, all[0].Name, remedy)
}

func (r *replacement) room(ctx context.Context, d machineDisk, size volspec.Size) error {
	ds, err := r.v.inv.Datastore(ctx, d.Datastore)
	if err != nil {
		return err
	}
	if s := r.v.store(ds); s.State != hypervisor.Online {
		return errkind.New(errkind.Unavailable, "%s of VM %s cannot be replaced: datastore %q is %s: %s; bring it back and repeat", d.Label, r.m.Name, ds.Name, s.State, s.Detail)
	}
	if size > volspec.Size(ds.Free) {
		return errkind.New(errkind.Quota, "%s of VM %s cannot be replaced: it needs %s on datastore %q beside the old content, and %s are free; free space on it", d.Label, r.m.Name, size, ds.Name, volspec.Size(ds.Free))
	}
	return nil
}

var replaced = regexp.MustCompile(`-mooring-[0-9a-f]{8}$`)

// besides is a new name beside a disk.
func besides(at string) string {
	datastore, file, _ := vcenter.SplitPath(at)
	base := replaced.ReplaceAllString(strings.TrimSuffix(file, ".vmdk"), "")
	return vcenter.Path(datastore, base+"-mooring-"+uuid.NewString()[:8]+".vmdk")
}

// intend notes the new file with the VM. One that is noted already was left by
// an earlier try.
func (r *replacement) intend(ctx context.Context, file string) error {
	left := ""
	err := r.change(ctx, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		left = r.noted(now)
		// It can be one of ours only where the new one is, and under such a name.
		if left == file || path.Dir(left) != path.Dir(file) || !replaced.MatchString(strings.TrimSuffix(left, ".vmdk")) || r.has(now, left) {
			left = ""
		}
		return &types.VirtualMachineConfigSpec{ExtraConfig: r.note(file)}, nil
	})
	if err == nil && left != "" {
		r.v.discard(ctx, left)
	}
	return err
}

func (r *replacement) note(file string) []types.BaseOptionValue {
	return []types.BaseOptionValue{&types.OptionValue{Key: replacing + r.key, Value: file}}
}

func (r *replacement) noted(now machineNow) string { return now.extra[replacing+r.key] }

// change makes a change that is the same when it is made twice.
func (r *replacement) change(ctx context.Context, prepare func(machineNow) (*types.VirtualMachineConfigSpec, error)) error {
	unlock, err := r.v.slots.Lock(ctx, r.vm)
	if err != nil {
		return vcenter.Translate(err, r.what())
	}
	defer unlock()
	return r.v.insist(ctx, r.what(), r.m, prepare)
}

// swap gives the VM the new file in the place of the old one, which stays. What
// was begun is waited for, whatever has become of ctx.
func (r *replacement) swap(ctx context.Context, old machineDisk, file string) error {
	if ctx.Err() != nil {
		return vcenter.Translate(context.Cause(ctx), r.what())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), creation)
	defer cancel()
	return r.change(ctx, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		if r.noted(now) != file {
			if r.has(now, file) {
				return nil, nil // it was done, and the answer was lost
			}
			return nil, errkind.New(errkind.InUse, "%s: something else replaces a disk of the VM; wait for it and repeat", r.what())
		}
		d, err := r.find(ctx)
		if err != nil {
			return nil, err
		}
		if d.at != old.at {
			return nil, errkind.New(errkind.Unavailable, "%s: the disk has another file now; repeat it", r.what())
		}
		return &types.VirtualMachineConfigSpec{
			ExtraConfig: r.note(""),
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				withoutDisk(d.device.Key),
				&types.VirtualDeviceConfigSpec{
					Operation: types.VirtualDeviceConfigSpecOperationAdd,
					Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
						Key: d.device.Key, ControllerKey: d.device.ControllerKey, UnitNumber: d.device.UnitNumber,
						Backing: &types.VirtualDiskFlatVer2BackingInfo{
							VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file},
							DiskMode:                     writableMode,
						},
					}},
				},
			},
		}, nil
	})
}

// has reports whether the VM has the file as a disk.
func (r *replacement) has(now machineNow, file string) bool {
	return slices.ContainsFunc(disksAmong(now.devices), func(d *types.VirtualDisk) bool {
		b, ok := d.Backing.(types.BaseVirtualDeviceFileBackingInfo)
		return ok && b.GetVirtualDeviceFileBackingInfo().FileName == file
	})
}

// giveUp removes the new file, whatever has become of ctx, and reports whether
// the VM has it after all: then it stays. What cannot be removed now is noted
// with the VM.
func (r *replacement) giveUp(ctx context.Context, file string) (swapped bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	now, err := r.v.now(ctx, r.what(), r.m)
	if err != nil {
		return false
	}
	if r.has(now, file) {
		return true
	}
	if r.v.removeDisk(ctx, file) != nil {
		return false
	}
	_ = r.change(ctx, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		if r.noted(now) != file {
			return nil, nil
		}
		return &types.VirtualMachineConfigSpec{ExtraConfig: r.note("")}, nil
	})
	return false
}
