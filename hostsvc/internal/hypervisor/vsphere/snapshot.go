package vsphere

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var (
	_ hypervisor.Snapshotter       = (*VSphere)(nil)
	_ hypervisor.FrozenSnapshotter = (*VSphere)(nil)
)

// frozen is where the content of a snapshot lies.
type frozen struct {
	file string // from the root of the datastore on, "" when vCenter does not say
	// The rest is for snapshots of first-class disks.
	disk     firstClass
	snapshot types.ID
	changeID string
}

// snapshotOf finds a snapshot of a disk. No such disk or snapshot: not-found.
func (v *VSphere) snapshotOf(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (family, frozen, error) {
	f, _, err := v.existing(ctx, r, false)
	if err != nil {
		return f, frozen{}, err
	}
	s, err := v.findSnapshot(ctx, f, id)
	return f, s, err
}

// findSnapshot finds snapshot id in a family. No such: not-found.
func (v *VSphere) findSnapshot(ctx context.Context, f family, id volspec.SnapshotID) (frozen, error) {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return frozen{}, err
	}
	if n := (layout.Name{Volume: f.r.Volume, Kind: layout.Snapshot, ID: id}); f.has(n) {
		return frozen{file: f.file(n)}, nil
	}
	if n, ok := f.kept()[id]; ok {
		return v.keptContent(ctx, f, n)
	}
	for _, n := range slices.Backward(f.disks()) {
		d, all, err := v.classSnapshots(ctx, f, n)
		if err != nil {
			return frozen{}, err
		}
		s, ok := labelled(all, snapshotLabel+string(id))
		if !ok {
			continue
		}
		at, changeID, err := v.details(ctx, d, s.id)
		if err != nil {
			return frozen{}, err
		}
		return frozen{file: inDatastore(f.r, at), disk: d, snapshot: s.id, changeID: changeID}, nil
	}
	return frozen{}, errkind.New(errkind.NotFound, "disk %s has no snapshot %s", f.r.Volume, id)
}

func (f family) has(n layout.Name) bool { _, ok := f.files[n]; return ok }

// inDatastore is a place from the root of r's datastore on, "" for one that is
// elsewhere or in another notation.
func inDatastore(r hypervisor.Ref, at string) string {
	datastore, file, ok := vcenter.SplitPath(at)
	if !ok || datastore != r.Datastore {
		return ""
	}
	return file
}

// keptContent is where the content of a replaced disk lies.
func (v *VSphere) keptContent(ctx context.Context, f family, n layout.Name) (frozen, error) {
	if v.o.Disk != FCD {
		return frozen{file: f.file(f.youngest(n))}, nil
	}
	d, err := v.firstClass(ctx, f.r, n)
	return frozen{file: inDatastore(f.r, d.running)}, err
}

// classSnapshots are the snapshots of n as a first-class disk; none when it is
// none.
func (v *VSphere) classSnapshots(ctx context.Context, f family, n layout.Name) (firstClass, []classSnapshot, error) {
	if v.o.Disk != FCD {
		return firstClass{}, nil, nil
	}
	d, err := v.class(ctx, f, n)
	if err != nil {
		return d, nil, err
	}
	all, err := v.snapshotsOf(ctx, d)
	return d, all, err
}

// Snapshots implements hypervisor.Snapshotter.
func (v *VSphere) Snapshots(ctx context.Context, r hypervisor.Ref) ([]volspec.SnapshotID, error) {
	f, _, err := v.existing(ctx, r, false)
	if err != nil {
		return nil, err
	}
	return v.snapshots(ctx, f)
}

func (v *VSphere) snapshots(ctx context.Context, f family) ([]volspec.SnapshotID, error) {
	ids := map[volspec.SnapshotID]bool{}
	for n := range f.files {
		if n.Kind == layout.Snapshot && !n.Tmp && n.Child == 0 {
			ids[n.ID] = true
		}
	}
	for id := range f.kept() {
		ids[id] = true
	}
	for _, n := range f.disks() {
		_, all, err := v.classSnapshots(ctx, f, n)
		if err != nil {
			return nil, err
		}
		for _, id := range ourIDs(all) {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// Snapshot implements hypervisor.Snapshotter. That of a first-class disk is
// made by vSphere in an instant, attached or not; that of a plain disk is a
// copy, for which no VM may write to it. A snapshot of the VM is no way: it would
// hold all disks of the VM.
func (v *VSphere) Snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	f, n, err := v.existing(ctx, r, true)
	if err != nil {
		return err
	}
	if _, err := v.findSnapshot(ctx, f, id); !errkind.Is(err, errkind.NotFound) {
		return err
	}
	if v.o.Disk != FCD {
		return v.copyAside(ctx, f, n, f.path(f.youngest(n)), id)
	}
	d, err := v.class(ctx, f, n)
	if err != nil {
		return err
	}
	if err := v.tidy(ctx, r, d); err != nil {
		return err
	}
	err = v.takeSnapshot(ctx, d, snapshotLabel+string(id))
	if errkind.Is(err, errkind.InUse) {
		// vSphere makes none of a disk that is attached read-only, see readOnlyMode.
		// Nobody writes to that one.
		if a, again := v.holder(ctx, r); again == nil && a != nil && a.disk.ReadOnly {
			return v.copyAside(ctx, f, n, d.running, id)
		}
	}
	return err
}

// tidy readies a disk for its next snapshot: what copies have left goes, and
// its changes are recorded. That begins while it has no snapshot, or the first
// answers would be wrong.
func (v *VSphere) tidy(ctx context.Context, r hypervisor.Ref, d firstClass) error {
	if d.tracked && !d.chained {
		return nil
	}
	all, err := v.snapshotsOf(ctx, d)
	if err == nil {
		all, err = v.sweepSnapshots(ctx, d, all)
	}
	if err != nil || d.tracked || len(all) > 0 {
		return err
	}
	return v.mark(ctx, r, d.id, trackFlag)
}

// copyAside makes a snapshot of a disk that nobody writes to by copying it; from
// is where its content is.
func (v *VSphere) copyAside(ctx context.Context, f family, n layout.Name, from string, id volspec.SnapshotID) error {
	if _, err := v.describe(ctx, f, n); err != nil {
		return err
	}
	a, err := v.writerOf(ctx, f.r)
	if err != nil {
		return err
	}
	if a != nil {
		return errkind.New(errkind.Unsupported, "disk %s is attached to VM %s, and a plain disk on vSphere has no snapshots of its own: detach it first, or keep volumes as first-class disks (disk = \"fcd\")", f.r.Volume, a.vm.Name)
	}
	to := layout.Name{Volume: f.r.Volume, Kind: layout.Snapshot, ID: id}
	return v.aside(ctx, f, to, func(temp string) error {
		return v.copyDisk(ctx, from, temp, volspec.Thin)
	})
}

// aside makes a file of a family whole or not at all.
func (v *VSphere) aside(ctx context.Context, f family, to layout.Name, fill func(temp string) error) error {
	if err := v.fresh(ctx, f, to.Temp()); err != nil {
		return err
	}
	temp := f.path(to.Temp())
	err := fill(temp)
	if err == nil {
		crashpoint.Here("vsphere.aside.filled")
		err = v.name(ctx, f, to)
	}
	if err != nil {
		v.discard(ctx, temp)
	}
	return err
}

// DeleteSnapshot implements hypervisor.Snapshotter.
func (v *VSphere) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	f, err := v.at(ctx, r, true)
	if err != nil {
		return err
	}
	if err := v.letGo(ctx, r, id); err != nil {
		return err
	}
	n := layout.Name{Volume: r.Volume, Kind: layout.Snapshot, ID: id}
	for _, n := range []layout.Name{n, n.Temp()} {
		if f.has(n) {
			if err := v.removeDisk(ctx, f.path(n)); err != nil {
				return err
			}
		}
	}
	for _, n := range f.disks() {
		d, all, err := v.classSnapshots(ctx, f, n)
		if err != nil {
			return err
		}
		for _, s := range all {
			if of, ok := s.of(); ok && of == id {
				if err := v.dropSnapshot(ctx, d, s.id); err != nil {
					return err
				}
			}
		}
	}
	return v.forget(ctx, f, id)
}

// inWordsOf names snapshots for a sentence.
func inWordsOf(all []classSnapshot) string {
	var names []string
	for _, s := range all {
		name := fmt.Sprintf("%q", s.label)
		if id, ok := s.of(); ok {
			name = string(id)
		} else if volume, ok := strings.CutPrefix(s.label, copyLabel); ok {
			name = "one for a copy to volume " + volume
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// SnapshotCost implements hypervisor.FrozenSnapshotter.
func (v *VSphere) SnapshotCost(ctx context.Context, r hypervisor.Ref) (volspec.Size, error) {
	f, n, err := v.existing(ctx, r, false)
	if err != nil || v.o.Disk == FCD {
		return 0, err
	}
	d, err := v.stat(ctx, f, n)
	return d.Allocated, err
}

// SnapshotFrozen implements hypervisor.FrozenSnapshotter. A VM that runs locks
// its plain disks against all other readers, whether it writes or not.
func (v *VSphere) SnapshotFrozen(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return v.Snapshot(ctx, r, id)
}
