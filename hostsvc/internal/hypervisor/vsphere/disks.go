package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Disks = (*VSphere)(nil)

// at checks r and finds its family, wherever vSphere has moved the disk.
func (v *VSphere) at(ctx context.Context, r hypervisor.Ref, change bool) (family, error) {
	if err := layout.Check(r); err != nil {
		return family{}, err
	}
	ds, err := v.place(ctx, r, change)
	if err != nil {
		return family{}, err
	}
	f, err := v.look(ctx, ds, r)
	if err == nil {
		err = v.follow(ctx, &f)
	}
	return f, err
}

// existing is at for a disk that is to be there, with its name. Before a change
// it is moved back to its place.
func (v *VSphere) existing(ctx context.Context, r hypervisor.Ref, change bool) (family, layout.Name, error) {
	f, err := v.at(ctx, r, change)
	if err == nil && change {
		err = v.goHome(ctx, &f)
	}
	if err != nil {
		return f, layout.Name{}, err
	}
	n, ok := f.disk()
	if !ok {
		return f, n, absent(r)
	}
	return f, n, nil
}

// located is where a disk is for whoever attaches it.
type located struct {
	file   string // of the running disk, as vSphere writes it
	fcd    string // id of the first-class disk, "" when it is none
	serial string // "" when it has none yet
	place  string // where it belongs, as vSphere writes it
}

// locate finds a disk that is to be attached. Absent: not-found. Unreadable:
// corrupt. Being built anew: in-use.
func (v *VSphere) locate(ctx context.Context, r hypervisor.Ref, readOnly bool) (located, error) {
	if v.built.has(r) {
		return located{}, errkind.New(errkind.InUse, "disk %s is being restored: wait for it and repeat", r.Volume)
	}
	f, n, err := v.existing(ctx, r, !readOnly)
	if err != nil {
		return located{}, err
	}
	is, err := v.describe(ctx, f, n)
	if err != nil {
		return located{}, err
	}
	if n.N > 0 { // without it an earlier disk would seem to be the volume's
		err := v.note(ctx, f, layout.Name{Volume: n.Volume, Kind: layout.Was, ID: n.ID, N: n.N})
		if err != nil && !readOnly {
			return located{}, err
		}
	}
	loc := located{file: f.path(f.youngest(n)), serial: is.UUID, place: f.place(n)}
	if v.o.Disk != FCD {
		return loc, nil
	}
	d, err := v.class(ctx, f, n)
	loc.file, loc.fcd = d.running, d.id.Id
	return loc, err
}

// youngest is the child of a disk that was made last, or the disk. Only
// snapshots of a VM make children of a plain disk.
func (f family) youngest(n layout.Name) layout.Name {
	last := n
	for m := range f.files {
		if m.Base() == n && m.Child > last.Child {
			last = m
		}
	}
	return last
}

// Create implements hypervisor.Disks.
func (v *VSphere) Create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string) error {
	return v.CreateWithPolicy(ctx, r, size, format, "")
}

// create makes an empty disk.
func (v *VSphere) create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, policy []types.BaseVirtualMachineProfileSpec) error {
	if err := hypervisor.CheckNew(size, format); err != nil {
		return err
	}
	size = hypervisor.RoundUp(size, unit)
	f, err := v.at(ctx, r, true)
	if err != nil {
		return err
	}
	// Zeros take their time: until they are written it is no disk.
	return v.appear(ctx, f, layout.Name{Volume: r.Volume}, size, format == volspec.EagerZeroedThick, func(ctx context.Context, to string) error {
		return v.createDisk(ctx, to, size, format, policy)
	})
}

// appear makes n, the first disk of a family, with fill, unless one of that
// size is there. What takes long is made under a temporary name.
func (v *VSphere) appear(ctx context.Context, f family, n layout.Name, size volspec.Size, long bool, fill func(ctx context.Context, to string) error) error {
	if done, err := v.complete(ctx, f, size); done || err != nil {
		return err
	}
	if err := v.c.Files().MakeFolder(ctx, f.r.Datastore, layout.Folder(f.r.Group)); err != nil {
		return err
	}
	to := n
	if long {
		to = n.Temp()
	}
	if err := v.fresh(ctx, f, to); err != nil {
		return err
	}
	err := fill(ctx, f.path(to))
	if long && err == nil {
		crashpoint.Here("vsphere.appear.filled")
		err = v.name(ctx, f, n)
	}
	if err != nil && long {
		v.discard(ctx, f.path(to))
	}
	if errkind.Is(err, errkind.Exists) || vcenter.Lost(err) && ctx.Err() == nil { // it may be there
		return v.appeared(ctx, f.r, size, err)
	}
	if err != nil {
		return err
	}
	crashpoint.Here("vsphere.appear.made")
	if v.o.Disk != FCD {
		return nil
	}
	_, err = v.register(ctx, f.r, n)
	return err
}

// fresh removes what an earlier try has left under a temporary name.
func (v *VSphere) fresh(ctx context.Context, f family, n layout.Name) error {
	if _, left := f.files[n]; !left || !n.Tmp {
		return nil
	}
	return v.removeDisk(ctx, f.path(n))
}

// appeared is complete for a disk that may be there after all; cause is why it
// may not.
func (v *VSphere) appeared(ctx context.Context, r hypervisor.Ref, size volspec.Size, cause error) error {
	f, err := v.at(ctx, r, false)
	if err != nil {
		return err
	}
	done, err := v.complete(ctx, f, size)
	if !done && err == nil {
		return cause
	}
	return err
}

// name gives a disk of a family that is complete its name in place of the
// temporary one. When the answer is lost, the datastore is asked what became of
// it.
func (v *VSphere) name(ctx context.Context, f family, n layout.Name) error {
	err := v.moveDisk(ctx, f.place(n.Temp()), f.place(n))
	if !vcenter.Lost(err) || ctx.Err() != nil {
		return err
	}
	now, again := v.look(ctx, f.ds, f.r)
	if again == nil && now.has(n) && !now.has(n.Temp()) {
		return nil
	}
	return err
}

// complete reports whether the family has a disk of that size. Another size:
// exists.
func (v *VSphere) complete(ctx context.Context, f family, size volspec.Size) (bool, error) {
	n, ok := f.disk()
	if !ok {
		return false, nil
	}
	d, err := v.describe(ctx, f, n)
	if err != nil {
		return false, err
	}
	if have := volspec.Size(d.Size); have != size {
		return false, errkind.New(errkind.Exists, "disk %s on datastore %s exists with %s, not %s", f.r.Volume, f.r.Datastore, have, size)
	}
	if f.away != nil {
		return true, nil
	}
	return true, v.settle(ctx, f.r, n)
}

// settle does what is left to do once a disk lies at its place.
func (v *VSphere) settle(ctx context.Context, r hypervisor.Ref, n layout.Name) error {
	if v.o.Disk != FCD {
		return nil
	}
	_, err := v.firstClass(ctx, r, n)
	return err
}

// Stat implements hypervisor.Disks.
func (v *VSphere) Stat(ctx context.Context, r hypervisor.Ref) (hypervisor.Disk, error) {
	f, n, err := v.existing(ctx, r, false)
	if err != nil {
		return hypervisor.Disk{Ref: r}, err
	}
	return v.stat(ctx, f, n)
}

func (v *VSphere) stat(ctx context.Context, f family, n layout.Name) (hypervisor.Disk, error) {
	d, err := v.describe(ctx, f, n)
	if err != nil {
		return hypervisor.Disk{Ref: f.r}, err
	}
	return v.withMeta(ctx, f, n, d.Size, !d.Thin)
}

func (v *VSphere) withMeta(ctx context.Context, f family, n layout.Name, size int64, thick bool) (hypervisor.Disk, error) {
	meta, err := v.meta(ctx, f)
	if err != nil {
		return hypervisor.Disk{Ref: f.r}, err
	}
	d := hypervisor.Disk{Ref: f.r, Size: volspec.Size(size), Allocated: volspec.Size(f.allocated(n, size, thick)), Meta: meta}
	if f.away != nil {
		d.Moved = f.away.inWords()
		if !thick {
			d.Allocated, err = v.takes(ctx, f.away.at, d.Size)
		}
	}
	return d, err
}

// Grow implements hypervisor.Disks. vSphere enlarges no disk that has
// snapshots.
func (v *VSphere) Grow(ctx context.Context, r hypervisor.Ref, size volspec.Size) error {
	if err := hypervisor.CheckSize(size); err != nil {
		return err
	}
	asked := size
	size = hypervisor.RoundUp(size, unit)
	f, n, err := v.existing(ctx, r, true)
	if err != nil {
		return err
	}
	d, err := v.describe(ctx, f, n)
	if err != nil {
		return err
	}
	switch have := volspec.Size(d.Size); {
	case asked < have:
		return errkind.New(errkind.Invalid, "disk %s has %s and cannot shrink to %s", r.Volume, have, asked)
	case size == have:
		return nil
	}
	if v.o.Disk == FCD {
		return v.growFirstClass(ctx, f, n, size)
	}
	a, err := v.holder(ctx, r)
	switch {
	case err != nil:
		return err
	case a != nil:
		return v.growAttached(ctx, a, size)
	}
	return v.extendDisk(ctx, f.path(f.youngest(n)), size, !d.Thin)
}

func (v *VSphere) growFirstClass(ctx context.Context, f family, n layout.Name, size volspec.Size) error {
	r := f.r
	d, err := v.class(ctx, f, n)
	if err != nil {
		return err
	}
	snaps, err := v.snapshotsOf(ctx, d)
	if err == nil {
		snaps, err = v.sweepSnapshots(ctx, d, snaps)
	}
	if err != nil {
		return err
	}
	if len(snaps) > 0 {
		return errkind.New(errkind.InUse, "disk %s cannot grow: vSphere enlarges no disk that has snapshots (%s); remove them and repeat", r.Volume, inWordsOf(snaps))
	}
	return v.globalTask(ctx, fmt.Sprintf("growing disk %s on datastore %s", r.Volume, r.Datastore), func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.ExtendDisk(ctx, d.id, int64(size>>20))
	})
}

// growAttached enlarges a plain disk through the VM that has it.
func (v *VSphere) growAttached(ctx context.Context, a *attachment, size volspec.Size) error {
	what := fmt.Sprintf("growing disk %s in VM %s", a.disk.Volume, a.vm.Name)
	unlock, err := v.slots.Lock(ctx, a.disk.VM)
	if err != nil {
		return vcenter.Translate(err, what)
	}
	defer unlock()
	return v.change(ctx, what, a.vm, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		for _, dev := range now.devices {
			disk, ok := dev.(*types.VirtualDisk)
			if !ok || disk.Key != a.disk.key {
				continue
			}
			disk.CapacityInBytes, disk.CapacityInKB = int64(size), int64(size)>>10
			return &types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk},
			}}, nil
		}
		return nil, errkind.New(errkind.Unavailable, "%s: the VM does not have it any more; repeat it", what)
	})
}
