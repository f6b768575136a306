package kopia

import (
	"context"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Copy stores a point of this repository in another one.
//
// The same block has another name there, since the keys differ. What need not
// be read is found here instead: where the parent there is a copy of a point
// here, the difference between the two points here is what changed.
func (r *Repository) Copy(ctx context.Context, point volspec.PointID, dst repository.Repository, id, parent volspec.PointID, limit int64, report repository.Report) (repository.Point, error) {
	done, err := r.use()
	if err != nil {
		return repository.Point{}, err
	}
	defer done()
	src, err := r.openImage(ctx, point)
	if err != nil {
		return repository.Point{}, err
	}
	defer func() { _ = src.Close() }() // only reads
	l, err := r.find(ctx, point)
	if err != nil {
		return repository.Point{}, err
	}
	b := repository.Backup{
		Point: repository.Point{
			ID: id, Source: l.Point.Source, Created: l.Point.Created, Consistency: l.Point.Consistency, Meta: l.Point.Meta, CopyOf: point,
			Tracking: "copy: everything was read",
		},
		Image: src, Limit: limit,
	}
	if parent != "" {
		b.Parent = parent
		if b.Changed, err = r.since(ctx, dst, parent, src); err != nil {
			return repository.Point{}, err
		}
		if b.Changed != nil {
			b.Point.Tracking = "copy: the differences of the points it was copied from"
		}
	}
	return dst.Write(ctx, b, report)
}

// since is in what src differs from the point here that parent in dst is a
// copy of; nil if that is not known.
func (r *Repository) since(ctx context.Context, dst repository.Repository, parent volspec.PointID, src *pointImage) (image.Extents, error) {
	p, err := dst.Point(ctx, parent)
	if errkind.Is(err, errkind.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if p.CopyOf == "" {
		return nil, nil
	}
	top, ok := r.topOf(ctx, p)
	if !ok { // then everything is read
		return nil, nil
	}
	return r.difference(ctx, top, p.Size, src), nil
}

// topOf are the segments of the point here that p is a copy of.
func (r *Repository) topOf(ctx context.Context, p repository.Point) (top []object.ID, ok bool) {
	l, err := r.find(ctx, p.CopyOf)
	if err == nil && l.Point.Size == p.Size {
		top, err = r.segments(ctx, l.record)
		return top, err == nil
	}
	return nil, false
}

// difference yields the blocks in which src differs from an image of another
// size perhaps, whose segments are given.
func (r *Repository) difference(ctx context.Context, old []object.ID, oldSize int64, src *pointImage) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for i, id := range src.top {
			start, n := int64(i)*segmentSize, lengthOf(i, segmentSize, src.size)
			same := i < len(old) && lengthOf(i, segmentSize, oldSize) == n
			if same && old[i] == id {
				continue
			}
			var before []content.ID
			if same {
				before, _ = r.blocks(ctx, old[i], n) // unreadable: everything differs
			}
			now, err := src.ids(i)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			for j, b := range now {
				if before != nil && before[j] == b {
					continue
				}
				if !yield(image.Extent{Offset: start + int64(j)*blockSize, Length: lengthOf(j, blockSize, n)}, nil) {
					return
				}
			}
		}
	}
}
