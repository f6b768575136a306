package local

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directFile reads a file past the page cache: a snapshot is read once, from
// one end to the other, and would push out of memory what others need. It also
// takes less processor time. nil reads nothing.
type directFile struct {
	f      *os.File
	refuse atomic.Bool // the file system cannot do it after all
}

// directUnit is what offset, length and place in memory must be multiples of:
// the page, which no disk's block is larger than.
const directUnit = 4096

// openDirect opens the file that was opened under this name, nil where that
// cannot be.
func (d *folder) openDirect(name string, is os.FileInfo) *directFile {
	f, err := d.openFile(name, os.O_RDONLY|unix.O_DIRECT)
	if err != nil {
		return nil
	}
	if st, err := f.Stat(); err != nil || !os.SameFile(st, is) {
		_ = f.Close()
		return nil
	}
	return &directFile{f: f}
}

// read reads all of p, or reports false: then it is to be read in the ordinary
// way, which also tells what is wrong.
func (d *directFile) read(p []byte, off int64) bool {
	if d == nil || d.refuse.Load() || len(p) == 0 ||
		(uint64(off)|uint64(len(p))|uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))))%directUnit != 0 {
		return false
	}
	n, err := d.f.ReadAt(p, off)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		d.refuse.Store(true)
	}
	return err == nil && n == len(p)
}

func (d *directFile) close() error {
	if d == nil {
		return nil
	}
	return d.f.Close()
}
