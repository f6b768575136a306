package backup

import (
	"context"
	"sync"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// budgets holds what running jobs wrote for each vmgroup and the catalog does
// not count yet.
type budgets struct {
	mu    sync.Mutex // guards spent
	spent map[volspec.VMGroupID]int64
}

func (b *budgets) add(g volspec.VMGroupID, n int64) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent == nil {
		b.spent = map[volspec.VMGroupID]int64{}
	}
	b.spent[g] += n
	return b.spent[g]
}

func (b *budgets) pending(g volspec.VMGroupID) int64 { return b.add(g, 0) }

// spending is what one job writes to a repository, held against the quota of
// its vmgroup.
type spending struct {
	s     *Service
	group volspec.VMGroup
	repo  Repo
	limit int64 // volspec.Unbounded: none
	base  int64 // stored by the vmgroup when the job began
	stop  context.CancelCauseFunc

	mu    sync.Mutex // guards total
	total int64
}

// spend begins a job's writing; a quota that is reached already refuses it.
// stop ends the job when it is reached on the way.
func (s *Service) spend(ctx context.Context, r Repo, stop context.CancelCauseFunc) (*spending, error) {
	sp := &spending{s: s, repo: r, stop: stop}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.ID == r.Group {
				sp.group = g
			}
		}
		if sp.limit, err = storageBound(tx, r.Group); err != nil {
			return err
		}
		sp.base, err = tx.StoredBy(r.Group)
		return err
	})
	if err == nil && sp.bounded() && sp.base+s.budgets.pending(r.Group) >= sp.limit {
		err = sp.reached()
	}
	return sp, err
}

func (sp *spending) bounded() bool { return sp.limit != volspec.Unbounded }

func (sp *spending) reached() error {
	return errkind.New(errkind.Quota, "the backup storage quota of vmgroup %s is reached: %s allowed; remove recovery points with `mooring backup prune` or `backup rm`, or ask the administrator to raise it with `mooring repository limit`",
		sp.group.Name, amount(sp.limit))
}

// wrote tells how much the job has written so far.
func (sp *spending) wrote(total int64) {
	sp.mu.Lock()
	more := total - sp.total
	if more > 0 {
		sp.total = total
	}
	sp.mu.Unlock()
	if more <= 0 {
		return
	}
	if all := sp.s.budgets.add(sp.repo.Group, more); sp.bounded() && sp.base+all > sp.limit {
		sp.stop(sp.reached())
	}
}

// settle moves what was written from memory into the catalog.
func (sp *spending) settle(ctx context.Context) error {
	sp.mu.Lock()
	n := sp.total
	sp.mu.Unlock()
	if n == 0 {
		return nil
	}
	ctx, cancel := briefly(ctx)
	defer cancel()
	err := sp.s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddStored(sp.repo.ID, n) })
	sp.s.budgets.add(sp.repo.Group, -n)
	return err
}
