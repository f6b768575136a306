package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// backupParams say what a backup job does.
type backupParams struct {
	Volume     volspec.VolumeID     `json:"volume"`
	Name       string               `json:"name"`
	Repository volspec.RepositoryID `json:"repository"`
	Policy     volspec.PolicyID     `json:"policy,omitempty"`
	PolicyName string               `json:"policy_name,omitempty"`
	Require    volspec.Consistency  `json:"require,omitempty"`
	Full       bool                 `json:"full,omitempty"`
	Limit      int64                `json:"limit,omitempty"`
}

// backupNotes are written before the deeds that they name.
type backupNotes struct {
	Point    volspec.PointID    `json:"point"`
	Snapshot volspec.SnapshotID `json:"snapshot"`
	Taken    *Taken             `json:"taken,omitempty"`
}

// backupResult is what a backup job leaves for people.
type backupResult struct {
	Point       volspec.PointID     `json:"point"`
	Tracking    string              `json:"tracking"`
	Consistency volspec.Consistency `json:"consistency"`
	StallMS     int64               `json:"stall_ms"`
	Stats       repository.Stats    `json:"stats"`
	Removed     int                 `json:"points_removed"`
	Summary     string              `json:"summary"`
}

// run is one backup on its way.
type run struct {
	s     *Service
	t     task
	p     backupParams
	n     backupNotes
	row   Repo
	repo  repository.Repository
	spend *spending
}

// runBackup is the handler of backup jobs. Ids are noted before the things
// they name are made, so that a repetition after a crash goes on with the same
// snapshot, and finds a point that was complete already.
func (s *Service) runBackup(ctx context.Context, t task) (err error) {
	r := &run{s: s, t: t}
	if err := t.params(&r.p); err != nil {
		return err
	}
	found, err := t.notes(&r.n)
	if err != nil {
		return err
	}
	if !found {
		r.n = backupNotes{Point: volspec.PointID(uuid.NewString()), Snapshot: volspec.SnapshotID(uuid.NewString())}
		if err := t.save(ctx, r.n); err != nil {
			return err
		}
	}
	crashpoint.Here("backup.run.noted")
	err = r.steps(ctx)
	if err == nil || t.stopping(ctx) {
		return err // what is stopped goes on with the same snapshot
	}
	clean, cancel := briefly(ctx)
	defer cancel()
	return joined(err, r.dropUnlessBase(clean))
}

func (r *run) steps(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if err := r.t.stage(ctx, "repository"); err != nil {
		return err
	}
	row, err := r.s.row(ctx, r.p.Repository)
	if err != nil {
		return err
	}
	r.row = row
	if r.repo, err = r.s.open(ctx, row); err != nil {
		return err
	}
	defer r.s.closeRepo(ctx, r.repo)
	if err := r.t.stage(ctx, "quota"); err != nil {
		return err
	}
	if r.spend, err = r.s.spend(ctx, row, stop); err != nil {
		return err
	}
	point, err := r.repo.Point(ctx, r.n.Point)
	if errkind.Is(err, errkind.NotFound) {
		point, err = r.make(ctx)
	}
	err = joined(err, r.spend.settle(ctx))
	if err != nil {
		if cause := context.Cause(ctx); errkind.Is(cause, errkind.Quota) {
			return cause
		}
		return err
	}
	return r.keep(ctx, point)
}

// closeRepo closes what was opened for reading or is flushed already.
func (s *Service) closeRepo(ctx context.Context, rp repository.Repository) {
	ctx, cancel := briefly(ctx)
	defer cancel()
	if err := rp.Close(ctx); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("repository was not closed cleanly")
	}
}

// make takes the snapshot and stores it.
func (r *run) make(ctx context.Context) (repository.Point, error) {
	if err := r.t.stage(ctx, "snapshot"); err != nil {
		return repository.Point{}, err
	}
	taken, err := r.s.o.Volumes.TakeSnapshot(ctx, r.p.Volume, r.n.Snapshot, snapshotOwner, r.p.Require)
	if err != nil {
		return repository.Point{}, err
	}
	if r.n.Taken == nil || taken.At.After(r.n.Taken.At) {
		r.n.Taken = &taken
		if err := r.t.save(ctx, r.n); err != nil {
			return repository.Point{}, err
		}
	}
	crashpoint.Here("backup.run.snapshot")
	if taken.Note != "" {
		r.t.warn(taken.Note)
	}
	if err := r.t.stage(ctx, "plan"); err != nil {
		return repository.Point{}, err
	}
	d, err := r.decide(ctx)
	if err != nil {
		return repository.Point{}, err
	}
	if err := r.t.stage(ctx, "copy"); err != nil {
		return repository.Point{}, err
	}
	point, err := r.write(ctx, d)
	if tracking, ok := errors.AsType[*repository.TrackingError](err); ok {
		r.t.warn(tracking.Error() + ": everything is read instead")
		d.base, d.why = "", "full read: "+tracking.Error()
		point, err = r.write(ctx, d)
	}
	if err != nil {
		return point, err
	}
	crashpoint.Here("backup.run.written")
	if err := r.t.stage(ctx, "check"); err != nil {
		return point, err
	}
	return point, r.check(ctx, point, d.base == "")
}

// check looks for what was just written, as any later reader would find it.
// That the place is still the one that was opened, the repository proved with
// every write. A full read looks for every block too; an increment must not
// cost what the disk costs.
func (r *run) check(ctx context.Context, point repository.Point, full bool) error {
	_, err := r.repo.Point(ctx, point.ID)
	if err != nil {
		return errkind.Wrap(errkind.Of(err), err, "the recovery point that was just written cannot be found again in repository %s", r.row.Name)
	}
	if !full {
		return nil
	}
	v, err := r.repo.Verify(ctx, point.ID, repository.Verify{Mode: repository.Quick}, nil)
	if err == nil && v.Lost > 0 {
		err = errkind.New(errkind.Corrupt, "the recovery point that was just written is damaged in repository %s: %s", r.row.Name, v.Why)
	}
	return err
}

func (r *run) decide(ctx context.Context) (decision, error) {
	f := facts{full: r.p.Full, size: r.n.Taken.Size}
	err := r.s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Points(PointQuery{Repository: r.row.ID, VolumeID: r.p.Volume})
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.good() {
				f.parents = append(f.parents, p)
			}
		}
		bases, err := tx.Bases(r.p.Volume)
		for _, b := range bases {
			if b.Repository == r.row.ID {
				f.base = &b
			}
		}
		return err
	})
	if err != nil {
		return decision{}, err
	}
	owned, err := r.s.o.Volumes.Snapshots(ctx)
	for _, sn := range owned {
		if sn.Volume == r.p.Volume {
			f.kept = append(f.kept, sn.ID)
		}
	}
	return plan(f), err
}

// write stores the snapshot by the decision.
func (r *run) write(ctx context.Context, d decision) (repository.Point, error) {
	img, err := r.s.o.Volumes.OpenSnapshot(ctx, r.p.Volume, r.n.Snapshot)
	if err != nil {
		return repository.Point{}, err
	}
	defer img.Close() //nolint:errcheck // only read
	b := repository.Backup{
		Image: img, Parent: d.parent, Sample: r.s.o.Sample, Streams: r.s.o.Streams,
		Limit: r.p.Limit,
	}
	if d.base != "" {
		changed := r.s.o.Volumes.Changed(ctx, r.p.Volume, d.base, r.n.Snapshot)
		switch err := peek(changed); {
		case err == nil:
			b.Changed = changed
		case ctx.Err() != nil:
			return repository.Point{}, err
		default:
			d.why = "full read: " + errkind.Text(err)
		}
	}
	if b.Point, err = r.describe(d); err != nil {
		return repository.Point{}, err
	}
	return r.repo.Write(ctx, b, func(p repository.Progress) {
		r.spend.wrote(p.Stored)
		r.t.report(p)
	})
}

// describe is what the repository keeps of the volume with the point.
func (r *run) describe(d decision) (repository.Point, error) {
	v := r.n.Taken.Volume
	meta, err := json.Marshal(pointMeta{
		Spec: v.Spec, FSUUID: v.FSUUID, FSSize: v.FSSize, Format: v.Format,
		StallMS: r.n.Taken.Stall.Milliseconds(), Note: r.n.Taken.Note, Policy: r.p.PolicyName,
	})
	return repository.Point{
		ID: r.n.Point,
		Source: repository.Source{
			Tenant: string(v.Group.ID), TenantName: v.Group.Name, Volume: v.ID, Name: v.Name.String(),
		},
		Created: r.n.Taken.At, Consistency: r.n.Taken.Consistency, Tracking: d.why, Meta: meta,
	}, errkind.Wrap(errkind.Internal, err, "describe the volume")
}

// keep records the point and the snapshot for the next increment, then lets
// go of what they replace and applies the policy's retention.
func (r *run) keep(ctx context.Context, point repository.Point) error {
	if err := r.t.stage(ctx, "record"); err != nil {
		return err
	}
	rec := r.s.foundPoint(r.row, point)
	if err := r.s.recordPoint(ctx, rec, r.base(ctx, point)); err != nil {
		return err
	}
	crashpoint.Here("backup.run.recorded")
	if err := r.t.stage(ctx, "release"); err != nil {
		return err
	}
	if err := r.s.sweepVolume(ctx, r.p.Volume, r.n.Snapshot); err != nil {
		r.t.warn("a snapshot that is not needed any more could not be removed yet: " + errkind.Text(err))
	}
	if err := r.dropUnlessBase(ctx); err != nil {
		r.t.warn("the snapshot of this backup could not be removed yet: " + errkind.Text(err))
	}
	if err := r.t.stage(ctx, "retention"); err != nil {
		return err
	}
	removed, err := r.s.retain(ctx, r.p.Policy, r.row, r.repo, r.p.Volume)
	if err != nil {
		r.t.warn("old recovery points could not be removed: " + errkind.Text(err))
	}
	if err := r.s.measure(ctx, r.row, r.repo); err != nil {
		r.t.warn("the repository could not be measured: " + errkind.Text(err))
	}
	if err := r.s.reverify(ctx, r.row, r.p.Volume); err != nil {
		r.t.warn("damaged recovery points could not be looked at again yet: " + errkind.Text(err))
	}
	res := backupResult{Point: point.ID, Tracking: point.Tracking, Consistency: point.Consistency, Stats: point.Stats, Removed: removed}
	if r.n.Taken != nil {
		res.StallMS = r.n.Taken.Stall.Milliseconds()
	}
	res.Summary = fmt.Sprintf("%s read, %s stored, %s", amount(point.Stats.Read), amount(point.Stats.Stored), point.Tracking)
	r.t.result(res)
	return nil
}

// base is the record of the snapshot for the next increment, nil where the
// storage cannot compare snapshots: it would only take room.
func (r *run) base(ctx context.Context, point repository.Point) *Base {
	if err := peek(r.s.o.Volumes.Changed(ctx, r.p.Volume, r.n.Snapshot, r.n.Snapshot)); err != nil {
		return nil
	}
	return &Base{Volume: r.p.Volume, Repository: r.row.ID, Snapshot: r.n.Snapshot, Point: point.ID, Size: volspec.Size(point.Size)}
}

// dropUnlessBase removes the job's snapshot if nothing will start from it.
func (r *run) dropUnlessBase(ctx context.Context) error {
	base := false
	err := r.s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Bases(r.p.Volume)
		for _, b := range all {
			base = base || b.Snapshot == r.n.Snapshot
		}
		return err
	})
	if err != nil || base {
		return err
	}
	return r.s.o.Volumes.DropSnapshot(ctx, r.p.Volume, r.n.Snapshot)
}

// recordPoint writes a point and the base that goes with it. Without one an
// older base stays: its snapshot and point still match.
func (s *Service) recordPoint(ctx context.Context, p Point, b *Base) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if have, err := tx.Point(p.ID); err == nil { // found by a look at the repository meanwhile
			p.State, p.Hold = have.State, have.Hold
			p.Body.VerifiedAt, p.Body.ProvenAt, p.Body.Damage = have.Body.VerifiedAt, have.Body.ProvenAt, have.Body.Damage
		} else if !errkind.Is(err, errkind.NotFound) {
			return err
		}
		if err := tx.PutPoint(p); err != nil {
			return err
		}
		if b == nil {
			return nil
		}
		return tx.PutBase(*b)
	})
}

// amount is a number of bytes as people read it.
func amount(n int64) string {
	if n == 0 {
		return "0B"
	}
	return volspec.Size(n).Table()
}

// timeout of a look at the repository in the background.
const lookLimit = 10 * time.Minute
