package vsphere

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// scratch is the sparse file that Build's caller fills.
type scratch struct {
	*image.Filling
	f *os.File
}

var _ image.Target = (*scratch)(nil)

func (s *scratch) close() {
	s.End()
	_ = s.f.Close()
}

// said is what came of doing something with the file.
func (s *scratch) said(doing string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errkind.Wrap(errkind.Unavailable, err, "%s a part of %s: the directory for content on its way has no room; make some, or set another scratch directory", doing, s.What())
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s a part of %s", doing, s.What())
}

// ReadAt implements image.Target.
func (s *scratch) ReadAt(p []byte, off int64) (int, error) {
	return s.Read(p, off, func(p []byte, off int64) (int, error) {
		n, err := s.f.ReadAt(p, off)
		return n, s.said("reading", err)
	})
}

// WriteAt implements image.Target.
func (s *scratch) WriteAt(p []byte, off int64) (n int, err error) {
	err = s.Use(off, int64(len(p)), func() error {
		var err error
		n, err = s.f.WriteAt(p, off)
		return s.said("writing", err)
	})
	return n, err
}

// Discard implements image.Target.
func (s *scratch) Discard(ctx context.Context, e image.Extent) error {
	if e.Length == 0 {
		return nil
	}
	return s.Use(e.Offset, e.Length, func() error { return s.said("discarding", s.punch(ctx, e)) })
}

func (s *scratch) punch(ctx context.Context, e image.Extent) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Offset, e.Length)
	if !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	_, err = io.Copy(io.NewOffsetWriter(s.f, e.Offset), io.LimitReader(zeros{}, e.Length))
	return err
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// empty reports whether nothing but zeros was written.
func (s *scratch) empty(ctx context.Context) (bool, error) {
	for _, err := range s.data(ctx) {
		return false, err
	}
	return true, nil
}

// data yields the parts of the file that are no holes.
func (s *scratch) data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		fail := func(err error) {
			yield(image.Extent{}, errkind.Wrap(errkind.Unavailable, err, "reading what was written for %s", s.What()))
		}
		for at := int64(0); at < s.Size(); {
			if ctx.Err() != nil {
				fail(context.Cause(ctx))
				return
			}
			from, err := unix.Seek(int(s.f.Fd()), at, unix.SEEK_DATA)
			if errors.Is(err, unix.ENXIO) {
				return
			}
			if err != nil {
				fail(err)
				return
			}
			to, err := unix.Seek(int(s.f.Fd()), from, unix.SEEK_HOLE)
			if err != nil {
				fail(err)
				return
			}
			at = min(to, s.Size())
			if !yield(image.Extent{Offset: from, Length: at - from}, nil) {
				return
			}
		}
	}
}
