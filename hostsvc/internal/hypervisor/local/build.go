package local

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Build implements hypervisor.Imager. A disk is replaced in two steps: its
// image gets the snapshot's name as a second one, then the new file takes the
// image's name from it. Between them both names are of one file, which is no
// snapshot (see hasSnapshot); a crash there leaves the old disk and a name
// that DeleteSnapshot, Snapshot and Build remove or use. The new file is
// filled under the snapshot's name with .tmp, so DeleteSnapshot of keep
// removes all that a Build that was interrupted left.
func (l *Local) Build(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, keep volspec.SnapshotID, fill func(context.Context, image.Target) error) error {
	if err := hypervisor.CheckBuild(size, format, keep); err != nil {
		return err
	}
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	var failed error // of fill: not to be taken for one of ours
	filled := func(f *os.File) error {
		if err := p.fillBlank(ctx, f, size, format); err != nil {
			return err
		}
		t := &target{image.NewFilling("disk "+string(r.Volume)+" on datastore "+r.Datastore, int64(size)), f, format}
		failed = fill(ctx, t)
		t.End()
		if failed != nil {
			return errFill
		}
		return nil
	}
	if keep == "" {
		err = p.buildNew(ctx, r, filled)
	} else {
		err = l.replace(ctx, p, r, keep, filled)
	}
	if errors.Is(err, errFill) {
		err = failed
	}
	return fail(err, "building disk %s on datastore %s", r.Volume, r.Datastore)
}

var errFill = errors.New("the content could not be had")

func (p *place) buildNew(ctx context.Context, r hypervisor.Ref, fill func(*os.File) error) error {
	taken := errkind.New(errkind.Exists, "disk %s on datastore %s cannot be built: there is one already", r.Volume, r.Datastore)
	err := p.inFolder(r, func(d *folder) error {
		_, err := d.image(r)
		if err == nil {
			return taken
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = d.build(ctx, imgName(r), false, fill)
		if errors.Is(err, fs.ErrExist) {
			return taken
		}
		return err
	})
	if err != nil {
		return errors.Join(err, p.removeFolder(r.Group))
	}
	return nil
}

// replace holds the lock of the old image throughout: nobody attaches, copies
// or grows what will be gone.
func (l *Local) replace(ctx context.Context, p *place, r hypervisor.Ref, keep volspec.SnapshotID, fill func(*os.File) error) error {
	d, err := p.folder(r.Group)
	if errors.Is(err, fs.ErrNotExist) {
		return absent(r)
	}
	if err != nil {
		return err
	}
	defer d.close()
	if _, err := d.describe(r); err != nil {
		return err
	}
	img, err := d.locked(ctx, imgName(r), os.O_RDONLY, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return absent(r)
	}
	if err != nil {
		return err
	}
	defer img.Close()
	if err := l.unattached(img, r, "replaced"); err != nil {
		return err
	}
	there, err := d.hasSnapshot(r, keep)
	if err != nil {
		return err
	}
	if there {
		return errkind.New(errkind.Exists, "the old content of disk %s cannot be kept as snapshot %s: there is one already; use another id", r.Volume, keep)
	}
	return d.buildAs(ctx, snapName(r, keep)+tmpExt, fill, func(tmp string) error {
		crashpoint.Here("local.replace.filled")
		return d.swap(tmp, r, keep)
	})
}

// swap makes tmp the image of r, and the old one the snapshot keep.
func (d *folder) swap(tmp string, r hypervisor.Ref, keep volspec.SnapshotID) error {
	name := snapName(r, keep)
	if err := d.remove(name); err != nil { // of an earlier try: see hasSnapshot
		return err
	}
	if err := unix.Linkat(d.fd(), imgName(r), d.fd(), name, 0); err != nil {
		return err
	}
	err := d.dir.Sync() // the old content has its second name before it loses the first
	if err == nil {
		crashpoint.Here("local.replace.linked")
		err = d.rename(tmp, imgName(r), true)
	}
	if err != nil {
		return errors.Join(err, d.remove(name))
	}
	crashpoint.Here("local.replace.renamed")
	return nil
}

// hasSnapshot reports whether snapshot id of r is there. The image itself
// under that name is none: Build was interrupted.
func (d *folder) hasSnapshot(r hypervisor.Ref, id volspec.SnapshotID) (bool, error) {
	st, err := d.stat(snapName(r, id))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	img, err := d.stat(imgName(r))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && (st.Ino != img.Ino || st.Dev != img.Dev), err
}

// target is the file that Build's caller fills.
type target struct {
	*image.Filling
	f      *os.File
	format string
}

var _ image.Target = (*target)(nil)

// ReadAt implements image.Target.
func (t *target) ReadAt(p []byte, off int64) (int, error) {
	return t.Read(p, off, func(p []byte, off int64) (int, error) {
		n, err := t.f.ReadAt(p, off)
		return n, fail(err, "reading %s", t.What())
	})
}

// WriteAt implements image.Target.
func (t *target) WriteAt(p []byte, off int64) (n int, err error) {
	err = t.Use(off, int64(len(p)), func() error {
		var err error
		n, err = t.f.WriteAt(p, off)
		if err == nil {
			writeOut(t.f, off, int64(n))
		}
		return fail(err, "writing %s", t.What())
	})
	return n, err
}

// writeOut lets the kernel begin to write a range to the disk, so that it does
// so while the next is made and not all at the end. That it is there is only
// certain after the sync that ends a build.
func writeOut(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// Discard implements image.Target. A thick disk keeps its room.
func (t *target) Discard(ctx context.Context, e image.Extent) error {
	if e.Length == 0 {
		return nil
	}
	return t.Use(e.Offset, e.Length, func() error {
		err := ctx.Err()
		if err == nil {
			err = blank(ctx, t.f, e, t.format)
		}
		return fail(err, "discarding a part of %s", t.What())
	})
}

// blank makes a range of an image zeros in the way of its format.
func blank(ctx context.Context, f *os.File, e image.Extent, format string) error {
	how := map[string]uint32{
		volspec.Thin:        unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		volspec.ZeroedThick: unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE,
	}[format]
	if how != 0 {
		err := unix.Fallocate(int(f.Fd()), how, e.Offset, e.Length)
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	return writeZeros(ctx, f, e.Offset, e.End())
}
