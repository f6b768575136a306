package backup

import (
	"context"
	"errors"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// writing is what backups of volumes and of VMs share: images on their way
// into one repository.
type writing struct {
	s     *Service
	t     task
	row   Repo
	repo  repository.Repository
	spend *spending
	limit int64 // bytes per second, 0: none

	label  string              // of the image in warnings, "" for the only one
	before repository.Progress // of the images that are stored already
	total  int64               // bytes of all images, 0 for the only one
}

// source is one image to be stored. describe is called for every attempt, with
// how changes are found in it.
type source struct {
	size     int64
	open     func(context.Context) (image.Image, error)
	changed  func(context.Context, decision) image.Extents
	describe func(decision) (repository.Point, error)
}

// begin opens the repository and asks the quota; end goes with it, whatever
// begin returned. stop ends the work when the quota is reached on the way.
func (w *writing) begin(ctx context.Context, id volspec.RepositoryID, stop context.CancelCauseFunc) error {
	if err := w.t.stage(ctx, "repository"); err != nil {
		return err
	}
	row, err := w.s.row(ctx, id)
	if err != nil {
		return err
	}
	w.row = row
	if w.repo, err = w.s.open(ctx, row); err != nil {
		return err
	}
	if err := w.t.stage(ctx, "quota"); err != nil {
		return err
	}
	w.spend, err = w.s.spend(ctx, row, stop)
	return err
}

func (w *writing) end(ctx context.Context) {
	if w.repo != nil {
		w.s.closeRepo(ctx, w.repo)
	}
}

// settle moves what was written into the catalog, and names a reached quota as
// the reason of what ended by it.
func (w *writing) settle(ctx context.Context, err error) error {
	err = joined(err, w.spend.settle(ctx))
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); errkind.Is(cause, errkind.Quota) {
		return cause
	}
	return err
}

// setMaker makes a set of points in one repository, whole or not at all.
type setMaker interface {
	make(ctx context.Context) ([]repository.Point, error)
	keep(ctx context.Context, points []repository.Point) error
	// undo removes what make has stored.
	undo(ctx context.Context) error
}

// makeSet opens the repository and has m make and keep a set. What fails is
// undone; what is stopped goes on in the next attempt.
func (w *writing) makeSet(ctx context.Context, id volspec.RepositoryID, m setMaker) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer w.end(ctx)
	if err := w.begin(ctx, id, stop); err != nil {
		return err
	}
	points, err := m.make(ctx)
	if err = w.settle(ctx, err); err == nil {
		return m.keep(ctx, points)
	}
	if w.t.stopping(ctx) {
		return err
	}
	clean, cancel := briefly(ctx)
	defer cancel()
	return joined(err, m.undo(clean))
}

// facts are what the catalog knows for the plan of an image's backup.
func (w *writing) facts(ctx context.Context, id volspec.VolumeID) (f facts, err error) {
	err = w.s.o.Store.View(ctx, func(tx Tx) error {
		f = facts{}
		all, err := tx.Points(PointQuery{Repository: w.row.ID, VolumeID: id})
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.good() {
				f.parents = append(f.parents, p)
			}
		}
		bases, err := tx.Bases(id)
		for _, b := range bases {
			if b.Repository == w.row.ID {
				f.base = &b
			}
		}
		return err
	})
	return f, err
}

// store writes an image by the decision, and once more with everything read
// when the change tracking did not tell of a change. full tells of the latter
// and of a decision for it.
func (w *writing) store(ctx context.Context, src source, d decision) (point repository.Point, full bool, err error) {
	point, err = w.write(ctx, src, d)
	if tracking, ok := errors.AsType[*repository.TrackingError](err); ok {
		w.warn(tracking.Error() + ": everything is read instead")
		d = d.reading(tracking.Error())
		point, err = w.write(ctx, src, d)
	}
	if err == nil {
		w.before.Done += src.size
		w.before.Read += point.Stats.Read
		w.before.Stored += point.Stats.Stored
	}
	return point, d.full(), err
}

func (w *writing) warn(text string) {
	if w.label != "" {
		text = w.label + ": " + text
	}
	w.t.warn(text)
}

func (w *writing) write(ctx context.Context, src source, d decision) (repository.Point, error) {
	img, err := src.open(ctx)
	if err != nil {
		return repository.Point{}, err
	}
	defer img.Close() //nolint:errcheck // only read
	b := repository.Backup{Image: img, Parent: d.parent, Sample: w.s.o.Sample, Streams: w.s.o.Streams, Limit: w.limit}
	if !d.full() {
		changed := src.changed(ctx, d)
		switch err := peek(changed); {
		case err == nil:
			b.Changed = changed
		case ctx.Err() != nil:
			return repository.Point{}, err
		default:
			d.why = "full read: " + errkind.Text(err)
		}
	}
	if b.Point, err = src.describe(d); err != nil {
		return repository.Point{}, err
	}
	return w.repo.Write(ctx, b, func(p repository.Progress) {
		w.spend.wrote(w.before.Stored + p.Stored)
		if w.total > 0 {
			p = repository.Progress{Done: w.before.Done + p.Done, Total: w.total, Read: w.before.Read + p.Read, Stored: w.before.Stored + p.Stored}
		}
		w.t.report(p)
	})
}

// check looks for what was just written, as any later reader would find it.
// That the place is still the one that was opened, the repository proved with
// every write. A full read looks for every block too; an increment must not
// cost what the disk costs.
func (w *writing) check(ctx context.Context, point repository.Point, full bool) error {
	_, err := w.repo.Point(ctx, point.ID)
	if err != nil {
		return errkind.Wrap(errkind.Of(err), err, "the recovery point that was just written cannot be found again in repository %s", w.row.Name)
	}
	if !full {
		return nil
	}
	v, err := w.repo.Verify(ctx, point.ID, repository.Verify{Mode: repository.Quick}, nil)
	if err == nil && v.Lost > 0 {
		err = errkind.New(errkind.Corrupt, "the recovery point that was just written is damaged in repository %s: %s", w.row.Name, v.Why)
	}
	return err
}

// forget deletes points that the catalog may not know yet. It is told first: a
// look at the repository must not take them for lost.
func (w *writing) forget(ctx context.Context, ids []volspec.PointID) error {
	for _, id := range ids {
		p, err := w.repo.Point(ctx, id)
		if errkind.Is(err, errkind.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rec := w.s.foundPoint(w.row, p)
		rec.Deleting = true
		if err := w.s.o.Store.Update(ctx, func(tx Tx) error { return tx.PutPoint(rec) }); err != nil {
			return err
		}
		if err := w.s.dropPoint(ctx, w.repo, rec, func(Tx) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}
