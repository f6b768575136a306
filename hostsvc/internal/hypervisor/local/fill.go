package local

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// chunk is how much is written between two looks at the context, and the
// memory that a copy needs.
const chunk = 1 << 20

var zeros [chunk]byte

// formatAttr remembers the format of an image, so that what grows grows in
// the same way. Where the file system has no such attributes it grows thin.
const formatAttr = "user.mooring.format"

func setFormat(f *os.File, format string) {
	_ = unix.Fsetxattr(int(f.Fd()), formatAttr, []byte(format), 0)
}

func formatOf(f *os.File) string {
	var b [32]byte
	n, err := unix.Fgetxattr(int(f.Fd()), formatAttr, b[:])
	if err != nil {
		return volspec.Thin
	}
	return string(b[:n])
}

// needRoom checks that a datastore has room for that many bytes more.
func (p *place) needRoom(need volspec.Size) error {
	if need <= p.free() {
		return nil
	}
	if need <= p.capacity() { // what was removed a moment ago may become free only now
		if err := p.syncfs(); err != nil {
			return err
		}
	}
	if free := p.free(); need > free {
		return errkind.New(errkind.Quota, "datastore %s has no room: %s asked, %s free; remove volumes or use another datastore", p.Name, need, free)
	}
	return nil
}

// fillBlank makes f an image of that size and format that reads as zeros.
func (p *place) fillBlank(ctx context.Context, f *os.File, size volspec.Size, format string) error {
	setFormat(f, format)
	if format != volspec.Thin {
		if err := p.needRoom(size); err != nil {
			return err
		}
		if err := allocate(ctx, f, 0, int64(size)); err != nil {
			return err
		}
	}
	if err := f.Truncate(int64(size)); err != nil {
		return err
	}
	if format == volspec.EagerZeroedThick {
		return writeZeros(ctx, f, 0, int64(size))
	}
	return nil
}

// allocate gives f, which is blank there, its space. Where the file system
// cannot reserve it, zeros are written.
func allocate(ctx context.Context, f *os.File, from, to int64) error {
	err := reserve(ctx, f, from, to)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(ctx, f, from, to)
	}
	return err
}

// reserve allocates what is not allocated, and changes neither size nor data.
func reserve(ctx context.Context, f *os.File, from, to int64) error {
	const step = 1 << 30
	for at := from; at < to; at += step {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, at, min(step, to-at)); err != nil {
			return err
		}
	}
	return nil
}

// writeZeros really writes them: blocks are allocated and initialised.
func writeZeros(ctx context.Context, f *os.File, from, to int64) error {
	for at := from; at < to; at += chunk {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := f.WriteAt(zeros[:min(chunk, to-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// grow enlarges the image f from its size to a larger one. On error it is as
// it was.
func (p *place) grow(ctx context.Context, f *os.File, from, to int64) (err error) {
	format := formatOf(f)
	if format == volspec.Thin {
		return errors.Join(f.Truncate(to), f.Sync())
	}
	if err := p.needRoom(volspec.Size(to - from)); err != nil {
		return err
	}
	defer func() {
		if err != nil { // gives back what was reserved beyond the end, too
			err = errors.Join(err, f.Truncate(from+1), f.Truncate(from))
		}
	}()
	if err := allocate(ctx, f, from, to); err != nil {
		return err
	}
	if err := f.Truncate(to); err != nil {
		return err
	}
	if format == volspec.EagerZeroedThick {
		if err := writeZeros(ctx, f, from, to); err != nil {
			return err
		}
	}
	return f.Sync()
}

// fillCopy makes f a copy of src in a format: as a clone that shares its
// blocks where a thin one can be, else byte by byte. Holes stay holes.
func (p *place) fillCopy(ctx context.Context, f, src *os.File, size volspec.Size, format string) error {
	if format == volspec.Thin {
		setFormat(f, format)
		if done, err := tryReflink(f, src); done || err != nil {
			return err
		}
	}
	if err := p.fillBlank(ctx, f, size, format); err != nil {
		return err
	}
	return copyData(ctx, f, src, int64(size))
}

// tryReflink makes dst a clone of src, of one moment, that shares its blocks.
// Where that cannot be: false.
func tryReflink(dst, src *os.File) (bool, error) {
	err := unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
	for _, cannot := range []error{unix.EOPNOTSUPP, unix.EXDEV, unix.EINVAL, unix.ENOTTY, unix.ENOSYS, unix.EPERM} {
		if errors.Is(err, cannot) {
			return false, nil
		}
	}
	return err == nil, err
}

// copyData copies the data of src below size to the same places of dst.
func copyData(ctx context.Context, dst, src *os.File, size int64) error {
	buf := make([]byte, chunk)
	for at := int64(0); at < size; {
		start, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		end, err := unix.Seek(int(src.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		at = min(end, size)
		if err := copyRange(ctx, dst, src, start, at, buf); err != nil {
			return err
		}
	}
	return nil
}

func copyRange(ctx context.Context, dst, src *os.File, from, to int64, buf []byte) error {
	for from < to {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := src.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if n == 0 && errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := dst.WriteAt(buf[:n], from); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}
