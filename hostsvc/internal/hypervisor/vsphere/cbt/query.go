package cbt

import (
	"context"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// Batch is one answer to a query: what is known of the disk from Offset on,
// over Length bytes. What lies within and is not in Areas has not changed.
type Batch struct {
	Offset, Length int64
	Areas          []image.Extent
}

// Querier asks for the areas from offset on.
type Querier interface {
	Query(ctx context.Context, offset int64) (Batch, error)
}

// QuerierFunc is a function that is a Querier.
type QuerierFunc func(ctx context.Context, offset int64) (Batch, error)

// Query implements Querier.
func (f QuerierFunc) Query(ctx context.Context, offset int64) (Batch, error) { return f(ctx, offset) }

// Areas asks q until the whole disk of that capacity is covered, and yields
// the areas, in order, merged where they touch, and cut at the capacity. A
// batch without areas is an answer like any other. An answer that does not go
// on is corrupt; in memory is one batch.
func Areas(ctx context.Context, q Querier, capacity int64) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		j := image.NewJoiner(yield)
		for at := int64(0); at < capacity; {
			b, err := q.Query(ctx, at)
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			if b.Offset > at || b.Offset+b.Length <= at {
				yield(image.Extent{}, errkind.New(errkind.Corrupt, "changed areas were asked for from byte %d on and answered for %d bytes from byte %d: read the whole disk", at, b.Length, b.Offset))
				return
			}
			for _, e := range normal(b.Areas, at, min(capacity, b.Offset+b.Length)) {
				if !j.Add(e) {
					return
				}
			}
			at = b.Offset + b.Length
		}
		j.Flush()
	}
}

// normal sorts areas, cuts them at the range from from to to, and leaves out
// what is empty.
func normal(areas []image.Extent, from, to int64) []image.Extent {
	out := make([]image.Extent, 0, len(areas))
	for _, e := range areas {
		start, end := max(e.Offset, from), min(e.End(), to)
		if start < end {
			out = append(out, image.Extent{Offset: start, Length: end - start})
		}
	}
	slices.SortFunc(out, func(a, b image.Extent) int {
		switch {
		case a.Offset < b.Offset:
			return -1
		case a.Offset > b.Offset:
			return 1
		}
		return 0
	})
	return out
}
