package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var (
	_ hypervisor.Imager            = (*Local)(nil)
	_ hypervisor.FrozenSnapshotter = (*Local)(nil)
)

// OpenSnapshot implements hypervisor.Imager.
func (l *Local) OpenSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (image.Image, error) {
	s, err := l.source(ctx, r, false)
	if err != nil {
		return nil, err
	}
	defer s.close()
	f, err := s.openSnapshot(id)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fail(err, "reading snapshot %s of disk %s", id, r.Volume), f.Close())
	}
	return &snapshot{
		f: f, direct: s.openDirect(snapName(r, id), st), size: st.Size(),
		what: "snapshot " + string(id) + " of disk " + string(r.Volume),
	}, nil
}

// snapshot is an open snapshot. The kernel keeps the file as long as it is
// open, also when its name is gone.
type snapshot struct {
	f      *os.File
	direct *directFile
	size   int64
	what   string
	closed atomic.Bool
}

// sector is what disks are multiples of.
const sector = 512

// Size implements image.Image.
func (s *snapshot) Size() int64 { return (s.size + sector - 1) / sector * sector }

// ReadAt implements image.Image.
func (s *snapshot) ReadAt(p []byte, off int64) (int, error) {
	if s.direct.read(p, off) {
		return len(p), nil
	}
	n, err := s.f.ReadAt(p, off)
	if !errors.Is(err, io.EOF) {
		return n, fail(err, "reading %s", s.what)
	}
	for n < len(p) && off+int64(n) < s.Size() { // the rest of the last sector
		p[n] = 0
		n++
	}
	if n == len(p) {
		return n, nil
	}
	return n, io.EOF
}

// Data implements image.Image.
func (s *snapshot) Data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for at := int64(0); at < s.size; {
			e, err := dataFrom(s.f, at, s.size)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(image.Extent{}, fail(err, "reading %s", s.what))
				return
			}
			if e.Length == 0 || !yield(e, nil) {
				return
			}
			at = e.End()
		}
	}
}

// Close implements image.Image.
func (s *snapshot) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return fail(errors.Join(s.direct.close(), s.f.Close()), "closing %s", s.what)
}

// dataFrom is the first range of data at or behind at; of no length: there is
// only a hole up to size.
func dataFrom(f *os.File, at, size int64) (image.Extent, error) {
	start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return image.Extent{Offset: size}, nil
	}
	if err != nil {
		return image.Extent{}, err
	}
	end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	if err != nil {
		return image.Extent{}, err
	}
	start = min(start, size)
	return image.Extent{Offset: start, Length: min(end, size) - start}, nil
}

// SnapshotCost implements hypervisor.FrozenSnapshotter.
func (l *Local) SnapshotCost(ctx context.Context, r hypervisor.Ref) (volspec.Size, error) {
	s, err := l.source(ctx, r, false)
	if err != nil {
		return 0, err
	}
	defer s.close()
	if l.shares(s.place) {
		return 0, nil
	}
	img, err := s.openFile(imgName(r), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, absent(r)
	}
	if err != nil {
		return 0, fail(err, "measuring disk %s on datastore %s", r.Volume, r.Datastore)
	}
	defer img.Close()
	var sum volspec.Size
	for at := int64(0); at < int64(s.disk.Size); {
		e, err := dataFrom(img, at, int64(s.disk.Size))
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, fail(err, "measuring disk %s on datastore %s", r.Volume, r.Datastore)
		}
		if e.Length == 0 {
			break
		}
		sum += volspec.Size(e.Length)
		at = e.End()
	}
	return sum, nil
}

// SnapshotFrozen implements hypervisor.FrozenSnapshotter.
func (l *Local) SnapshotFrozen(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return l.snapshot(ctx, r, id, func(s *source, f *os.File) error {
		img, err := s.lockedImage(ctx)
		if err != nil {
			return err
		}
		defer img.Close()
		if err := s.fillCopy(ctx, f, img, s.disk.Size, volspec.Thin); err != nil {
			return err
		}
		// What was read after the end of ctx may be of a later moment.
		if ctx.Err() != nil {
			return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "copying disk %s took longer than writes to it could be held up: use a datastore on xfs or btrfs, or detach it", r.Volume)
		}
		return nil
	})
}
