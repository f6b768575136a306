package vsphere

import (
	"bytes"
	"context"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// A disk whose content was replaced stays, as long as its content or any of
// its own snapshots is a snapshot of the volume.

// forget makes the content of a replaced disk no snapshot any more, and removes
// disks that nothing is left of.
func (v *VSphere) forget(ctx context.Context, f family, id volspec.SnapshotID) error {
	n, ok := f.kept()[id]
	if ok {
		if err := v.note(ctx, f, layout.Name{Volume: f.r.Volume, Kind: layout.Gone, ID: id, N: n.N + 1}); err != nil {
			return err
		}
	}
	return v.sweep(ctx, f)
}

// note writes a file that says all with its name.
func (v *VSphere) note(ctx context.Context, f family, n layout.Name) error {
	if f.has(n) {
		return nil
	}
	if err := v.c.Files().Put(ctx, f.r.Datastore, f.file(n), bytes.NewReader(nil), 0); err != nil {
		return err
	}
	f.files[n] = entry{}
	return nil
}

// sweep removes replaced disks that nothing is left of, the oldest first.
func (v *VSphere) sweep(ctx context.Context, f family) error {
	all := f.disks()
	for _, n := range all[:max(0, len(all)-1)] {
		if _, kept := f.keptAs(n); kept {
			continue
		}
		_, snaps, err := v.classSnapshots(ctx, f, n)
		if err != nil {
			return err
		}
		if len(snaps) > 0 {
			continue
		}
		if err := v.dropReplaced(ctx, f, n); err != nil {
			return err
		}
	}
	return nil
}

// dropReplaced removes a replaced disk. What its name says about the one before
// it is noted while there is one.
func (v *VSphere) dropReplaced(ctx context.Context, f family, n layout.Name) error {
	before := slices.ContainsFunc(f.disks(), func(m layout.Name) bool { return m.N == n.N-1 })
	if was := (layout.Name{Volume: n.Volume, Kind: layout.Was, ID: n.ID, N: n.N}); before {
		if err := v.note(ctx, f, was); err != nil {
			return err
		}
	}
	crashpoint.Here("vsphere.replaced.noted")
	if err := v.removeOne(ctx, f, n); err != nil {
		return err
	}
	delete(f.files, n)
	for m := range f.files { // what was said about n
		if m.N == n.N+1 && (m.Kind == layout.Was || m.Kind == layout.Gone) {
			if err := v.c.Files().Delete(ctx, f.r.Datastore, f.file(m)); err != nil {
				return err
			}
			delete(f.files, m)
		}
	}
	return nil
}

// removeOne removes one disk of a family, with what vSphere keeps about it.
func (v *VSphere) removeOne(ctx context.Context, f family, n layout.Name) error {
	if f.strays(n) {
		return v.removeStray(ctx, f)
	}
	if v.o.Disk == FCD {
		d, err := v.findFirstClass(ctx, f.r, n)
		if err == nil {
			err = v.removeFirstClass(ctx, d)
		}
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
		if f, err = v.look(ctx, f.ds, f.r); err != nil { // usually nothing is left
			return err
		}
	}
	var files []layout.Name
	for m := range f.files {
		if m.Base() == n {
			files = append(files, m)
		}
	}
	slices.SortFunc(files, func(a, b layout.Name) int { return b.Child - a.Child })
	for _, m := range files {
		if err := v.removeDisk(ctx, f.path(m)); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements hypervisor.Disks.
func (v *VSphere) Delete(ctx context.Context, r hypervisor.Ref) error {
	f, err := v.at(ctx, r, true)
	if err != nil || len(f.files) == 0 && f.away == nil {
		return err
	}
	if len(f.disks()) > 0 {
		if err := v.unattached(ctx, r, "deleted"); err != nil {
			return err
		}
	}
	if err := v.letGo(ctx, r, ""); err != nil {
		return err
	}
	if f, err = v.at(ctx, r, true); err != nil {
		return err
	}
	// The volume's own disk last of all disks, so that none before it takes its
	// place; then what lies beside it, which alone is no disk.
	for n := range f.files {
		if n.Child == 0 && (n.Kind == layout.Snapshot || n.Kind == layout.Disk && n.Tmp) {
			if err := v.removeDisk(ctx, f.path(n)); err != nil {
				return err
			}
		}
	}
	for _, n := range f.disks() {
		if err := v.removeOne(ctx, f, n); err != nil {
			return err
		}
		crashpoint.Here("vsphere.delete.disk")
	}
	for n := range f.files {
		if n.Kind == layout.Meta || n.Kind == layout.Was || n.Kind == layout.Gone || n.Kind == layout.Away {
			if err := v.c.Files().Delete(ctx, r.Datastore, f.file(n)); err != nil {
				return err
			}
		}
	}
	return nil
}
