package memory

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Create implements hypervisor.Disks.
func (m *Memory) Create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckNew(size, format); err != nil {
		return err
	}
	return m.add(r, disk{size: hypervisor.RoundUp(size, sector), format: format})
}

// add puts d at r, unless a disk of that size is there already.
func (m *Memory) add(r hypervisor.Ref, d disk) error {
	if err := m.place(r, true); err != nil {
		return err
	}
	if have := m.disks[r]; have != nil {
		if have.corrupt {
			return unreadable(r)
		}
		if have.size != d.size {
			return errkind.New(errkind.Exists, "disk %s on datastore %s exists with %s, not %s", r.Volume, r.Datastore, have.size, d.size)
		}
		return nil
	}
	if err := m.quiet(r); err != nil {
		return err
	}
	if err := m.room(m.stores[r.Datastore], allocated(d)); err != nil {
		return err
	}
	if d.content == nil {
		d.content = content{}
	}
	d.snapshots = map[volspec.SnapshotID]disk{}
	m.disks[r] = &d
	return nil
}

// Delete implements hypervisor.Disks.
func (m *Memory) Delete(ctx context.Context, r hypervisor.Ref) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.place(r, true); err != nil {
		return err
	}
	if err := m.quiet(r); err != nil {
		return err
	}
	if dev, ok := m.attached[r]; ok {
		return errkind.New(errkind.InUse, "disk %s cannot be removed: VM %s has it; detach it first", r.Volume, m.name(dev.VM))
	}
	delete(m.disks, r)
	delete(m.meta, r)
	return nil
}

// Stat implements hypervisor.Disks.
func (m *Memory) Stat(ctx context.Context, r hypervisor.Ref) (hypervisor.Disk, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return hypervisor.Disk{}, err
	}
	defer unlock()
	return m.stat(r)
}

func (m *Memory) stat(r hypervisor.Ref) (hypervisor.Disk, error) {
	d, err := m.find(r, false)
	if err != nil {
		return hypervisor.Disk{Ref: r}, err
	}
	return hypervisor.Disk{Ref: r, Size: d.size, Allocated: allocated(*d), Meta: bytes.Clone(m.meta[r])}, nil
}

// List implements hypervisor.Disks.
func (m *Memory) List(ctx context.Context, datastore string) iter.Seq2[hypervisor.Disk, error] {
	return func(yield func(hypervisor.Disk, error) bool) {
		refs, err := m.refs(ctx, datastore)
		if err != nil {
			yield(hypervisor.Disk{}, err)
			return
		}
		for _, r := range refs {
			d, err := m.Stat(ctx, r)
			if errkind.Is(err, errkind.NotFound) {
				continue // removed meanwhile
			}
			if !yield(d, err) || ctx.Err() != nil {
				return
			}
		}
	}
}

func (m *Memory) refs(ctx context.Context, datastore string) ([]hypervisor.Ref, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := m.store(datastore, false); err != nil {
		return nil, err
	}
	all := slices.Collect(maps.Keys(m.disks))
	return slices.DeleteFunc(all, func(r hypervisor.Ref) bool { return r.Datastore != datastore }), nil
}

// Grow implements hypervisor.Disks.
func (m *Memory) Grow(ctx context.Context, r hypervisor.Ref, size volspec.Size) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckSize(size); err != nil {
		return err
	}
	size = hypervisor.RoundUp(size, sector)
	d, err := m.find(r, true)
	if err != nil {
		return err
	}
	if err := m.quiet(r); err != nil {
		return err
	}
	if size < d.size {
		return errkind.New(errkind.Invalid, "disk %s has %s and cannot shrink to %s", r.Volume, d.size, size)
	}
	if d.format != volspec.Thin {
		if err := m.room(m.stores[r.Datastore], size-d.size); err != nil {
			return err
		}
	}
	d.size = size
	if dev, ok := m.attached[r]; ok {
		dev.Size = size
		m.attached[r] = dev
	}
	return nil
}

// Clone implements hypervisor.Disks.
func (m *Memory) Clone(ctx context.Context, src hypervisor.Ref, snap volspec.SnapshotID, dst hypervisor.Ref, format string) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckFormat(format); err != nil {
		return err
	}
	d, err := m.find(src, false)
	if err != nil {
		return err
	}
	from := *d
	if snap != "" {
		s, ok := d.snapshots[snap]
		if !ok {
			return errkind.New(errkind.NotFound, "disk %s has no snapshot %s", src.Volume, snap)
		}
		from = s
	} else if m.disks[dst] == nil {
		if err := cmp.Or(m.quiet(src), m.moment(src)); err != nil {
			return err
		}
	}
	return m.add(dst, disk{size: from.size, format: format, content: from.clone()})
}

// moment reports whether r's content can be frozen now.
func (m *Memory) moment(r hypervisor.Ref) error {
	dev, ok := m.attached[r]
	if !ok || dev.ReadOnly || m.stores[r.Datastore].Reflink {
		return nil
	}
	return errkind.New(errkind.Unsupported, "disk %s is attached to VM %s and datastore %s cannot copy a disk while it is written to: detach it first, or use a datastore on xfs or btrfs", r.Volume, m.name(dev.VM), r.Datastore)
}

// Snapshot implements hypervisor.Snapshotter.
func (m *Memory) Snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return m.takeSnapshot(ctx, r, id, false)
}

func (m *Memory) takeSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID, frozen bool) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	d, err := m.find(r, true)
	if err != nil {
		return err
	}
	if _, ok := d.snapshots[id]; ok {
		return nil
	}
	if err := m.quiet(r); err != nil {
		return err
	}
	if err := m.moment(r); err != nil && !frozen {
		return err
	}
	s := disk{size: d.size, format: volspec.Thin, content: d.clone()}
	if m.tracks {
		s.moment = d.remember(s.content)
	}
	d.snapshots[id] = s
	return nil
}

// DeleteSnapshot implements hypervisor.Snapshotter.
func (m *Memory) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	if err := m.place(r, true); err != nil {
		return err
	}
	if d := m.disks[r]; d != nil {
		delete(d.snapshots, id)
	}
	return nil
}

// Snapshots implements hypervisor.Snapshotter.
func (m *Memory) Snapshots(ctx context.Context, r hypervisor.Ref) ([]volspec.SnapshotID, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, err := m.find(r, false)
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(d.snapshots)), nil
}

// PutMeta implements hypervisor.Metadata.
func (m *Memory) PutMeta(ctx context.Context, r hypervisor.Ref, data []byte) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := m.place(r, true); err != nil {
		return err
	}
	m.meta[r] = append([]byte{}, data...)
	return nil
}
