package volume

import (
	"context"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// View is a volume that shows a recovery point. Its name is in a datastore's
// namespace like any other, its disk on volspec.PointsDatastore.
type View struct {
	Group volspec.VMGroupID
	ID    volspec.VolumeID
	Point volspec.PointID
}

// Views are the views that must be open while the host service runs: backup
// opens them again at start, and Attach opens the one it needs.
func (s *Service) Views(ctx context.Context) ([]View, error) {
	all, err := s.views(ctx)
	out := make([]View, 0, len(all))
	for _, r := range all {
		if r.State == volspec.Ready {
			out = append(out, View{Group: r.Key.Group, ID: r.ID, Point: r.ViewOf})
		}
	}
	return out, err
}

// ViewsOf names the volumes that show a point, also those that are only
// coming or going. While there are any the point must stay.
func (s *Service) ViewsOf(ctx context.Context, p volspec.PointID) ([]string, error) {
	all, err := s.views(ctx)
	var names []string
	for _, r := range all {
		if r.ViewOf == p {
			names = append(names, r.Name().String())
		}
	}
	return names, err
}

func (s *Service) views(ctx context.Context) (all []Record, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err = tx.Volumes(Filter{Views: true})
		return err
	})
	return all, err
}

// createView makes a volume that shows a point; the lock of its name is held.
// It takes no room, so only the right to create is asked for.
func (s *Service) createView(ctx context.Context, c volspec.Caller, group string, q order) (wire.Volume, error) {
	if q.have != nil && q.have.State == volspec.Ready {
		return s.asBefore(ctx, q)
	}
	p, err := s.resolve(ctx, &q)
	if err != nil {
		return wire.Volume{}, err
	}
	if p.Format == volspec.Blank {
		return wire.Volume{}, errkind.New(errkind.Invalid, "volume %s cannot show recovery point %s: volume %s was never formatted then, there is nothing to see", q.name, p.ID, p.Volume)
	}
	rec := s.newRecord(c, q.spec, OpCreate)
	p.describe(&rec, p.Size)
	rec.ViewOf = p.ID

	unlock, err := s.lock(ctx, lockKey{id: rec.ID}, "create")
	if err != nil {
		return wire.Volume{}, err
	}
	defer unlock()
	existing, err := s.reserve(ctx, c, group, q, &rec)
	switch {
	case err != nil:
		return wire.Volume{}, err
	case existing != nil:
		return s.present(ctx, *existing)
	}
	crashpoint.Here("volume.view.intent")
	if rec, err = s.makeView(ctx, rec); err != nil {
		return wire.Volume{}, err
	}
	log.G(log.With(ctx, log.Volume, rec.Name().String())).Info("volume shows a recovery point")
	return s.present(ctx, rec)
}

// makeView is deed and record of a view; on failure nothing is left.
func (s *Service) makeView(ctx context.Context, rec Record) (_ Record, err error) {
	u := undo.New()
	defer func() { err = joined(err, u.Run(ctx)) }()
	u.Add("forget the view", func(ctx context.Context) error { return s.dropDisk(ctx, rec) })
	if err = s.openView(ctx, rec); err != nil {
		return rec, err
	}
	crashpoint.Here("volume.view.open")
	if rec, err = s.end(ctx, rec.ID, func(r *Record) { r.State = volspec.Ready }); err != nil {
		return rec, err
	}
	u.Keep()
	return rec, nil
}

// openView makes the disk of a view appear. Of another volume: nothing to do.
func (s *Service) openView(ctx context.Context, r Record) error {
	switch {
	case r.ViewOf == "":
		return nil
	case s.o.Points == nil:
		return errkind.New(errkind.Unsupported, "volume %s shows a recovery point, and backup is not configured any more: ask the administrator to put it back into the configuration of mooringd", r.Name())
	}
	return s.o.Points.OpenView(ctx, r.ref().Group, r.ID, r.ViewOf)
}

// closeView ends a view. Without backup there is nothing that could be open.
func (s *Service) closeView(ctx context.Context, r Record) error {
	if s.o.Points == nil {
		return nil
	}
	return s.o.Points.CloseView(ctx, r.ref().Group, r.ID)
}

// onlyShown refuses what cannot be done to a view.
func (s *Service) onlyShown(r Record, what string) error {
	return errkind.New(errkind.Invalid, "volume %s shows a recovery point and cannot be %s: make a copy of the point with -o restore-from=%s", r.Name(), what, r.ViewOf)
}
