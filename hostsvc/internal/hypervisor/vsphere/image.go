package vsphere

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Imager = (*VSphere)(nil)

// opened is a snapshot that is open for reading.
type opened struct {
	v    *VSphere
	ds   vcenter.Datastore
	ref  hypervisor.Ref
	id   volspec.SnapshotID
	size int64
	ctx  context.Context // of reading, which knows none: ended by Close
	end  context.CancelFunc

	mu      sync.RWMutex // held for reading while a piece is read
	content content      // guarded by mu: it moves when the snapshot is removed
	from    frozen       // guarded by mu: zero once the snapshot is gone
	copy    string       // guarded by mu: a copy of our own, to be removed
	closed  bool         // guarded by mu
	known   *known       // of its data, when reading is the way to find out
}

// OpenSnapshot implements hypervisor.Imager. Of what no transport reads where it
// lies, such as the delta of a later snapshot, vSphere makes a copy first, which
// goes when the image is closed.
func (v *VSphere) OpenSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (image.Image, error) {
	o, err := v.openSnapshot(ctx, r, id)
	if err != nil {
		return nil, err
	}
	v.open.add(o)
	return o, nil
}

func (v *VSphere) openSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (*opened, error) {
	f, s, err := v.snapshotOf(ctx, r, id)
	if err != nil {
		return nil, err
	}
	size, err := v.sizeOf(ctx, f, s, id)
	if err != nil {
		return nil, err
	}
	o := &opened{v: v, ds: f.ds, ref: r, id: id, size: int64(size), from: s, known: &known{}}
	o.ctx, o.end = context.WithCancel(context.WithoutCancel(ctx))
	o.content, err = v.openDisk(ctx, source{what: o.what(), ds: o.ds, file: s.file, size: o.size})
	if errkind.Is(err, errkind.Unsupported) {
		err = o.moveAway(ctx)
	}
	if err != nil {
		o.end()
		return nil, err
	}
	return o, nil
}

// letGo makes the images of a snapshot, or of all of a disk's, independent of
// it before it is removed.
func (v *VSphere) letGo(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	for _, o := range v.open.of(r, id) {
		if err := o.independent(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (o *opened) independent(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed || o.copy != "" {
		return nil
	}
	return o.moveAway(ctx)
}

// moveAway has vSphere copy the content, to be read there. Nobody reads
// meanwhile.
func (o *opened) moveAway(ctx context.Context) error {
	o.v.sweepCopies(ctx, o.ds, o.ref)
	s := source{what: o.what(), ds: o.ds, file: scratchName(o.ref, uuid.NewString()), size: o.size, ours: true}
	err := o.v.copyDisk(ctx, vcenter.Path(o.ref.Datastore, o.from.file), s.at(), volspec.Thin)
	var moved content
	if err == nil {
		moved, err = o.v.openDisk(ctx, s)
	}
	if err == nil && o.content != nil {
		if err = o.content.Close(); err != nil {
			err = errors.Join(err, moved.Close())
		}
	}
	if err != nil {
		o.v.discard(ctx, s.at())
		return err
	}
	o.content, o.copy, o.from = moved, s.at(), frozen{}
	return nil
}

func (o *opened) what() string { return fmt.Sprintf("snapshot %s of disk %s", o.id, o.ref.Volume) }

// Size implements image.Image.
func (o *opened) Size() int64 { return o.size }

// ReadAt implements image.Image.
func (o *opened) ReadAt(p []byte, off int64) (int, error) { return o.read(o.ctx, p, off) }

func (o *opened) read(ctx context.Context, p []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.closed {
		return 0, errkind.New(errkind.Internal, "%s is closed", o.what())
	}
	return readWithin(ctx, o.content, o.size, p, off)
}

// Data implements image.Image. Change tracking tells what is allocated; where
// it cannot, everything is read once, and zeros are left out.
func (o *opened) Data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(image.Extent{}, vcenter.Translate(context.Cause(ctx), "reading snapshot "+string(o.id)))
			return
		}
		o.mu.RLock()
		from := o.from
		o.mu.RUnlock()
		if from.snapshot.Id == "" || from.changeID == "" {
			o.scan(ctx, yield)
			return
		}
		areasOr(o.v.areas(ctx, from.disk, from, cbt.All, o.size), func() { o.scan(ctx, yield) }, yield)
	}
}

// Close implements image.Image.
func (o *opened) Close() error {
	o.v.open.remove(o)
	o.end()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	err := o.content.Close()
	if o.copy != "" {
		o.v.discard(context.Background(), o.copy)
	}
	return err
}

// areas asks change tracking of snapshot s: for what changed since change id
// since, or for all that is allocated.
func (v *VSphere) areas(ctx context.Context, d firstClass, s frozen, since string, capacity int64) image.Extents {
	what := "asking for changed areas of first-class disk " + d.id.Id
	return cbt.Areas(ctx, cbt.QuerierFunc(func(ctx context.Context, offset int64) (b cbt.Batch, err error) {
		err = v.global(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
			found, err := m.QueryChangedDiskAreas(ctx, d.id, s.snapshot, offset, since)
			if err != nil {
				return err
			}
			b = cbt.Batch{Offset: found.StartOffset, Length: found.Length}
			for _, a := range found.ChangedArea {
				b.Areas = append(b.Areas, image.Extent{Offset: a.Start, Length: a.Length})
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			err = cbt.Explain(err)
		}
		return b, err
	}), capacity)
}

// Changed implements hypervisor.Imager. Between snapshots of one first-class
// disk its change tracking tells, within one generation. Content that was
// replaced in between differs wherever either has any.
func (v *VSphere) Changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) image.Extents {
	return v.telling(r, func() (image.Extents, error) { return v.changed(ctx, r, base, id) })
}

// telling yields what is found. Where changes cannot be told it says of which
// disk, with the reason.
func (v *VSphere) telling(r hypervisor.Ref, find func() (image.Extents, error)) image.Extents {
	untold := func(err error) error {
		if !errkind.Is(err, errkind.Unsupported) {
			return err
		}
		return errkind.Wrap(errkind.Unsupported, errors.New(errkind.Text(err)), "what changed between two snapshots of disk %s on datastore %s cannot be told", r.Volume, r.Datastore)
	}
	return func(yield func(image.Extent, error) bool) {
		found, err := find()
		if err != nil {
			yield(image.Extent{}, untold(err))
			return
		}
		for e, err := range found {
			if !yield(e, untold(err)) {
				return
			}
		}
	}
}

func (v *VSphere) changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) (image.Extents, error) {
	f, _, err := v.existing(ctx, r, false)
	if err != nil {
		return nil, err
	}
	old, err := v.findSnapshot(ctx, f, base)
	if err != nil {
		return nil, err
	}
	now, err := v.findSnapshot(ctx, f, id)
	if err != nil {
		return nil, err
	}
	if v.o.Disk != FCD {
		return nil, errkind.New(errkind.Unsupported, "plain disks have no change tracking; keep volumes as first-class disks (disk = \"fcd\")")
	}
	if old.disk.id.Id == "" || old.disk.id != now.disk.id {
		return v.either(ctx, r, base, id), nil
	}
	since, err := cbt.Compare(old.changeID, now.changeID)
	if err != nil {
		return nil, err
	}
	was, err := v.sizeOf(ctx, f, old, base)
	if err != nil {
		return nil, err
	}
	is, err := v.sizeOf(ctx, f, now, id)
	if err != nil {
		return nil, err
	}
	if was != is {
		return nil, errkind.New(errkind.Unsupported, "the disk was enlarged between them, over which tracking is not believed")
	}
	return v.areas(ctx, now.disk, now, since.String(), int64(is)), nil
}

// either yields where at least one of two snapshots has data.
func (v *VSphere) either(ctx context.Context, r hypervisor.Ref, ids ...volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		var data []image.Extents
		for _, id := range ids {
			img, err := v.OpenSnapshot(ctx, r, id)
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			defer img.Close() //nolint:errcheck // it was only read
			data = append(data, img.Data(ctx))
		}
		union(data[0], data[1])(yield)
	}
}
