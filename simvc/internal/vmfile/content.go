package vmfile

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Extent is a run of bytes of a file.
type Extent struct{ Offset, Length int64 }

// Allocated lists the parts of a file that are not holes, in order.
func Allocated(f *os.File) ([]Extent, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var list []Extent
	for off := int64(0); off < st.Size(); {
		start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		end, err := unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		end = min(end, st.Size())
		list = append(list, Extent{start, end - start})
		off = end
	}
	return list, nil
}

// Used is the room that a file takes.
func Used(path string) int64 {
	var st unix.Stat_t
	if unix.Lstat(path, &st) != nil {
		return 0
	}
	return st.Blocks * 512
}

// Still keeps those out of a file who take a shared flock to write to it, until
// release is called.
func Still(path string) (release func(), err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// CopyFlat copies an extent with its holes, at once where the file system can
// share blocks. The destination is made or replaced in place: who has it open
// sees the new content.
func CopyFlat(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = copyExtents(in, out, st.Size())
	return errors.Join(err, out.Close())
}

func copyExtents(in, out *os.File, size int64) error {
	if err := out.Truncate(0); err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) == nil {
		return nil
	}
	if err := out.Truncate(size); err != nil {
		return err
	}
	extents, err := Allocated(in)
	if err != nil {
		return err
	}
	for _, e := range extents {
		if _, err := out.Seek(e.Offset, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(out, io.NewSectionReader(in, e.Offset, e.Length)); err != nil {
			return err
		}
	}
	return nil
}
