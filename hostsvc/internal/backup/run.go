package backup

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
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
	writing
	p backupParams
	n backupNotes
}

// runBackup is the handler of backup jobs. Ids are noted before the things
// they name are made, so that a repetition after a crash goes on with the same
// snapshot, and finds a point that was complete already.
func (s *Service) runBackup(ctx context.Context, t task) (err error) {
	r := &run{writing: writing{s: s, t: t}}
	if err := t.params(&r.p); err != nil {
		return err
	}
	r.limit = r.p.Limit
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
	defer r.end(ctx)
	if err := r.begin(ctx, r.p.Repository, stop); err != nil {
		return err
	}
	point, err := r.repo.Point(ctx, r.n.Point)
	if errkind.Is(err, errkind.NotFound) {
		point, err = r.make(ctx)
	}
	if err := r.settle(ctx, err); err != nil {
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
	point, full, err := r.store(ctx, source{
		size: int64(r.n.Taken.Size),
		open: func(ctx context.Context) (image.Image, error) {
			return r.s.o.Volumes.OpenSnapshot(ctx, r.p.Volume, r.n.Snapshot)
		},
		changed: func(ctx context.Context, d decision) image.Extents {
			if d.change != "" {
				return r.s.o.Volumes.ChangedSince(ctx, r.p.Volume, d.change, r.n.Snapshot)
			}
			return r.s.o.Volumes.Changed(ctx, r.p.Volume, d.base, r.n.Snapshot)
		},
		describe: r.describe,
	}, d)
	if err != nil {
		return point, err
	}
	crashpoint.Here("backup.run.written")
	if err := r.t.stage(ctx, "check"); err != nil {
		return point, err
	}
	return point, r.check(ctx, point, full)
}

func (r *run) decide(ctx context.Context) (decision, error) {
	f, err := r.facts(ctx, r.p.Volume)
	if err != nil {
		return decision{}, err
	}
	f.full, f.size = r.p.Full, r.n.Taken.Size
	owned, err := r.s.o.Volumes.Snapshots(ctx)
	for _, sn := range owned {
		if sn.Volume == r.p.Volume {
			f.kept = append(f.kept, sn.ID)
		}
	}
	return plan(f), err
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

// keep records the point with what the next increment starts from, then lets go
// of the snapshots that are not needed for that and applies the policy's
// retention.
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

// base is what the next increment starts from: the moment of the snapshot where
// the storage has one, else the snapshot itself, which then stays. It is nil
// where the storage cannot compare snapshots: one would only take room. Of a
// snapshot that is gone an earlier attempt has recorded it.
func (r *run) base(ctx context.Context, point repository.Point) *Base {
	b := &Base{Volume: r.p.Volume, Repository: r.row.ID, Point: point.ID, Size: volspec.Size(point.Size)}
	var err error
	if b.Change, err = r.s.o.Volumes.Moment(ctx, r.p.Volume, r.n.Snapshot); err != nil {
		if !errkind.Is(err, errkind.NotFound) {
			r.t.warn("the next backup may read more than what has changed: " + errkind.Text(err))
		}
		return nil
	}
	if b.Change != "" {
		return b
	}
	if err := peek(r.s.o.Volumes.Changed(ctx, r.p.Volume, r.n.Snapshot, r.n.Snapshot)); err != nil {
		return nil
	}
	b.Snapshot = r.n.Snapshot
	return b
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
// older base stays: its snapshot or moment and its point still match.
func (s *Service) recordPoint(ctx context.Context, p Point, b *Base) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if err := putFound(tx, p); err != nil || b == nil {
			return err
		}
		return tx.PutBase(*b)
	})
}

// putFound writes a point that a look at the repository may have found
// meanwhile.
func putFound(tx Tx, p Point) error {
	have, err := tx.Point(p.ID)
	switch {
	case err == nil:
		p.State, p.Hold = have.State, have.Hold
		p.Body.VerifiedAt, p.Body.ProvenAt, p.Body.Damage = have.Body.VerifiedAt, have.Body.ProvenAt, have.Body.Damage
	case !errkind.Is(err, errkind.NotFound):
		return err
	}
	return tx.PutPoint(p)
}

// amount is a number of bytes as people read it.
func amount(n int64) string {
	return volspec.Size(n).Rounded()
}
