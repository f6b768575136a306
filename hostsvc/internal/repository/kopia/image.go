package kopia

import (
	"context"
	"io"
	"sync"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// pointImage is a point's disk, open for reading.
type pointImage struct {
	r        *Repository
	size     int64
	top      []object.ID
	segments *cache[int, []content.ID]
	blocks   *cache[int64, []byte]

	ctx   context.Context // of reads, which have none of their own; it ends with the image
	stop  context.CancelFunc
	ahead sync.WaitGroup

	mu     sync.Mutex // guards the rest
	next   int64      // block that a reader in order reads next
	closed bool
	done   func()
}

// Bounds of what an open image keeps: 16 MiB of blocks, and the indexes of
// 32 GiB of disk.
const (
	cachedBlocks   = 16
	cachedSegments = 512
	readAhead      = 4
)

// Open opens a point's image.
func (r *Repository) Open(ctx context.Context, id volspec.PointID) (image.Image, error) {
	done, err := r.use()
	if err != nil {
		return nil, err
	}
	m, err := r.openImage(ctx, id)
	if err != nil {
		done()
		return nil, err
	}
	m.done = done
	return m, nil
}

func (r *Repository) openImage(ctx context.Context, id volspec.PointID) (*pointImage, error) {
	if err := r.fresh(ctx); err != nil {
		return nil, err
	}
	l, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	top, err := r.segments(ctx, l.record)
	if err != nil {
		return nil, err
	}
	m := &pointImage{
		r: r, size: l.Point.Size, top: top, next: -1,
		segments: newCache[int, []content.ID](cachedSegments), blocks: newCache[int64, []byte](cachedBlocks),
	}
	m.ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	return m, nil
}

// Size is that of the disk.
func (m *pointImage) Size() int64 { return m.size }

// Close ends the use.
func (m *pointImage) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	m.stop()
	m.ahead.Wait()
	if m.done != nil {
		m.done()
	}
	return nil
}

// ids are the blocks of a segment.
func (m *pointImage) ids(i int) ([]content.ID, error) {
	return m.segments.get(i, func() ([]content.ID, error) {
		return m.r.blocks(m.ctx, m.top[i], lengthOf(i, segmentSize, m.size))
	})
}

// block is the content of block b.
func (m *pointImage) block(b int64) (content.ID, error) {
	ids, err := m.ids(int(b / segmentBlocks))
	if err != nil {
		return content.EmptyID, err
	}
	return ids[b%segmentBlocks], nil
}

// load reads a block, into the room of dst if that has any. nil: zeros.
func (m *pointImage) load(b int64, dst []byte) ([]byte, error) {
	id, err := m.block(b)
	if err != nil {
		return nil, err
	}
	n := lengthOf(int(b), blockSize, m.size)
	if id == m.r.hash.zero(int(n)) {
		return nil, nil
	}
	if int64(cap(dst)) < n {
		dst = make([]byte, 0, n)
	}
	data, err := m.r.readTo(m.ctx, dst[:0], id)
	if err != nil {
		return nil, failed(err, "read bytes %d to %d of a recovery point", b*blockSize, b*blockSize+n)
	}
	if int64(len(data)) != n {
		return nil, errkind.New(errkind.Corrupt, "bytes %d to %d of a recovery point have the wrong length", b*blockSize, b*blockSize+n)
	}
	return data, nil
}

// ReadAt reads all of p or returns an error.
func (m *pointImage) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errkind.New(errkind.Invalid, "read before the beginning of a disk")
	}
	for n < len(p) {
		at := off + int64(n)
		if at >= m.size {
			return n, io.EOF
		}
		b, in := at/blockSize, at%blockSize
		length := lengthOf(int(b), blockSize, m.size)
		part := p[n:min(len(p), n+int(length-in))]
		if err := m.readBlock(part, b, in, len(part) == int(length)); err != nil {
			return n, err
		}
		n += len(part)
	}
	return n, nil
}

// readBlock reads a part of a block through the cache, or past it and without
// a copy when all of it is wanted: such readers come with many streams and do
// not come back.
func (m *pointImage) readBlock(part []byte, b, in int64, all bool) error {
	var data []byte
	var err error
	if all {
		if data, err = m.load(b, part[:0:len(part)]); len(data) > 0 && &data[0] == &part[0] {
			return err
		}
	} else {
		m.foresee(b)
		data, err = m.cached(b)
	}
	if err != nil {
		return err
	}
	if data == nil {
		clear(part)
	} else {
		copy(part, data[in:])
	}
	return nil
}

// cached is a block by way of the cache.
func (m *pointImage) cached(b int64) ([]byte, error) {
	return m.blocks.get(b, func() ([]byte, error) { return m.load(b, nil) })
}

// foresee reads ahead of a reader that reads in order.
func (m *pointImage) foresee(b int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b == m.next-1 || m.closed { // still in the same block
		return
	}
	ordered := b == m.next
	m.next = b + 1
	if !ordered {
		return
	}
	for i := b + 1; i <= b+readAhead && i*blockSize < m.size; i++ {
		if m.blocks.has(i) {
			continue
		}
		m.ahead.Go(func() {
			// What cannot be read is found again by who asks for it.
			_, _ = m.cached(i)
		})
	}
}

// Data yields the blocks that are not zeros.
func (m *pointImage) Data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		var at image.Extent
		for i, id := range m.top {
			n := lengthOf(i, segmentSize, m.size)
			if id == m.r.zeroSegmentID(n) {
				continue
			}
			ids, err := m.ids(i)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				if at.Length == 0 || yield(at, nil) {
					yield(image.Extent{}, err)
				}
				return
			}
			for j, id := range ids {
				l := lengthOf(j, blockSize, n)
				if id == m.r.hash.zero(int(l)) {
					continue
				}
				off := int64(i)*segmentSize + int64(j)*blockSize
				if at.Length > 0 && at.End() == off {
					at.Length += l
					continue
				}
				if at.Length > 0 && !yield(at, nil) {
					return
				}
				at = image.Extent{Offset: off, Length: l}
			}
		}
		if at.Length > 0 {
			yield(at, nil)
		}
	}
}
