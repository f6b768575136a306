package local

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Changed implements hypervisor.Imager. Both snapshots share blocks with the
// disk and with each other, and none of their blocks can be used for anything
// else while they exist: what lies at the same place is the same. What
// something moved meanwhile, such as a defragmentation, differs in place only,
// and is listed although it is the same.
func (l *Local) Changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		stop := errors.New("no more are wanted")
		err := l.changed(ctx, r, base, id, func(e image.Extent) error {
			if !yield(e, nil) {
				return stop
			}
			return nil
		})
		if err != nil && !errors.Is(err, stop) {
			yield(image.Extent{}, fail(err, "comparing snapshots %s and %s of disk %s", base, id, r.Volume))
		}
	}
}

func (l *Local) changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID, found func(image.Extent) error) error {
	s, err := l.source(ctx, r, false)
	if err != nil {
		return err
	}
	defer s.close()
	old, err := s.openSnapshot(base)
	if err != nil {
		return err
	}
	defer old.Close()
	now, err := s.openSnapshot(id)
	if err != nil {
		return err
	}
	defer now.Close()
	if err := l.comparable(ctx, s, old, now); err != nil {
		return err
	}
	a, err := mapOf(old)
	if err != nil {
		return err
	}
	b, err := mapOf(now)
	if err != nil {
		return err
	}
	return compareMaps(ctx, a, b, found)
}

// comparable: unsupported with the reason where places tell nothing.
func (l *Local) comparable(ctx context.Context, s *source, snaps ...*os.File) error {
	cannot := func(why string) error {
		return errkind.New(errkind.Unsupported, "what changed between two snapshots of disk %s cannot be told: datastore %s (%s) %s", s.ref.Volume, s.Name, fsType(int64(s.fs.Type)), why)
	}
	if !s.readOnly() && !l.shares(s.place) {
		return cannot("copies blocks instead of sharing them; use one on xfs or btrfs")
	}
	if uint32(s.fs.Type) == unix.XFS_SUPER_MAGIC {
		return nil // nothing is ever encoded there
	}
	for _, f := range snaps {
		ok, err := tellsPlaces(ctx, f)
		switch {
		case noMaps(err):
			return cannot("does not say where data lies; use one on xfs or btrfs")
		case err != nil:
			return err
		case !ok:
			return cannot("compresses or encrypts it; mount it without that, and the next snapshots but one can be compared")
		}
	}
	return nil
}

// shares reports whether copies on a datastore share blocks.
func (l *Local) shares(p *place) bool {
	if p.readOnly() {
		return l.stores.known(p.id)
	}
	reflink, err := l.stores.probe(p)
	return err == nil && reflink || l.stores.known(p.id)
}

// compareMaps finds the ranges in which two maps differ. Neighbours become
// one range; of each map one batch is in memory.
func compareMaps(ctx context.Context, a, b *extentMap, found func(image.Extent) error) error {
	p, moreA, err := a.next(ctx)
	if err != nil {
		return err
	}
	q, moreB, err := b.next(ctx)
	if err != nil {
		return err
	}
	var pending image.Extent
	for moreA || moreB {
		from, to, same := firstStep(p, moreA, q, moreB)
		if !same {
			if pending.Length > 0 && pending.End() != from {
				if err := found(pending); err != nil {
					return err
				}
				pending.Length = 0
			}
			if pending.Length == 0 {
				pending.Offset = from
			}
			pending.Length = to - pending.Offset
		}
		if p, moreA, err = a.from(ctx, to, p, moreA); err != nil {
			return err
		}
		if q, moreB, err = b.from(ctx, to, q, moreB); err != nil {
			return err
		}
	}
	if pending.Length > 0 {
		return found(pending)
	}
	return nil
}

// firstStep is the first range with data in either of two pieces throughout
// which both are alike: the same place, or not.
func firstStep(p piece, hasP bool, q piece, hasQ bool) (from, to int64, same bool) {
	switch {
	case !hasQ:
		return p.from, p.to, false
	case !hasP:
		return q.from, q.to, false
	case p.from < q.from:
		return p.from, min(p.to, q.from), false
	case q.from < p.from:
		return q.from, min(q.to, p.from), false
	}
	return p.from, min(p.to, q.to), p.known && q.known && p.physical == q.physical
}

// from is what is left of p behind at, or the next piece.
func (m *extentMap) from(ctx context.Context, at int64, p piece, has bool) (piece, bool, error) {
	if !has || p.from >= at {
		return p, has, nil
	}
	if p.to > at {
		p.cut(at)
		return p, true, nil
	}
	return m.next(ctx)
}
