package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// disk is a volume with its snapshots, in memory.
type disk struct {
	v       backup.Volume
	data    []byte
	snaps   map[volspec.SnapshotID]*frozen
	moments map[string][]byte // what it held at each, as long as changes are tracked
}

type frozen struct {
	data   []byte
	owner  string
	at     time.Time
	moment string
}

// disks are the volumes of a world.
type disks struct {
	mu      sync.Mutex
	volumes map[volspec.VolumeID]*disk
	blind   bool // changes cannot be told
	lies    bool // changes are not told
	tracks  bool // changes are remembered without snapshots
}

// track switches tracking on or off; either way all moments are forgotten.
func (d *disks) track(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tracks = on
	for _, x := range d.volumes {
		x.moments = map[string][]byte{}
	}
}

// grow makes a disk larger.
func (d *disks) grow(x *disk, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x.data = append(x.data, make([]byte, by)...)
	x.v.Size = volspec.Size(len(x.data))
}

func (d *disks) add(g volspec.VMGroup, name string, size int) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := &disk{
		v: backup.Volume{ID: volspec.VolumeID(uuid.NewString()), Group: g, Name: volspec.Name{Volume: name, Datastore: "d1"},
			Size: volspec.Size(size), Format: volspec.Formatted, Created: time.Now()},
		data: make([]byte, size), snaps: map[volspec.SnapshotID]*frozen{}, moments: map[string][]byte{},
	}
	d.volumes[x.v.ID] = x
	return x
}

func (d *disks) write(x *disk, off int, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(x.data[off:], b)
}

func (d *disks) snapshots() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.volumes {
		n += len(x.snaps)
	}
	return n
}

// volumes is the volume service of one process.
type volumes struct {
	d    *disks
	p    *plug
	fill func(context.Context, volspec.PointID, volspec.VolumeID, image.Target) error
}

func (v volumes) Volumes(_ context.Context, g volspec.VMGroupID) (out []backup.Volume, err error) {
	err = v.p.do("Volumes", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		for _, x := range v.d.volumes {
			if g == "" || x.v.Group.ID == g {
				out = append(out, x.v)
			}
		}
		slices.SortFunc(out, func(a, b backup.Volume) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
		return nil
	})
	return out, err
}

func (v volumes) Volume(_ context.Context, id volspec.VolumeID) (out backup.Volume, err error) {
	err = v.p.do("Volume", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok {
			return errkind.New(errkind.NotFound, "Volume %s not found", id)
		}
		out = x.v
		return nil
	})
	return out, err
}

func (v volumes) Find(ctx context.Context, _ volspec.Caller, group, name string) (backup.Volume, error) {
	all, err := v.Volumes(ctx, "")
	if err != nil {
		return backup.Volume{}, err
	}
	for _, x := range all {
		if (x.Name.Volume == name || x.Name.String() == name) && x.Group.Name == group {
			return x, nil
		}
	}
	return backup.Volume{}, errkind.New(errkind.NotFound, "Volume %s not found", name)
}

func (v volumes) TakeSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID, owner string, _ volspec.Consistency) (t backup.Taken, err error) {
	err = v.p.do("TakeSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok {
			return errkind.New(errkind.NotFound, "Volume %s not found", id)
		}
		if x.snaps[snap] == nil {
			f := &frozen{data: bytes.Clone(x.data), owner: owner, at: time.Now().UTC()}
			if v.d.tracks {
				f.moment = uuid.NewString()
				x.moments[f.moment] = f.data
			}
			x.snaps[snap] = f
		}
		f := x.snaps[snap]
		t = backup.Taken{Volume: x.v, Size: volspec.Size(len(f.data)), Consistency: volspec.FilesystemConsistent, At: f.at}
		return nil
	})
	return t, err
}

func (v volumes) DropSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) error {
	return v.p.do("DropSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		if x, ok := v.d.volumes[id]; ok {
			delete(x.snaps, snap)
		}
		return nil
	})
}

func (v volumes) Snapshots(context.Context) (out []backup.OwnedSnapshot, err error) {
	err = v.p.do("Snapshots", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		for id, x := range v.d.volumes {
			for snap, f := range x.snaps {
				out = append(out, backup.OwnedSnapshot{id, snap, f.owner})
			}
		}
		return nil
	})
	return out, err
}

func (v volumes) OpenSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (img image.Image, err error) {
	err = v.p.do("OpenSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok || x.snaps[snap] == nil {
			return errkind.New(errkind.NotFound, "no snapshot %s", snap)
		}
		img = &memImage{Reader: bytes.NewReader(x.snaps[snap].data), p: v.p}
		return nil
	})
	return img, err
}

func (v volumes) Changed(_ context.Context, id volspec.VolumeID, base, snap volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		v.d.mu.Lock()
		x := v.d.volumes[id]
		var a, b *frozen
		if x != nil {
			a, b = x.snaps[base], x.snaps[snap]
		}
		blind, lies := v.d.blind, v.d.lies
		v.d.mu.Unlock()
		switch {
		case blind:
			yield(image.Extent{}, errkind.New(errkind.Unsupported, "this storage cannot tell what changed"))
			return
		case a == nil || b == nil:
			yield(image.Extent{}, errkind.New(errkind.NotFound, "no such snapshot"))
			return
		case lies:
			return
		}
		differing(a.data, b.data)(yield)
	}
}

// differing yields the pages of now that are not the same in was.
func differing(was, now []byte) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		const page = 4096
		for off := 0; off < len(now); off += page {
			end := min(off+page, len(now))
			if end <= len(was) && bytes.Equal(was[off:end], now[off:end]) {
				continue
			}
			if !yield(image.Extent{Offset: int64(off), Length: int64(end - off)}, nil) {
				return
			}
		}
	}
}

func (v volumes) Moment(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (moment string, err error) {
	err = v.p.do("Moment", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x := v.d.volumes[id]
		if x == nil || x.snaps[snap] == nil {
			return errkind.New(errkind.NotFound, "no snapshot %s", snap)
		}
		if v.d.tracks {
			moment = x.snaps[snap].moment
		}
		return nil
	})
	return moment, err
}

// ChangedSince does not say that a disk has grown: whoever asks knows.
func (v volumes) ChangedSince(_ context.Context, id volspec.VolumeID, moment string, snap volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		var was, now []byte
		var lies bool
		err := v.p.do("ChangedSince", func() error {
			v.d.mu.Lock()
			defer v.d.mu.Unlock()
			x := v.d.volumes[id]
			if x == nil || x.snaps[snap] == nil {
				return errkind.New(errkind.NotFound, "no snapshot %s", snap)
			}
			if was = x.moments[moment]; was == nil {
				return errkind.New(errkind.Unsupported, "tracking was begun anew")
			}
			now, lies = x.snaps[snap].data, v.d.lies
			now = now[:min(len(was), len(now))]
			return nil
		})
		switch {
		case err != nil:
			yield(image.Extent{}, err)
		case !lies:
			differing(was, now)(yield)
		}
	}
}

func (v volumes) Restore(context.Context, backup.RestoreTo) (wire.Volume, error) {
	return wire.Volume{}, v.p.do("Restore", func() error { return errors.New("not in this world") })
}

func (v volumes) RestoreInPlace(ctx context.Context, c volspec.Caller, group, name string, pt backup.PointInfo, keep string) (wire.Volume, error) {
	found, err := v.Find(ctx, c, group, name)
	if err != nil {
		return wire.Volume{}, err
	}
	to := memTarget(make([]byte, found.Size))
	if err := v.fill(ctx, pt.ID, found.ID, to); err != nil {
		return wire.Volume{}, err
	}
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	x := v.d.volumes[found.ID]
	x.snaps[volspec.SnapshotID(keep)] = &frozen{data: x.data, at: time.Now().UTC()}
	x.data = to
	return wire.Volume{Name: name}, nil
}

func (v volumes) ViewsOf(context.Context, volspec.PointID) ([]string, error) {
	return nil, v.p.do("ViewsOf", func() error { return nil })
}

// memImage is a frozen content.
type memImage struct {
	*bytes.Reader
	p *plug
}

func (m *memImage) ReadAt(b []byte, off int64) (n int, err error) {
	err = m.p.do("ReadAt", func() error {
		n, err = m.Reader.ReadAt(b, off)
		if errors.Is(err, io.EOF) && n == len(b) {
			err = nil
		}
		return err
	})
	return n, err
}

func (m *memImage) Close() error { return nil }

func (m *memImage) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		const page = 64 << 10
		b := make([]byte, page)
		var zero [page]byte
		for off := int64(0); off < m.Size(); off += page {
			n, _ := m.Reader.ReadAt(b, off)
			if n > 0 && !bytes.Equal(b[:n], zero[:n]) && !yield(image.Extent{Offset: off, Length: int64(n)}, nil) {
				return
			}
		}
	}
}

// memTarget is a disk to be filled.
type memTarget []byte

func (m memTarget) Size() int64 { return int64(len(m)) }

func (m memTarget) ReadAt(b []byte, off int64) (int, error) { return copy(b, m[off:]), nil }

func (m memTarget) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }

func (m memTarget) Discard(_ context.Context, e image.Extent) error {
	clear(m[e.Offset:e.End()])
	return nil
}
