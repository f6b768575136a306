// Package repositorytest is the suite that every implementation of package
// repository passes, and a disk in memory for it.
package repositorytest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"mooring.dev/mooring/pkg/image"
)

// chunk is the piece in which a Disk keeps its content.
const chunk = 64 << 10

// Disk is a sparse disk in memory. It is an image.Target to be written and,
// by Snapshot, an image.Image to be read. Its methods are for one goroutine
// but for WriteAt and Discard.
type Disk struct {
	mu     sync.Mutex // guards the rest
	size   int64
	chunks map[int64][]byte
	dirty  map[int64]bool // chunks changed since the last Snapshot
}

// NewDisk is a disk of zeros.
func NewDisk(size int64) *Disk {
	return &Disk{size: size, chunks: map[int64][]byte{}, dirty: map[int64]bool{}}
}

// Size is that of the disk.
func (d *Disk) Size() int64 { return d.size }

// ReadAt reads what is there now.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return readChunks(d.chunks, d.size, p, off)
}

func readChunks(chunks map[int64][]byte, size int64, p []byte, off int64) (n int, err error) {
	for n < len(p) {
		at := off + int64(n)
		if at >= size {
			return n, io.EOF
		}
		part := p[n:min(int64(len(p)), int64(n)+chunk-at%chunk, int64(n)+size-at)]
		if c := chunks[at/chunk]; c != nil {
			copy(part, c[at%chunk:])
		} else {
			clear(part)
		}
		n += len(part)
	}
	return n, nil
}

// WriteAt changes the disk.
func (d *Disk) WriteAt(p []byte, off int64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off+int64(len(p)) > d.size {
		return 0, fmt.Errorf("write of %d bytes at %d of a disk of %d", len(p), off, d.size)
	}
	for n < len(p) {
		at := off + int64(n)
		c := make([]byte, chunk) // snapshots share the old one
		copy(c, d.chunks[at/chunk])
		n += copy(c[at%chunk:], p[n:])
		d.chunks[at/chunk] = c
		d.dirty[at/chunk] = true
	}
	return n, nil
}

// Discard makes a range zero; whole chunks become holes.
func (d *Disk) Discard(_ context.Context, e image.Extent) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for at := e.Offset; at < min(e.End(), d.size); {
		end := min(e.End(), d.size, at-at%chunk+chunk)
		if at%chunk == 0 && (end-at == chunk || end == d.size) {
			delete(d.chunks, at/chunk)
		} else if old := d.chunks[at/chunk]; old != nil {
			c := slices.Clone(old)
			clear(c[at%chunk : at%chunk+end-at])
			d.chunks[at/chunk] = c
		}
		d.dirty[at/chunk] = true
		at = end
	}
	return nil
}

// Resize changes the size; what is cut off is gone.
func (d *Disk) Resize(size int64) error {
	if size < d.size {
		if err := d.Discard(context.Background(), image.Extent{Offset: size, Length: d.size - size}); err != nil {
			return err
		}
	}
	d.size = size
	return nil
}

// Fill writes n random bytes at off. Half of them compress.
func (d *Disk) Fill(r *rand.Rand, off, n int64) error {
	_, err := d.WriteAt(Random(r, n), off)
	return err
}

// Random is n bytes of which half compress.
func Random(r *rand.Rand, n int64) []byte {
	b := make([]byte, n)
	for i := 0; i < len(b); i += 512 {
		for j := i; j < min(i+256, len(b)); j++ {
			b[j] = byte(r.Uint32())
		}
	}
	return b
}

// Snapshot is the content now, and what changed since the last Snapshot.
func (d *Disk) Snapshot() (*Snapshot, []image.Extent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := &Snapshot{size: d.size, chunks: maps.Clone(d.chunks)}
	changed := extents(slices.Sorted(maps.Keys(d.dirty)), d.size)
	d.dirty = map[int64]bool{}
	return s, changed
}

func extents(chunks []int64, size int64) (out []image.Extent) {
	for _, c := range chunks {
		off := c * chunk
		n := min(chunk, size-off)
		if n <= 0 {
			break
		}
		if l := len(out); l > 0 && out[l-1].End() == off {
			out[l-1].Length += n
			continue
		}
		out = append(out, image.Extent{Offset: off, Length: n})
	}
	return out
}

// Snapshot is a disk's content at one moment.
type Snapshot struct {
	size   int64
	chunks map[int64][]byte
	// Fail, if not nil, is asked before each read.
	Fail func(off int64) error
	read atomic.Int64
}

// Size is that of the disk.
func (s *Snapshot) Size() int64 { return s.size }

// ReadAt reads.
func (s *Snapshot) ReadAt(p []byte, off int64) (int, error) {
	if s.Fail != nil {
		if err := s.Fail(off); err != nil {
			return 0, err
		}
	}
	s.read.Add(int64(len(p)))
	return readChunks(s.chunks, s.size, p, off)
}

// Read is how many bytes were asked for.
func (s *Snapshot) Read() int64 { return s.read.Load() }

// Data yields everything but the holes.
func (s *Snapshot) Data(context.Context) image.Extents {
	return Extents(extents(slices.Sorted(maps.Keys(s.chunks)), s.size))
}

// Close does nothing.
func (s *Snapshot) Close() error { return nil }

// Extents yields a slice.
func Extents(all []image.Extent) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Differ is the first byte in which two images differ, -1 if they are equal.
func Differ(a, b image.Image) (int64, error) {
	if a.Size() != b.Size() {
		return min(a.Size(), b.Size()), nil
	}
	const step = 1 << 20
	x, y := make([]byte, step), make([]byte, step)
	for off := int64(0); off < a.Size(); off += step {
		n := min(step, a.Size()-off)
		if _, err := a.ReadAt(x[:n], off); err != nil {
			return off, err
		}
		if _, err := b.ReadAt(y[:n], off); err != nil {
			return off, err
		}
		if !slices.Equal(x[:n], y[:n]) {
			for i := range n {
				if x[i] != y[i] {
					return off + i, nil
				}
			}
		}
	}
	return -1, nil
}
