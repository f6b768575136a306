package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

const (
	// bySerial is where the system of the transporter names its disks.
	bySerial = "/dev/disk/by-id"
	// appearing is how long a disk that is plugged in may take to be seen here,
	// leaving is the same for one that is taken out.
	appearing = 30 * time.Second
	leaving   = 10 * time.Second
	// glance is the time between two looks.
	glance = 20 * time.Millisecond
)

// link is the name of a disk here.
func (v *VSphere) link(uuid string) string {
	return filepath.Join(cmp.Or(v.o.bySerial, bySerial), "wwn-0x"+serial(uuid))
}

// device is a disk that is plugged into the transporter, as a file here.
type device struct {
	f     *os.File
	what  string
	parts sync.Pool // of *[]byte, see part
}

// openDevice waits for a disk. Nobody else may have claimed it: what multipath or
// LVM has taken cannot be taken out again.
func openDevice(ctx context.Context, what, link string, size int64, write bool, patience time.Duration) (*device, error) {
	how := os.O_RDONLY | unix.O_DIRECT
	if write {
		how = os.O_RDWR
	}
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; {
		f, err := openWhole(link, how|unix.O_EXCL, size)
		if err == nil {
			return &device{f: f, what: what, parts: sync.Pool{New: newPart}}, nil
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, vcenter.Translate(context.Cause(ctx), "waiting for "+what)
		}
	}
}

func openWhole(link string, how int, size int64) (*os.File, error) {
	f, err := os.OpenFile(link, how, 0)
	if err != nil {
		return nil, err
	}
	has, err := f.Seek(0, io.SeekEnd)
	if err == nil && has != size {
		err = fmt.Errorf("%s has %d bytes, not %d", link, has, size)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// gone waits until a disk that was taken out is not seen any more: under its
// name the next one would be looked for.
func gone(ctx context.Context, link string) {
	tick := time.NewTicker(glance)
	defer tick.Stop()
	for deadline := time.Now().Add(leaving); time.Now().Before(deadline) && ctx.Err() == nil; <-tick.C {
		if _, err := os.Lstat(link); errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}

// sectors is what offset, length and place in memory of what is read past the
// page cache must be multiples of: the page, which no disk's sector is larger than.
const sectors = 4096

// part is how much is read at a time where the caller's memory does not fit.
const part = 1 << 20

func newPart() any {
	b := make([]byte, part+sectors)
	if over := address(b) % sectors; over != 0 {
		b = b[sectors-over:]
	}
	b = b[:part]
	return &b
}

func address(p []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(p))) }

// readAt implements reader. A disk is read once, from one end to the other: in the
// page cache it would push out what others need.
func (d *device) readAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	for n < len(p) && err == nil {
		if ctx.Err() != nil {
			return n, vcenter.Translate(context.Cause(ctx), "reading "+d.what)
		}
		var got int
		got, err = d.piece(p[n:min(len(p), n+window)], off+int64(n))
		n += got
	}
	if err != nil {
		return n, errkind.Wrap(errkind.Unavailable, err, "%s cannot be read from the transporter's device: look at its kernel's messages, and repeat it", d.what)
	}
	return n, nil
}

func (d *device) piece(p []byte, off int64) (int, error) {
	if (uint64(off)|uint64(len(p))|uint64(address(p)))%sectors == 0 {
		return d.f.ReadAt(p, off)
	}
	from := off / sectors * sectors
	lead := int(off - from)
	p = p[:min(len(p), part-lead)]
	b := d.parts.Get().(*[]byte)
	defer d.parts.Put(b)
	whole := (lead + len(p) + sectors - 1) / sectors * sectors
	got, err := d.f.ReadAt((*b)[:whole], from)
	if got >= lead+len(p) { // the last sector may end before what was asked for
		got, err = lead+len(p), nil
	}
	if got <= lead {
		return 0, err
	}
	return copy(p, (*b)[lead:got]), err
}

// fill writes the data of s, and returns when the disk has them.
func (d *device) fill(ctx context.Context, s *scratch) error {
	buf := make([]byte, window)
	for e, err := range s.data(ctx) {
		if err != nil {
			return err
		}
		for at := e.Offset; at < e.End(); {
			if ctx.Err() != nil {
				return vcenter.Translate(context.Cause(ctx), "writing "+d.what)
			}
			n := min(window, e.End()-at)
			if _, err := s.f.ReadAt(buf[:n], at); err != nil {
				return s.said("reading", err)
			}
			if _, err := d.f.WriteAt(buf[:n], at); err != nil {
				return d.unwritten(err)
			}
			at += n
		}
	}
	return d.unwritten(d.f.Sync())
}

func (d *device) unwritten(err error) error {
	return errkind.Wrap(errkind.Unavailable, err, "%s cannot be written to the transporter's device: look at its kernel's messages, and repeat it", d.what)
}
