package local

import (
	"context"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's interface to the extent map of a file, which x/sys has not:
// linux/fiemap.h.
const (
	fsIocFiemap    = 0xc020660b // _IOWR('f', 11, struct fiemap)
	fiemapSync     = 0x1        // write out first what is not mapped yet
	fiemapBatch    = 512        // extents per call: 28 KiB
	extentLast     = 0x1
	extentEncoded  = 0x8 // compressed, as btrfs does
	extentUnwrit   = 0x800
	extentMerged   = 0x1000
	extentShared   = 0x2000
	extentHarmless = extentLast | extentMerged | extentShared
)

type fiemapHeader struct {
	start, length           uint64
	flags, mapped, count, _ uint32
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

type fiemapRequest struct {
	fiemapHeader
	extents [fiemapBatch]fiemapExtent
}

// piece is a range of a file that holds data, and where. Only a known place
// can be compared; of the others it is only known that data is there.
type piece struct {
	from, to int64
	physical uint64
	known    bool
}

// cut drops what lies before at.
func (p *piece) cut(at int64) {
	p.physical += uint64(at - p.from)
	p.from = at
}

// extentMap reads the map of a file in order, batch by batch. Holes are
// between the pieces; so is what is allocated but was never written, since it
// reads as zeros too.
type extentMap struct {
	f       *os.File
	size    int64
	at      int64 // what the next batch begins with
	last    bool
	batch   []piece
	encoded bool // an encoded extent was met
	request *fiemapRequest
}

// mapOf is the map of an open file, which must not change any more.
func mapOf(f *os.File) (*extentMap, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return &extentMap{f: f, size: st.Size(), request: new(fiemapRequest)}, nil
}

// next is the next piece; false: there is none.
func (m *extentMap) next(ctx context.Context) (piece, bool, error) {
	for len(m.batch) == 0 {
		if m.last || m.at >= m.size {
			return piece{}, false, nil
		}
		if err := ctx.Err(); err != nil {
			return piece{}, false, err
		}
		if err := m.read(); err != nil {
			return piece{}, false, err
		}
	}
	p := m.batch[0]
	m.batch = m.batch[1:]
	return p, true, nil
}

// read fetches one batch.
func (m *extentMap) read() error {
	r := m.request
	r.fiemapHeader = fiemapHeader{start: uint64(m.at), length: uint64(m.size - m.at), flags: fiemapSync, count: fiemapBatch}
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, m.f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(r)))
		if errno == 0 {
			break
		}
		if errno != unix.EINTR {
			return errno
		}
	}
	m.batch = m.batch[:0]
	m.last = r.mapped == 0
	for _, e := range r.extents[:r.mapped] {
		m.last = m.last || e.flags&extentLast != 0
		m.encoded = m.encoded || e.flags&extentEncoded != 0
		m.add(e)
	}
	return nil
}

func (m *extentMap) add(e fiemapExtent) {
	p := piece{from: int64(e.logical), to: int64(e.logical + e.length), physical: e.physical, known: e.flags&^extentHarmless == 0}
	if p.from < m.at {
		p.cut(m.at)
	}
	p.to = min(p.to, m.size)
	if p.to <= p.from {
		return
	}
	m.at = p.to
	if e.flags&extentUnwrit == 0 {
		m.batch = append(m.batch, p)
	}
}

// tellsPlaces reports whether places in the map of f can be compared: not if
// any of it is encoded, since then several contents have one place.
func tellsPlaces(ctx context.Context, f *os.File) (bool, error) {
	m, err := mapOf(f)
	for err == nil && !m.encoded {
		var more bool
		if _, more, err = m.next(ctx); !more {
			break
		}
	}
	return err == nil && !m.encoded, err
}

// noMaps reports whether err says that the file system has no extent maps.
func noMaps(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EBADR) || errors.Is(err, unix.ENOSYS)
}
