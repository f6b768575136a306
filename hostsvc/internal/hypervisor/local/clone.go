package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// source is an open disk that is copied.
type source struct {
	*place
	*folder
	ref  hypervisor.Ref
	disk hypervisor.Disk
	conf *conf
}

func (s *source) close() {
	s.folder.close()
	s.place.close()
}

func (l *Local) source(ctx context.Context, r hypervisor.Ref, write bool) (*source, error) {
	p, err := l.at(ctx, r, write)
	if err != nil {
		return nil, err
	}
	d, err := p.folder(r.Group)
	if err != nil {
		p.close()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, absent(r)
		}
		return nil, fail(err, "reading disk %s on datastore %s", r.Volume, r.Datastore)
	}
	s := &source{place: p, folder: d, ref: r, conf: l.conf.Load()}
	if s.disk, err = d.describe(r); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// Clone implements hypervisor.Disks.
func (l *Local) Clone(ctx context.Context, src hypervisor.Ref, snap volspec.SnapshotID, dst hypervisor.Ref, format string) error {
	if err := hypervisor.CheckFormat(format); err != nil {
		return err
	}
	if err := dst.Check(); err != nil {
		return err
	}
	s, err := l.source(ctx, src, false)
	if err != nil {
		return err
	}
	defer s.close()
	to, err := l.open(ctx, dst.Datastore, true)
	if err != nil {
		return err
	}
	defer to.close()
	size, fill := s.disk.Size, func(f *os.File) error { return s.copyImage(ctx, to, f, format) }
	if snap != "" {
		from, err := s.openSnapshot(snap)
		if err != nil {
			return err
		}
		defer from.Close()
		st, err := from.Stat()
		if err != nil {
			return fail(err, "reading snapshot %s of disk %s", snap, src.Volume)
		}
		size = volspec.Size(st.Size())
		fill = func(f *os.File) error { return to.fillCopy(ctx, f, from, size, format) }
	}
	err = to.newImage(ctx, dst, size, fill)
	return fail(err, "copying disk %s of datastore %s to datastore %s", src.Volume, src.Datastore, dst.Datastore)
}

// copyImage makes f, a file on datastore to, a copy of the disk of one
// moment. While nobody writes to the disk its lock keeps it so; else its
// blocks are shared with f or with a file that is copied in peace.
func (s *source) copyImage(ctx context.Context, to *place, f *os.File, format string) error {
	img, err := s.lockedImage(ctx)
	if err != nil {
		return err
	}
	defer img.Close()
	writer, err := writerOf(img, s.ref)
	if err != nil {
		return err
	}
	if writer == nil {
		return to.fillCopy(ctx, f, img, s.disk.Size, format)
	}
	if format == volspec.Thin {
		setFormat(f, format)
		if done, err := tryReflink(f, img); done || err != nil {
			return err
		}
	}
	still, err := s.scratch()
	if err != nil {
		return err
	}
	defer still.Close()
	done, err := tryReflink(still, img)
	if err != nil {
		return err
	}
	if !done {
		return errkind.New(errkind.Unsupported, "disk %s is attached to %s, and datastore %s (%s) cannot copy a disk while it is written to: detach it first, or use a datastore on xfs or btrfs", s.ref.Volume, writer.who(s.conf), s.Name, fsType(int64(s.fs.Type)))
	}
	_ = unix.Flock(int(img.Fd()), unix.LOCK_UN) // what is copied now is ours
	return to.fillCopy(ctx, f, still, s.disk.Size, format)
}

// lockedImage opens the disk for a copy. Absent: not-found.
func (s *source) lockedImage(ctx context.Context) (*os.File, error) {
	img, err := s.locked(ctx, imgName(s.ref), os.O_RDONLY, unix.LOCK_SH)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent(s.ref)
	}
	return img, err
}

// openSnapshot opens a complete snapshot. Absent: not-found.
func (s *source) openSnapshot(id volspec.SnapshotID) (*os.File, error) {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return nil, err
	}
	there, err := s.hasSnapshot(s.ref, id)
	var f *os.File
	if there {
		f, err = s.openFile(snapName(s.ref, id), os.O_RDONLY)
	}
	if errors.Is(err, fs.ErrNotExist) || (!there && err == nil) {
		return nil, errkind.New(errkind.NotFound, "disk %s has no snapshot %s", s.ref.Volume, id)
	}
	return f, fail(err, "reading snapshot %s of disk %s", id, s.ref.Volume)
}

// Snapshot implements hypervisor.Snapshotter.
func (l *Local) Snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return l.snapshot(ctx, r, id, func(s *source, f *os.File) error {
		return s.copyImage(ctx, s.place, f, volspec.Thin)
	})
}

func (l *Local) snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID, fill func(*source, *os.File) error) error {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	s, err := l.source(ctx, r, true)
	if err != nil {
		return err
	}
	defer s.close()
	there, err := s.hasSnapshot(r, id)
	if !there && err == nil {
		// What a crash in Build left under that name, if anything.
		if err = s.remove(snapName(r, id)); err == nil {
			err = s.build(ctx, snapName(r, id), false, func(f *os.File) error { return fill(s, f) })
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return fail(err, "making snapshot %s of disk %s on datastore %s", id, r.Volume, r.Datastore)
}

// DeleteSnapshot implements hypervisor.Snapshotter.
func (l *Local) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	d, err := p.folder(r.Group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer d.close()
		name := snapName(r, id)
		err = errors.Join(d.remove(name), d.remove(name+tmpExt), d.dir.Sync())
	}
	return fail(err, "removing snapshot %s of disk %s on datastore %s", id, r.Volume, r.Datastore)
}

// Snapshots implements hypervisor.Snapshotter.
func (l *Local) Snapshots(ctx context.Context, r hypervisor.Ref) ([]volspec.SnapshotID, error) {
	s, err := l.source(ctx, r, false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	names, err := s.of(r)
	if err != nil {
		return nil, fail(err, "listing the snapshots of disk %s on datastore %s", r.Volume, r.Datastore)
	}
	var ids []volspec.SnapshotID
	for _, n := range names {
		id, ok := strings.CutSuffix(strings.TrimPrefix(n, string(r.Volume)+"."), snapExt)
		if !ok || !hypervisor.ValidID(id) {
			continue
		}
		there, err := s.hasSnapshot(r, volspec.SnapshotID(id))
		if err != nil {
			return nil, fail(err, "listing the snapshots of disk %s on datastore %s", r.Volume, r.Datastore)
		}
		if there {
			ids = append(ids, volspec.SnapshotID(id))
		}
	}
	return ids, nil
}
