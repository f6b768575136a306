package memory

import (
	"context"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var (
	_ hypervisor.Imager            = (*Memory)(nil)
	_ hypervisor.FrozenSnapshotter = (*Memory)(nil)
)

// OpenSnapshot implements hypervisor.Imager.
func (m *Memory) OpenSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (image.Image, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := m.snapshot(r, id)
	if err != nil {
		return nil, err
	}
	return opened{size: (int64(s.size) + 511) / 512 * 512, c: s.content}, nil
}

// snapshot finds a snapshot of a disk.
func (m *Memory) snapshot(r hypervisor.Ref, id volspec.SnapshotID) (disk, error) {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return disk{}, err
	}
	d, err := m.find(r, false)
	if err != nil {
		return disk{}, err
	}
	s, ok := d.snapshots[id]
	if !ok {
		return disk{}, errkind.New(errkind.NotFound, "disk %s has no snapshot %s", r.Volume, id)
	}
	return s, nil
}

// opened is an open snapshot. Its content does not change.
type opened struct {
	size int64
	c    content
}

func (o opened) Size() int64  { return o.size }
func (o opened) Close() error { return nil }

func (o opened) ReadAt(p []byte, off int64) (int, error) {
	p, err := within(p, off, o.size)
	o.c.readAt(p, off)
	return len(p), err
}

func (o opened) Data(ctx context.Context) image.Extents { return yieldAll(ctx, o.c.data(o.size)) }

func yieldAll(ctx context.Context, all []image.Extent) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for _, e := range all {
			if err := ctx.Err(); err != nil {
				yield(image.Extent{}, errkind.Wrap(errkind.Unavailable, err, "the request ended before its work did: repeat it"))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// yieldFound yields what find finds, or its error.
func yieldFound(ctx context.Context, find func() ([]image.Extent, error)) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		all, err := find()
		if err != nil {
			yield(image.Extent{}, err)
			return
		}
		yieldAll(ctx, all)(yield)
	}
}

// Changed implements hypervisor.Imager.
func (m *Memory) Changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) image.Extents {
	return yieldFound(ctx, func() ([]image.Extent, error) { return m.changed(ctx, r, base, id) })
}

func (m *Memory) changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) ([]image.Extent, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	a, err := m.snapshot(r, base)
	if err != nil {
		return nil, err
	}
	b, err := m.snapshot(r, id)
	if err != nil {
		return nil, err
	}
	if !m.stores[r.Datastore].Reflink {
		return nil, errkind.New(errkind.Unsupported, "what changed between two snapshots of disk %s cannot be told: datastore %s copies blocks instead of sharing them; use one on xfs or btrfs", r.Volume, r.Datastore)
	}
	return extents(differences(a.content, b.content), int64(max(a.size, b.size))), nil
}

// Build implements hypervisor.Imager.
func (m *Memory) Build(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, keep volspec.SnapshotID, fill func(context.Context, image.Target) error) error {
	t, err := m.begin(ctx, r, size, format, keep)
	if err != nil {
		return err
	}
	err = fill(ctx, t)
	built := t.end()
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.building, r)
	if err != nil {
		return err
	}
	return m.replace(r, disk{size: size, format: format, content: built}, keep)
}

// begin checks whether r can be built, and holds off what would disturb it.
func (m *Memory) begin(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, keep volspec.SnapshotID) (*target, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := hypervisor.CheckNew(size, format); err != nil {
		return nil, err
	}
	if err := m.replaceable(r, keep); err != nil {
		return nil, err
	}
	if format != volspec.Thin {
		if err := m.room(m.stores[r.Datastore], size); err != nil {
			return nil, err
		}
	}
	m.building[r] = true
	return &target{size: int64(size), c: content{}}, nil
}

// replaceable checks that r is free, for keep "", or can be replaced.
func (m *Memory) replaceable(r hypervisor.Ref, keep volspec.SnapshotID) error {
	if keep != "" {
		if err := hypervisor.CheckSnapshotID(keep); err != nil {
			return err
		}
	}
	if err := m.place(r, true); err != nil {
		return err
	}
	if err := m.quiet(r); err != nil {
		return err
	}
	if keep == "" {
		if have := m.disks[r]; have != nil {
			if have.corrupt {
				return unreadable(r)
			}
			return errkind.New(errkind.Exists, "disk %s on datastore %s cannot be built: there is one already", r.Volume, r.Datastore)
		}
		return nil
	}
	d, err := m.find(r, true)
	if err != nil {
		return err
	}
	if dev, ok := m.attached[r]; ok {
		return errkind.New(errkind.InUse, "disk %s cannot be replaced: VM %s has it; detach it first", r.Volume, m.name(dev.VM))
	}
	if _, there := d.snapshots[keep]; there {
		return errkind.New(errkind.Exists, "the old content of disk %s cannot be kept as snapshot %s: there is one already; use another id", r.Volume, keep)
	}
	return nil
}

// replace puts what was built in its place.
func (m *Memory) replace(r hypervisor.Ref, d disk, keep volspec.SnapshotID) error {
	if err := m.replaceable(r, keep); err != nil {
		return err
	}
	if err := m.room(m.stores[r.Datastore], allocated(d)); err != nil {
		return err
	}
	d.snapshots = map[volspec.SnapshotID]disk{}
	if old := m.disks[r]; old != nil {
		d.snapshots = old.snapshots
		d.snapshots[keep] = disk{size: old.size, format: old.format, content: old.content}
	}
	m.disks[r] = &d
	return nil
}

// quiet: in-use while r is being built.
func (m *Memory) quiet(r hypervisor.Ref) error {
	if m.building[r] {
		return errkind.New(errkind.InUse, "something else works on disk %s at this moment, such as a copy: wait for it and repeat", r.Volume)
	}
	return nil
}

// target is a disk that is being filled.
type target struct {
	size int64
	mu   sync.Mutex // guards what follows
	c    content    // nil: fill has returned
}

// end takes the content; nothing is written to it any more.
func (t *target) end() content {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.c
	t.c = nil
	return c
}

func (t *target) Size() int64 { return t.size }

func (t *target) ReadAt(p []byte, off int64) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := within(p, off, t.size)
	t.c.readAt(p, off)
	return len(p), err
}

func (t *target) WriteAt(p []byte, off int64) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(off, int64(len(p))); err != nil {
		return 0, err
	}
	t.c.writeAt(p, off)
	return len(p), nil
}

// Discard implements image.Target.
func (t *target) Discard(_ context.Context, e image.Extent) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(e.Offset, e.Length); err != nil {
		return err
	}
	t.c.discard(e)
	return nil
}

func (t *target) check(off, n int64) error {
	if t.c == nil {
		return errkind.New(errkind.Internal, "the disk is not being filled any more")
	}
	if off < 0 || n < 0 || off > t.size-n {
		return errkind.New(errkind.Invalid, "%d bytes at %d are not within the %d bytes of the disk", n, off, t.size)
	}
	return nil
}

// SnapshotCost implements hypervisor.FrozenSnapshotter.
func (m *Memory) SnapshotCost(ctx context.Context, r hypervisor.Ref) (volspec.Size, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	d, err := m.find(r, false)
	if err != nil || m.stores[r.Datastore].Reflink {
		return 0, err
	}
	return min(volspec.Size(d.bytes()), d.size), nil
}

// SnapshotFrozen implements hypervisor.FrozenSnapshotter.
func (m *Memory) SnapshotFrozen(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return m.takeSnapshot(ctx, r, id, true)
}
