package backup

import (
	"context"
	"fmt"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// pointParams say which point a job is about.
type pointParams struct {
	Point      volspec.PointID       `json:"point"`
	Name       string                `json:"name"` // volume@datastore, for people
	Repository volspec.RepositoryID  `json:"repository"`
	Mode       repository.VerifyMode `json:"mode,omitempty"`
	Share      float64               `json:"share,omitempty"`
	Limit      int64                 `json:"limit,omitempty"`
	To         volspec.RepositoryID  `json:"to,omitempty"`
	Policy     volspec.PolicyID      `json:"policy,omitempty"` // whose retention a copy is followed by
	Disks      []volspec.PointID     `json:"disks,omitempty"`  // where Point is a VM's
}

// verifyResult is what a verification leaves for people.
type verifyResult struct {
	Point   volspec.PointID       `json:"point"`
	Mode    repository.VerifyMode `json:"mode"`
	Blocks  int64                 `json:"blocks"`
	Bytes   int64                 `json:"bytes"`
	Lost    int64                 `json:"lost"`
	Summary string                `json:"summary"`
}

// runVerify is the handler of verify jobs. Damage makes the job fail and the
// point damaged; only a full look makes it verified.
func (s *Service) runVerify(ctx context.Context, t task) error {
	var p pointParams
	if err := t.params(&p); err != nil {
		return err
	}
	if err := t.stage(ctx, "repository"); err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(r Repo, rp repository.Repository) error {
		if err := t.stage(ctx, "verify"); err != nil {
			return err
		}
		if len(p.Disks) > 0 {
			return s.verifySet(ctx, t, r, rp, p)
		}
		v, err := rp.Verify(ctx, p.Point, repository.Verify{Mode: p.Mode, Share: p.Share, Streams: s.o.Streams, Limit: p.Limit}, t.report)
		if err != nil {
			return err
		}
		if err := t.stage(ctx, "record"); err != nil {
			return err
		}
		res := verifyResult{Point: p.Point, Mode: p.Mode, Blocks: v.Blocks, Bytes: v.Bytes, Lost: v.Lost}
		res.Summary = fmt.Sprintf("%d blocks looked at, %s read back and hashed", v.Blocks, amount(v.Bytes))
		if v.Lost > 0 {
			res.Summary = fmt.Sprintf("%s cannot be read: %s", amount(v.Lost), v.Why)
		}
		t.result(res)
		return s.judge(ctx, r, p, v)
	})
}

// verifySet verifies the points of all disks of a VM; the worst is the result.
func (s *Service) verifySet(ctx context.Context, t task, r Repo, rp repository.Repository, p pointParams) error {
	res := verifyResult{Point: p.Point, Mode: p.Mode}
	var failed error
	for i, id := range p.Disks {
		v, err := rp.Verify(ctx, id, repository.Verify{Mode: p.Mode, Share: p.Share, Streams: s.o.Streams, Limit: p.Limit}, func(pr repository.Progress) {
			pr.Done, pr.Read = res.Bytes+pr.Done, res.Bytes+pr.Read
			if i < len(p.Disks)-1 {
				pr.Total = 0 // not known before the last disk
			} else {
				pr.Total += res.Bytes
			}
			t.report(pr)
		})
		if err != nil {
			return err
		}
		res.Blocks, res.Bytes, res.Lost = res.Blocks+v.Blocks, res.Bytes+v.Bytes, res.Lost+v.Lost
		one := p
		one.Point = id
		failed = joined(failed, s.judge(ctx, r, one, v))
	}
	res.Summary = fmt.Sprintf("%d blocks of %d disks looked at, %s read back and hashed", res.Blocks, len(p.Disks), amount(res.Bytes))
	if res.Lost > 0 {
		res.Summary = amount(res.Lost) + " cannot be read"
	}
	t.result(res)
	return failed
}

// judge records what a verification found.
func (s *Service) judge(ctx context.Context, r Repo, p pointParams, v repository.Verified) error {
	err := s.setProof(ctx, p.Point, func(rec *Point) {
		switch {
		case v.Lost > 0:
			rec.State, rec.Body.Damage = volspec.Damaged, damageText(v)
		case p.Mode == repository.Full:
			rec.Body.VerifiedAt, rec.Body.Damage = now(), ""
			if rec.State != volspec.Proven {
				rec.State = volspec.Verified
			}
		}
	})
	if err != nil {
		return err
	}
	if v.Lost == 0 {
		if p.Mode != repository.Full {
			return nil
		}
		return s.clear(ctx, r.Group, alarmDamage, string(p.Point), fmt.Sprintf("recovery point %s of %s is whole again", p.Point, p.Name))
	}
	err = errkind.New(errkind.Corrupt, "recovery point %s of %s in repository %s is damaged: %s; the next backup of the volume heals what it still has", p.Point, p.Name, r.Name, damageText(v))
	return joined(err, s.raise(ctx, r.Group, alarmDamage, string(p.Point), errkind.Text(err)))
}

func damageText(v repository.Verified) string {
	if len(v.Damaged) == 0 {
		return v.Why
	}
	e := v.Damaged[0]
	return fmt.Sprintf("%s are lost, first at byte %d (%s)", amount(v.Lost), e.Offset, v.Why)
}

// setProof changes what is known of a point. One that is gone: nil.
func (s *Service) setProof(ctx context.Context, id volspec.PointID, fn func(*Point)) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		rec, err := tx.Point(id)
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		fn(&rec)
		return tx.PutPoint(rec)
	})
}

// drillResult is what a drill leaves for people.
type drillResult struct {
	Point   volspec.PointID `json:"point"`
	Summary string          `json:"summary"`
	Drilled
}

// runDrill is the handler of drill jobs: the point is restored to scratch,
// compared, its filesystem checked and mounted.
func (s *Service) runDrill(ctx context.Context, t task) error {
	var p pointParams
	if err := t.params(&p); err != nil {
		return err
	}
	if err := t.stage(ctx, "repository"); err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(r Repo, rp repository.Repository) error {
		if len(p.Disks) > 0 {
			return s.drillSet(ctx, t, r, rp, p)
		}
		img, err := rp.Open(ctx, p.Point)
		if err != nil {
			return err
		}
		defer img.Close() //nolint:errcheck // only read
		if err := t.stage(ctx, "drill"); err != nil {
			return err
		}
		d, err := s.o.Files.Drill(ctx, img, false, func(done, total int64) {
			t.report(repository.Progress{Done: done, Total: total, Read: done})
		})
		if err != nil {
			return err
		}
		res := drillResult{Point: p.Point, Drilled: d}
		res.Summary = fmt.Sprintf("restored, compared (%s), checked and mounted: %d files", amount(d.Bytes), d.Files)
		if d.Filesystem == "" {
			res.Summary = fmt.Sprintf("restored and compared (%s); the volume was never formatted", amount(d.Bytes))
		}
		if d.Failed != "" {
			res.Summary = d.Failed + ": " + d.Why
		}
		t.result(res)
		if d.Failed != "" {
			err := errkind.New(errkind.Corrupt, "the drill of recovery point %s of %s failed in step %s: %s", p.Point, p.Name, d.Failed, d.Why)
			return joined(err, s.raise(ctx, r.Group, alarmDrill, p.Name, errkind.Text(err)))
		}
		if err := t.stage(ctx, "record"); err != nil {
			return err
		}
		err = s.setProof(ctx, p.Point, proven)
		return joined(err, s.clear(ctx, r.Group, alarmDrill, p.Name, "the drill of "+p.Name+" succeeds again"))
	})
}

// proven is what a drill that succeeded says of a point.
func proven(rec *Point) {
	rec.State, rec.Body.ProvenAt, rec.Body.VerifiedAt, rec.Body.Damage = volspec.Proven, now(), now(), ""
}

// copyResult is what a copy leaves for people.
type copyResult struct {
	Point   volspec.PointID  `json:"point"`
	Stats   repository.Stats `json:"stats"`
	Removed int              `json:"points_removed"`
	Summary string           `json:"summary"`
}

// runCopy is the handler of copy jobs. The id of the copy follows from the
// point and the repository, so a repetition is the same copy.
func (s *Service) runCopy(ctx context.Context, t task) error {
	var p pointParams
	if err := t.params(&p); err != nil {
		return err
	}
	if len(p.Disks) > 0 {
		return s.copySet(ctx, t, p)
	}
	id := copyID(p.Point, p.To)
	if err := t.stage(ctx, "repositories"); err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(_ Repo, src repository.Repository) error {
		return s.with(ctx, p.To, func(r Repo, dst repository.Repository) error {
			return s.copyPoint(ctx, t, p, id, src, r, dst)
		})
	})
}

func (s *Service) copyPoint(ctx context.Context, t task, p pointParams, id volspec.PointID, src repository.Repository, r Repo, dst repository.Repository) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	spend, err := s.spend(ctx, r, stop)
	if err != nil {
		return err
	}
	from, err := src.Point(ctx, p.Point)
	if err != nil {
		return err
	}
	parent, err := s.newestIn(ctx, r.ID, from.Source.Volume)
	if err != nil {
		return err
	}
	if err := t.stage(ctx, "copy"); err != nil {
		return err
	}
	point, err := src.Copy(ctx, p.Point, dst, id, parent, p.Limit, func(pr repository.Progress) {
		spend.wrote(pr.Stored)
		t.report(pr)
	})
	err = joined(err, spend.settle(ctx))
	if err != nil {
		if cause := context.Cause(ctx); errkind.Is(cause, errkind.Quota) {
			return cause
		}
		return err
	}
	if err := t.stage(ctx, "record"); err != nil {
		return err
	}
	if err := s.recordPoint(ctx, s.foundPoint(r, point), nil); err != nil {
		return err
	}
	if err := t.stage(ctx, "retention"); err != nil {
		return err
	}
	removed, err := s.retain(ctx, p.Policy, r, dst, from.Source.Volume)
	if err != nil {
		t.warn("old recovery points could not be removed: " + errkind.Text(err))
	}
	if err := s.measure(ctx, r, dst); err != nil {
		t.warn("the repository could not be measured: " + errkind.Text(err))
	}
	t.result(copyResult{Point: id, Stats: point.Stats, Removed: removed, Summary: fmt.Sprintf("%s stored in %s", amount(point.Stats.Stored), r.Name)})
	return nil
}

// newestIn is the newest good point of a volume in a repository, "" for none.
func (s *Service) newestIn(ctx context.Context, r volspec.RepositoryID, v volspec.VolumeID) (id volspec.PointID, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Points(PointQuery{Repository: r, VolumeID: v})
		for _, p := range all {
			if p.good() {
				id = p.ID
				break
			}
		}
		return err
	})
	return id, err
}
