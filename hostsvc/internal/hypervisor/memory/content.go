package memory

import (
	"io"
	"iter"
	"maps"
	"slices"

	"mooring.dev/mooring/pkg/image"
)

// pageSize is the unit of memory that a disk takes, and of what Changed tells.
const pageSize = 4096

// content is what a disk holds: pages by number, the absent ones are zeros. A
// page never changes once it is there; a write puts another in its place. So a
// copy costs its map, and the same page means the same bytes.
type content map[int64]*[pageSize]byte

func (c content) clone() content { return maps.Clone(c) }

// bytes is the memory that it takes.
func (c content) bytes() int64 { return int64(len(c)) * pageSize }

// pages yields the pages of a range: the number, and the first and last byte
// of the range in it.
func pages(off, n int64) iter.Seq2[int64, [2]int64] {
	return func(yield func(int64, [2]int64) bool) {
		for end := off + n; off < end; {
			page, from := off/pageSize, off%pageSize
			to := min(pageSize, from+end-off)
			if !yield(page, [2]int64{from, to}) {
				return
			}
			off += to - from
		}
	}
}

func (c content) readAt(p []byte, off int64) {
	for n, in := range pages(off, int64(len(p))) {
		part := p[:in[1]-in[0]]
		if page := c[n]; page != nil {
			copy(part, page[in[0]:])
		} else {
			clear(part)
		}
		p = p[len(part):]
	}
}

func (c content) writeAt(p []byte, off int64) {
	for n, in := range pages(off, int64(len(p))) {
		var page [pageSize]byte
		if old := c[n]; old != nil {
			page = *old
		}
		p = p[copy(page[in[0]:in[1]], p):]
		c[n] = &page
	}
}

// discard makes a range zeros.
func (c content) discard(e image.Extent) {
	for n, in := range pages(e.Offset, e.Length) {
		if old := c[n]; old != nil && in[1]-in[0] < pageSize {
			page := *old
			clear(page[in[0]:in[1]])
			c[n] = &page
			continue
		}
		delete(c, n)
	}
}

// extents are the ranges of the pages with those numbers, below size.
func extents(numbers []int64, size int64) (all []image.Extent) {
	slices.Sort(numbers)
	for _, n := range numbers {
		e := image.Extent{Offset: n * pageSize, Length: min(pageSize, size-n*pageSize)}
		if last := len(all) - 1; last >= 0 && all[last].End() == e.Offset {
			all[last].Length += e.Length
			continue
		}
		all = append(all, e)
	}
	return all
}

func (c content) data(size int64) []image.Extent {
	return extents(slices.Collect(maps.Keys(c)), size)
}

// differences are the pages that are not the same in both.
func differences(a, b content) (numbers []int64) {
	for n := range a {
		if a[n] != b[n] {
			numbers = append(numbers, n)
		}
	}
	for n := range b {
		if a[n] == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// within is io.ReaderAt's rule: what of p can be read, and the error if that
// is not all.
func within(p []byte, off, size int64) ([]byte, error) {
	if off >= size && len(p) > 0 {
		return nil, io.EOF
	}
	if n := size - off; int64(len(p)) > n {
		return p[:n], io.EOF
	}
	return p, nil
}
