package vsphere

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// scratch is the sparse file that Build's caller fills.
type scratch struct {
	f    *os.File
	size int64
	what string

	mu   sync.RWMutex // held for reading while f is used
	over bool         // guarded by mu: fill has returned
}

var _ image.Target = (*scratch)(nil)

// end waits for what still runs, and lets nothing new begin.
func (s *scratch) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
}

func (s *scratch) close() {
	s.end()
	_ = s.f.Close()
}

// use does something with the file as long as it is being filled.
func (s *scratch) use(off, n int64, doing string, do func() error) error {
	if off < 0 || n < 0 || off > s.size-n {
		return errkind.New(errkind.Invalid, "%d bytes at %d are not within the %d bytes of %s", n, off, s.size, s.what)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.over {
		return errkind.New(errkind.Internal, "%s is not being filled any more", s.what)
	}
	err := do()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return errkind.Wrap(errkind.Unavailable, err, "%s a part of %s: the directory for content on its way has no room; make some, or set another scratch directory", doing, s.what)
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s a part of %s", doing, s.what)
}

// Size implements image.Target.
func (s *scratch) Size() int64 { return s.size }

// ReadAt implements image.Target.
func (s *scratch) ReadAt(p []byte, off int64) (n int, err error) {
	want := len(p)
	if off >= s.size && want > 0 {
		return 0, io.EOF
	}
	if off >= 0 {
		p = p[:min(int64(want), s.size-off)]
	}
	err = s.use(off, int64(len(p)), "reading", func() error {
		var err error
		n, err = s.f.ReadAt(p, off)
		return err
	})
	if err == nil && n < want {
		err = io.EOF
	}
	return n, err
}

// WriteAt implements image.Target.
func (s *scratch) WriteAt(p []byte, off int64) (n int, err error) {
	err = s.use(off, int64(len(p)), "writing", func() error {
		var err error
		n, err = s.f.WriteAt(p, off)
		return err
	})
	return n, err
}

// Discard implements image.Target.
func (s *scratch) Discard(ctx context.Context, e image.Extent) error {
	if e.Length == 0 {
		return nil
	}
	return s.use(e.Offset, e.Length, "discarding", func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := unix.Fallocate(int(s.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, e.Offset, e.Length)
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
		_, err = io.Copy(io.NewOffsetWriter(s.f, e.Offset), io.LimitReader(zeros{}, e.Length))
		return err
	})
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
			yield(image.Extent{}, errkind.Wrap(errkind.Unavailable, err, "reading what was written for %s", s.what))
		}
		for at := int64(0); at < s.size; {
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
			at = min(to, s.size)
			if !yield(image.Extent{Offset: from, Length: at - from}, nil) {
				return
			}
		}
	}
}
