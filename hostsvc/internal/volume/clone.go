package volume

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// cloneSource finds and locks the volume that spec is to be a clone of; nil
// when it is to be none. Source and clone are always of one vmgroup: the name
// is looked up in the caller's. A name without datastore means the datastore
// of the clone.
func (s *Service) cloneSource(ctx context.Context, c volspec.Caller, group string, dst volspec.Name, spec volspec.Spec, stores []string) (*source, func(), error) {
	nothing := func() {}
	if spec.CloneFrom == "" {
		return nil, nothing, nil
	}
	n, err := volspec.ParseName(spec.CloneFrom)
	if err != nil {
		return nil, nothing, err
	}
	if n.Datastore == "" {
		err = s.o.Store.View(ctx, func(tx Tx) error {
			t, err := s.locate(tx, c, group, dst, stores)
			n.Datastore = t.key.Datastore
			return err
		})
		if err != nil {
			return nil, nothing, err
		}
	}
	rec, _, unlock, err := s.findLocked(ctx, c, group, n.String(), volspec.DoMount)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "Could not find volume for cloning %s", spec.CloneFrom)
	}
	if err != nil {
		return nil, nothing, err
	}
	src := &source{rec: rec}
	if err := s.ripe(ctx, src, spec.FromSnapshot); err != nil {
		unlock()
		return nil, nothing, err
	}
	return src, unlock, nil
}

// ripe checks that the source can be copied now and finds its snapshot.
func (s *Service) ripe(ctx context.Context, src *source, snapshot string) error {
	r := src.rec
	switch {
	case r.ViewOf != "":
		return s.onlyShown(r, "cloned")
	case r.Op.Kind == OpReplace:
		return s.busy(r)
	case r.State != volspec.Ready:
		return errkind.New(errkind.Unavailable, "volume %s is still being created: clone it when it is ready", r.Name())
	case r.Format == volspec.Formatting:
		return errkind.New(errkind.InUse, "volume %s is being formatted: clone it when its first mount has ended", r.Name())
	}
	if snapshot == "" {
		return nil
	}
	snap, err := s.snapshotByName(ctx, r, snapshot)
	src.snap = snap.ID
	src.rec.Size = snap.Size
	return err
}

// describe makes rec a copy of the source with its size, rounded for its
// datastore: filesystem and what is known of it. The filesystem's UUID is the
// clone's own; the guest renews it before the first mount.
func (src *source) describe(rec *Record, size volspec.Size) {
	from := src.rec
	rec.Size, rec.FSSize = size, from.FSSize
	rec.Format = from.Format
	rec.Spec.Size, rec.Spec.FSType, rec.Spec.MkfsOpts = size, from.Spec.FSType, from.Spec.MkfsOpts
	if rec.Spec.MountOpts == nil {
		rec.Spec.MountOpts = from.Spec.MountOpts
	}
	rec.CloneFrom = rec.Spec.CloneFrom
}
