package vsphere

import (
	"context"
	"errors"
	"path"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Clone implements hypervisor.Disks. It is vSphere that copies; of a first-class
// disk that is attached, from a snapshot that lives as long as the copy takes.
func (v *VSphere) Clone(ctx context.Context, src hypervisor.Ref, snap volspec.SnapshotID, dst hypervisor.Ref, format string) error {
	if err := hypervisor.CheckFormat(format); err != nil {
		return err
	}
	f, n, err := v.existing(ctx, src, false)
	if err != nil {
		return err
	}
	to, err := v.at(ctx, dst, true)
	if err != nil {
		return err
	}
	name := layout.Name{Volume: dst.Volume}
	if snap != "" {
		from, err := v.findSnapshot(ctx, f, snap)
		if err != nil {
			return err
		}
		size, err := v.sizeOf(ctx, f, from, snap)
		if err != nil {
			return err
		}
		return v.appear(ctx, to, name, size, true, func(ctx context.Context, at string) error {
			return v.copyOf(ctx, vcenter.Path(src.Datastore, from.file), at, format)
		})
	}
	d, err := v.describe(ctx, f, n)
	if err != nil {
		return err
	}
	return v.appear(ctx, to, name, volspec.Size(d.Size), true, func(ctx context.Context, at string) error {
		return v.copyNow(ctx, f, n, dst, at, format)
	})
}

// sizeOf is how large the disk was when a snapshot was made.
func (v *VSphere) sizeOf(ctx context.Context, f family, s frozen, id volspec.SnapshotID) (volspec.Size, error) {
	if s.file == "" && f.away != nil {
		return 0, errkind.New(errkind.Unavailable, "snapshot %s of disk %s cannot be read while the disk lies at %s, where vSphere moved it: detach the volume, so that it is moved back, and repeat", id, f.r.Volume, f.away.at)
	}
	if s.file == "" {
		return 0, errkind.New(errkind.Unsupported, "snapshot %s of disk %s cannot be read: vCenter does not say where it lies; use a vCenter of version 7 or later", id, f.r.Volume)
	}
	d, err := v.descriptor(ctx, f.r.Datastore, s.file)
	if errkind.Is(err, errkind.NotFound) {
		return 0, errkind.Wrap(errkind.Unavailable, err, "snapshot %s of disk %s vanished meanwhile: repeat it", id, f.r.Volume)
	}
	if errkind.Is(err, errkind.Corrupt) {
		return 0, errkind.Wrap(errkind.Corrupt, err, "snapshot %s of disk %s is unreadable", id, f.r.Volume)
	}
	return volspec.Size(d.Size), err
}

// copyOf copies a disk into one with a serial of its own.
func (v *VSphere) copyOf(ctx context.Context, from, to, format string) error {
	if err := v.copyDisk(ctx, from, to, format); err != nil {
		return err
	}
	return v.renewIdentity(ctx, to)
}

// copyNow copies what a disk holds at one moment.
func (v *VSphere) copyNow(ctx context.Context, f family, n layout.Name, dst hypervisor.Ref, to, format string) error {
	a, err := v.writerOf(ctx, f.r)
	if err != nil {
		return err
	}
	if v.o.Disk != FCD {
		if a != nil {
			return errkind.New(errkind.Unsupported, "disk %s is attached to VM %s, and vSphere copies no plain disk while it is written to: detach it first, or keep volumes as first-class disks (disk = \"fcd\")", f.r.Volume, a.vm.Name)
		}
		return v.copyOf(ctx, f.path(f.youngest(n)), to, format)
	}
	d, err := v.class(ctx, f, n)
	if err != nil {
		return err
	}
	if a == nil {
		return v.copyOf(ctx, d.running, to, format)
	}
	return v.copyFromSnapshot(ctx, f.r, d, copyLabel+string(dst.Volume), to, format)
}

// writerOf is who has r and may write to it, nil when nobody may: what is
// attached read-only stays as it is.
func (v *VSphere) writerOf(ctx context.Context, r hypervisor.Ref) (*attachment, error) {
	a, err := v.holder(ctx, r)
	if err != nil || a == nil || a.disk.ReadOnly {
		return nil, err
	}
	return a, nil
}

// copyFromSnapshot copies from a snapshot that is made for it and removed. One
// of that label that is there was left by an earlier try, and is of its moment.
func (v *VSphere) copyFromSnapshot(ctx context.Context, r hypervisor.Ref, d firstClass, label, to, format string) (err error) {
	if err := v.dropLabelled(ctx, d, label); err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		err = errors.Join(err, v.dropLabelled(end, d, label))
	}()
	if err := v.takeSnapshot(ctx, d, label); err != nil {
		return err
	}
	crashpoint.Here("vsphere.clone.frozen")
	all, err := v.snapshotsOf(ctx, d)
	if err != nil {
		return err
	}
	s, ok := labelled(all, label)
	if !ok {
		return errkind.New(errkind.Unavailable, "the snapshot that disk %s was to be copied from is gone: repeat it", r.Volume)
	}
	at, _, err := v.details(ctx, d, s.id)
	if err != nil {
		return err
	}
	return v.copyOf(ctx, at, to, format)
}

func (v *VSphere) dropLabelled(ctx context.Context, d firstClass, label string) error {
	all, err := v.snapshotsOf(ctx, d)
	if err != nil {
		return err
	}
	for _, s := range all {
		if s.label == label {
			if err := v.dropSnapshot(ctx, d, s.id); err != nil {
				return err
			}
		}
	}
	return nil
}

// scratchName is a place for a copy that belongs to no volume.
func scratchName(r hypervisor.Ref, id string) string {
	return path.Join(layout.Folder(r.Group), layout.Name{Volume: volspec.VolumeID("read-" + id), Tmp: true}.String())
}

// sweepCopies removes copies that were never closed, as far as it can.
func (v *VSphere) sweepCopies(ctx context.Context, ds vcenter.Datastore, r hypervisor.Ref) {
	found, err := v.search(ctx, ds, layout.Folder(r.Group), "read-*", false)
	if err != nil {
		return
	}
	byRef := map[hypervisor.Ref]family{}
	for _, folder := range found {
		addFiles(byRef, ds, r.Group, folder.File)
	}
	for _, f := range byRef {
		for n, e := range f.files {
			if n.Tmp && n.Child == 0 && f.file(n) == scratchName(r, strings.TrimPrefix(string(n.Volume), "read-")) && time.Since(e.modified) > abandoned {
				v.discard(ctx, f.path(n))
			}
		}
	}
}

// transfer is how long one piece of content may take on its way.
const transfer = 2 * time.Minute
