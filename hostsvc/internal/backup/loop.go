package backup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Ticker enqueues what is due; satisfied by job.Runner.
type Ticker interface {
	Tick(ctx context.Context, at time.Time, all []job.Scheduled) error
}

// Recover finishes or undoes what a dead process left: creations of
// repositories, snapshots that nobody needs. Call it before the queue runs.
// What cannot be done now is tried again by Run.
func (s *Service) Recover(ctx context.Context) error {
	var repos []Repo
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		repos, err = tx.Repositories("")
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range repos {
		if r.State != repoCreating {
			continue
		}
		if err := s.settleRepo(ctx, r); err != nil {
			log.G(ctx).WithField("repository", r.Name).WithField(log.Err, err.Error()).Warn("interrupted creation of a repository could not be settled yet")
		}
	}
	if err := s.sweepBases(ctx); err != nil {
		return err
	}
	if err := s.sweepSnapshots(ctx); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("snapshots of earlier backups could not be removed yet")
	}
	return nil
}

// schedulePause is between two looks at the schedules.
const schedulePause = 5 * time.Second

// Run enqueues what policies ask for, watches ages and places, and closes
// what is not used any more, until ctx ends.
func (s *Service) Run(ctx context.Context, queue Ticker) error {
	schedules := time.NewTicker(schedulePause)
	defer schedules.Stop()
	looks := time.NewTicker(s.o.Tick)
	defer looks.Stop()
	defer func() {
		ctx, cancel := briefly(ctx)
		defer cancel()
		s.sessions.dropAll(ctx)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-schedules.C:
			s.complain(ctx, "schedules cannot be looked at", s.tick(ctx, queue))
		case <-looks.C:
			s.sessions.dropIdle(ctx, time.Now().Add(-sessionIdle))
			s.complain(ctx, "ages of recovery points cannot be looked at", s.watchAges(ctx))
			s.complain(ctx, "repositories cannot be looked at", s.watchPlaces(ctx))
			s.complain(ctx, "jobs that wait for a transporter cannot be looked at", s.watchTransporters(ctx))
			s.complain(ctx, "points that are to be verified cannot be looked at", s.watchProofs(ctx))
			s.complain(ctx, "starts of increments cannot be looked at", s.sweepBases(ctx))
			s.complain(ctx, "snapshots that are not needed cannot be removed", s.sweepSnapshots(ctx))
		}
	}
}

func (s *Service) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn(what)
	}
}

func (s *Service) tick(ctx context.Context, queue Ticker) error {
	all, err := s.Scheduled(ctx)
	if err != nil {
		return err
	}
	return queue.Tick(ctx, now(), all)
}

// How often each repository is looked at and maintained.
const (
	checkEvery    = time.Hour
	offlineEvery  = 5 * time.Minute
	maintainEvery = 24 * time.Hour
)

// watchPlaces looks at repositories that were not looked at for a while and
// enqueues their maintenance. Only one process does it: the job is unique.
func (s *Service) watchPlaces(ctx context.Context) error {
	var repos []Repo
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		repos, err = tx.Repositories("")
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range repos {
		pause := checkEvery
		if r.State == repoOffline {
			pause = offlineEvery
		}
		switch {
		case r.State == repoPrepared || r.State == repoCreating:
			continue
		case now().Sub(r.Body.Checked) > pause:
			look, cancel := context.WithTimeout(ctx, lookLimit)
			err := s.refresh(look, r)
			cancel()
			if err != nil {
				continue // recorded in its state, with an alarm
			}
		}
		if r.State != repoOnline || now().Sub(r.Body.Maintained) < maintainEvery {
			continue
		}
		_, err := s.enqueue(ctx, job.Job{
			Group: r.Group, Kind: kindMaintain, Object: string(r.ID), Priority: 5,
			Unique: fmt.Sprintf("maintain %s %d", r.ID, now().Unix()/int64(maintainEvery/time.Second)),
		}, maintainParams{Repository: r.ID, Name: r.Name})
		if err != nil {
			return err
		}
	}
	return nil
}

// proofBatch bounds how many verifications are enqueued at a time.
const proofBatch = 10

// watchProofs verifies points that are older than Options.VerifyAfter and were
// never verified, oldest first.
func (s *Service) watchProofs(ctx context.Context) error {
	if s.o.VerifyAfter <= 0 {
		return nil
	}
	open, err := s.o.Jobs.List(ctx, job.Query{Kind: kindVerify, Open: true})
	if err != nil || len(open) >= proofBatch {
		return err
	}
	var due []Point
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Points(PointQuery{Before: now().Add(-s.o.VerifyAfter)})
		due = slices.DeleteFunc(all, func(p Point) bool { return !p.good() || !p.Body.VerifiedAt.IsZero() })
		return err
	})
	if err != nil {
		return err
	}
	slices.Reverse(due)
	due, err = permitted(ctx, s, false, due, func(p Point) volspec.VMGroupID { return p.Group })
	if err != nil {
		return err
	}
	for _, pt := range due[:min(len(due), proofBatch)] {
		p := paramsOf(pt)
		p.Mode = repository.Full
		_, err := s.enqueue(ctx, job.Job{
			Group: pt.Group, Kind: kindVerify, Object: objectOf(p), Priority: 5,
			Unique: fmt.Sprintf("proof %s %s", pt.ID, now().Format(time.DateOnly)),
		}, p)
		if err != nil {
			return err
		}
	}
	return nil
}

// maintainParams say which repository a job cleans.
type maintainParams struct {
	Repository volspec.RepositoryID `json:"repository"`
	Name       string               `json:"name"`
}

// maintainResult is what a maintenance leaves for people.
type maintainResult struct {
	Summary string `json:"summary"`
	repository.Maintained
}

// runMaintain is the handler of maintain jobs. A repository that lacks points
// or is not the one it should be is not opened, and so never cleaned.
func (s *Service) runMaintain(ctx context.Context, t task) error {
	var p maintainParams
	if err := t.params(&p); err != nil {
		return err
	}
	if err := t.stage(ctx, "repository"); err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(r Repo, rp repository.Repository) error {
		if err := t.stage(ctx, "deletions"); err != nil {
			return err
		}
		if err := s.finishDeletes(ctx, r, rp); err != nil {
			return err
		}
		if err := t.stage(ctx, "maintain"); err != nil {
			return err
		}
		m, err := rp.Maintain(ctx, true)
		if err != nil {
			return err
		}
		res := maintainResult{Maintained: m, Summary: fmt.Sprintf("%s freed", amount(m.Freed))}
		if !m.Ran {
			res.Summary = "nothing was due: " + m.Note
		}
		t.result(res)
		if err := t.stage(ctx, "record"); err != nil {
			return err
		}
		if err := s.measure(ctx, r, rp); err != nil {
			return err
		}
		return s.o.Store.Update(ctx, func(tx Tx) error {
			have, err := tx.Repository(r.ID)
			if errkind.Is(err, errkind.NotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			have.Body.Maintained = now()
			return tx.PutRepository(have)
		})
	})
}

// places are the repositories that a job reads from and writes to.
type places struct {
	Repository volspec.RepositoryID `json:"repository"`
	To         volspec.RepositoryID `json:"to"`
}

// placesOf are none where the job is of another kind.
func placesOf(j job.Job) (p places) {
	if j.Read(&p) != nil {
		return places{}
	}
	return p
}

// idle refuses to forget a repository while a job works on it.
func (s *Service) idle(ctx context.Context, r Repo) error {
	open, err := s.o.Jobs.List(ctx, job.Query{Group: r.Group, Open: true})
	if err != nil {
		return err
	}
	for _, j := range open {
		if p := placesOf(j); j.State == job.Running && (p.Repository == r.ID || p.To == r.ID) {
			return errkind.New(errkind.InUse, "repository %s is in use by a %s job (%s): wait for it, or cancel it", r.Name, j.Kind, j.ID)
		}
	}
	return nil
}
