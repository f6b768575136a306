package backup

import (
	"context"
	"slices"
	"sync"
	"time"
)

// timetable is what was last found out about the schedules of all vmgroups.
// Nobody changes its lists.
type timetable struct {
	mu      sync.Mutex
	version string    // of the policies that all is of
	all     []planned // of all enabled policies

	at    time.Time // when plans was known to be true
	found []planned // what plans shows
	plans []Plan
}

// plansLast is how old the plans of all vmgroups may be, whose policies have not
// changed: a vmgroup may have been disabled.
const plansLast = 15 * time.Second

// parsed are the schedules of all enabled policies, which are read again when
// one has changed.
func (s *Service) parsed(ctx context.Context) (all []planned, same bool, err error) {
	t := &s.timetable
	t.mu.Lock()
	version, all := t.version, t.all
	t.mu.Unlock()
	var policies []Policy
	err = s.o.Store.View(ctx, func(tx Tx) error {
		newest, err := tx.PoliciesVersion()
		if err != nil {
			return err
		}
		if same = newest == version && all != nil; same {
			return nil
		}
		version = newest
		policies, err = tx.Policies("")
		return err
	})
	if err != nil || same {
		return all, same, err
	}
	all = append([]planned{}, s.schedules(ctx, policies)...) // not nil
	t.mu.Lock()
	defer t.mu.Unlock()
	t.version, t.all = version, all
	return all, false, nil
}

// allPlans are the plans of all vmgroups.
func (s *Service) allPlans(ctx context.Context) ([]Plan, error) {
	_, same, err := s.parsed(ctx)
	if err != nil {
		return nil, err
	}
	t := &s.timetable
	t.mu.Lock()
	at, plans := t.at, t.plans
	t.mu.Unlock()
	if same && time.Since(at) < plansLast {
		return plans, nil
	}
	found, err := s.planned(ctx, "")
	if err != nil {
		return nil, err
	}
	return s.keepPlans(ctx, found)
}

// keepPlans shows what was found just now, by the list that is there if that is
// still true.
func (s *Service) keepPlans(ctx context.Context, found []planned) ([]Plan, error) {
	t := &s.timetable
	t.mu.Lock()
	plans, still := t.plans, t.plans != nil && slices.EqualFunc(t.found, found, planned.same)
	if still {
		t.at = time.Now()
	}
	t.mu.Unlock()
	if still {
		return plans, nil
	}
	plans, err := s.plansOf(ctx, found)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.found, t.plans = time.Now(), found, plans
	return plans, nil
}

func (p planned) same(o planned) bool {
	return p.policy.ID == o.policy.ID && p.task == o.task && p.policy.Changed.Equal(o.policy.Changed) && p.policy.Name == o.policy.Name
}
