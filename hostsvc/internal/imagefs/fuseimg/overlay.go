package fuseimg

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// Overlay is an image that can be written to: what is written goes to a
// scratch file in pieces of 4 KiB, and what was never written is read from the
// image, which stays as it is. The scratch file is made at the first write, has
// no name, and is gone with the overlay or with this process.
//
// It is safe for concurrent use. Its memory is a bit for each piece of the
// neighbourhoods that were written to.
type Overlay struct {
	base Content
	dir  string
	max  int64

	mu      sync.RWMutex // guards file, taken, used and failed
	file    *os.File
	taken   map[int64]*[wordsPer]uint64
	used    int64
	failed  error
	stripes [64]sync.Mutex // each guards the bytes of the pieces that share it, so it is held while those are copied
}

const (
	piece    = 4096
	wordsPer = 512
	perMap   = wordsPer * 64 // pieces in one map of bits
)

// NewOverlay puts an overlay on base. Its scratch file will be in dir and hold
// at most limit bytes (0: as many as it takes); beyond that a write is ENOSPC.
func NewOverlay(base Content, dir string, limit int64) *Overlay {
	return &Overlay{base: base, dir: dir, max: limit, taken: map[int64]*[wordsPer]uint64{}}
}

// Size is that of the image.
func (o *Overlay) Size() int64 { return o.base.Size() }

// Used is how many bytes were written over.
func (o *Overlay) Used() int64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.used
}

// Err is the first error of a write to the scratch file, nil for none.
func (o *Overlay) Err() error {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.failed
}

// Close gives the scratch file back. The image is not closed.
func (o *Overlay) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	return err
}

// has reports whether a piece was written over.
func (o *Overlay) has(n int64) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.hasLocked(n)
}

func (o *Overlay) hasLocked(n int64) bool {
	m := o.taken[n/perMap]
	return m != nil && m[n%perMap/64]&(1<<(n%64)) != 0
}

// run is how many bytes from off on, at most want, have the same origin, and
// which.
func (o *Overlay) run(off, want int64) (length int64, from io.ReaderAt, err error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	first := o.hasLocked(off / piece)
	for length < want && o.hasLocked((off+length)/piece) == first {
		length += piece - (off+length)%piece
	}
	switch {
	case !first:
		from = o.base
	case o.file == nil:
		return 0, nil, os.ErrClosed
	default:
		from = o.file
	}
	return min(length, want), from, nil
}

// ReadAt implements io.ReaderAt.
func (o *Overlay) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off > o.Size() {
		return 0, io.EOF
	}
	if rest := o.Size() - off; int64(len(p)) > rest {
		p, err = p[:rest], io.EOF
	}
	for n < len(p) {
		length, from, err := o.run(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, err
		}
		got, rerr := from.ReadAt(p[n:n+int(length)], off+int64(n))
		n += got
		if got < int(length) {
			return n, rerr
		}
	}
	return n, err
}

// WriteAt implements io.WriterAt. Bytes beyond the end of the image are an
// error: it does not grow.
func (o *Overlay) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off+int64(len(p)) > o.Size() {
		return 0, fmt.Errorf("write of %d bytes at %d beyond the end of an image: %w", len(p), off, unix.EFBIG)
	}
	for n < len(p) {
		at := off + int64(n)
		length := min(piece-at%piece, int64(len(p)-n))
		if err := o.writePiece(p[n:n+int(length)], at); err != nil {
			o.mu.Lock()
			o.failed = cmp.Or(o.failed, err)
			o.mu.Unlock()
			return n, err
		}
		n += int(length)
	}
	return n, nil
}

// writePiece writes within one piece. What it does not write of a piece that
// is new here comes from the image.
func (o *Overlay) writePiece(p []byte, off int64) error {
	n := off / piece
	start := n * piece
	whole := min(piece, o.Size()-start)
	lock := &o.stripes[n%int64(len(o.stripes))]
	lock.Lock()
	defer lock.Unlock()
	if !o.has(n) && int64(len(p)) < whole {
		buf := make([]byte, whole)
		if got, err := o.base.ReadAt(buf, start); int64(got) < whole {
			return err
		}
		copy(buf[off-start:], p)
		p, off = buf, start
	}
	f, err := o.scratch(n)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(p, off); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	m := o.taken[n/perMap]
	if m == nil {
		m = &[wordsPer]uint64{}
		o.taken[n/perMap] = m
	}
	if bit := uint64(1) << (n % 64); m[n%perMap/64]&bit == 0 {
		m[n%perMap/64] |= bit
		o.used += piece
	}
	return nil
}

// scratch is the file that piece n may be written to.
func (o *Overlay) scratch(n int64) (*os.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.max > 0 && o.used >= o.max && !o.hasLocked(n) {
		return nil, unix.ENOSPC
	}
	if o.file != nil {
		return o.file, nil
	}
	f, err := nameless(o.dir)
	if err != nil {
		return nil, fmt.Errorf("making a scratch file in %s: %w", o.dir, err)
	}
	o.file = f
	return f, nil
}

// ScratchPrefix begins the names of scratch files, where a file system knows
// none without a name: they have it for a moment only.
const ScratchPrefix = "scratch-"

func nameless(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), filepath.Join(dir, "(scratch)")), nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, err
	}
	f, err := os.CreateTemp(dir, ScratchPrefix)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
