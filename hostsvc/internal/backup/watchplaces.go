package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// How often each repository is looked at and maintained.
const (
	checkEvery    = time.Hour
	offlineEvery  = 5 * time.Minute
	maintainEvery = 24 * time.Hour
)

const (
	// looksAtOnce is the number of vmgroups whose repositories are looked at, each
	// one after the other: a place that does not answer holds up those of its own
	// vmgroup alone.
	looksAtOnce = 16
	// lookLimit is for all repositories of a vmgroup in one go.
	lookLimit = 10 * time.Minute
	// settleLimit is for what is settled before a start; the rest is settled later.
	settleLimit = 20 * time.Second
)

// watchPlaces looks at repositories that were not looked at for a while, settles
// interrupted creations, and enqueues maintenance. Only one process does that:
// the job is unique.
func (s *Service) watchPlaces(ctx context.Context) error {
	repos, err := s.everyRepo(ctx)
	if err != nil {
		return err
	}
	due := map[volspec.VMGroupID][]Repo{}
	for _, r := range repos {
		if at := now(); toLook(r, at) || toSettle(r, at) || toMaintain(r, at) {
			due[r.Group] = append(due[r.Group], r)
		}
	}
	var eg errgroup.Group
	eg.SetLimit(looksAtOnce)
	for _, mine := range due {
		eg.Go(func() error { return s.lookAfter(ctx, mine) })
	}
	return eg.Wait()
}

// everyRepo are the repositories of all vmgroups, and those of none.
func (s *Service) everyRepo(ctx context.Context) (all []Repo, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err = tx.Repositories("")
		return err
	})
	return all, err
}

// toLook is pure, as are the next two.
func toLook(r Repo, at time.Time) bool {
	pause := checkEvery
	if r.State == repoOffline {
		pause = offlineEvery
	}
	return r.State != repoPrepared && r.State != repoCreating && at.Sub(r.Body.Checked) > pause
}

// toSettle leaves alone what somebody may be making.
func toSettle(r Repo, at time.Time) bool {
	return r.State == repoCreating && at.Sub(r.Body.Created) > lookLimit
}

func toMaintain(r Repo, at time.Time) bool {
	return r.State == repoOnline && at.Sub(r.Body.Maintained) >= maintainEvery
}

// lookAfter does what is due for the repositories of one vmgroup, first for
// those that waited longest.
func (s *Service) lookAfter(ctx context.Context, repos []Repo) error {
	look, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	slices.SortFunc(repos, func(a, b Repo) int { return cmp.Or(a.Body.Checked.Compare(b.Body.Checked), cmp.Compare(a.ID, b.ID)) })
	for _, r := range repos {
		switch at := now(); {
		case look.Err() != nil:
			return nil // the next time
		case toSettle(r, at):
			s.settleLater(look, r)
		case toLook(r, at):
			if err := s.refresh(look, r); err != nil { // recorded in its state, with an alarm
				if ctx.Err() == nil && errors.Is(look.Err(), context.DeadlineExceeded) {
					return s.mark(ctx, r, repoOffline, fmt.Sprintf("its place does not answer within %s: find out what holds it up", lookLimit))
				}
				continue
			}
		}
		if !toMaintain(r, now()) {
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

// settle finishes creations that a crash interrupted, as far as their places
// answer soon.
func (s *Service) settle(ctx context.Context, repos []Repo) {
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	var eg errgroup.Group
	eg.SetLimit(looksAtOnce)
	for _, r := range repos {
		if r.State == repoCreating {
			eg.Go(func() error { s.settleLater(ctx, r); return nil })
		}
	}
	_ = eg.Wait() // settleLater fails into the log
}

// settleLater is settleRepo where it is tried again if it fails.
func (s *Service) settleLater(ctx context.Context, r Repo) {
	if err := s.settleRepo(ctx, r); err != nil {
		log.G(ctx).WithField("repository", r.Name).WithField(log.Err, err.Error()).Warn("interrupted creation of a repository could not be settled yet")
	}
}
