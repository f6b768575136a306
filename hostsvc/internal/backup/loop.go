package backup

import (
	"context"
	"fmt"
	"sync"
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
	repos, err := s.everyRepo(ctx)
	if err != nil {
		return err
	}
	s.settle(ctx, repos)
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
	defer func() {
		ctx, cancel := briefly(ctx)
		defer cancel()
		s.sessions.dropAll(ctx)
	}()
	var loops sync.WaitGroup
	defer loops.Wait()
	loops.Go(func() {
		every(ctx, schedulePause, func() { s.complain(ctx, "schedules cannot be looked at", s.tick(ctx, queue)) })
	})
	loops.Go(func() { // it waits for places that do not answer, and nothing else may wait for those
		every(ctx, s.o.Tick, func() { s.complain(ctx, "repositories cannot be looked at", s.watchPlaces(ctx)) })
	})
	loops.Go(func() {
		every(ctx, s.o.Tick, func() {
			s.sessions.dropIdle(ctx, time.Now().Add(-sessionIdle))
			s.complain(ctx, "ages of recovery points cannot be looked at", s.watchAges(ctx))
			s.complain(ctx, "jobs that wait for a transporter cannot be looked at", s.watchTransporters(ctx))
			s.complain(ctx, "points that are to be verified cannot be looked at", s.watchProofs(ctx))
			s.complain(ctx, "starts of increments cannot be looked at", s.sweepBases(ctx))
			s.complain(ctx, "snapshots that are not needed cannot be removed", s.sweepSnapshots(ctx))
		})
	})
	return nil
}

// every does something after each pause, until ctx ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	t := time.NewTicker(pause)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			do()
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
