package backup

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Plan is one schedule of an enabled policy.
type Plan = schedule.Plan

// Plans lists the schedules of all enabled policies of a vmgroup, or with "" of
// all. The latter is the same list for as long as it is true; see plansLast.
func (s *Service) Plans(ctx context.Context, group string) ([]Plan, error) {
	if group == "" {
		return s.allPlans(ctx)
	}
	var id volspec.VMGroupID
	if err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error { id = g.ID; return nil }); err != nil {
		return nil, err
	}
	all, err := s.planned(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.plansOf(ctx, all)
}

// plansOf shows schedules.
func (s *Service) plansOf(ctx context.Context, all []planned) ([]Plan, error) {
	names, err := namesOf(ctx, s, all, func(x planned) volspec.VMGroupID { return x.policy.Group })
	out := make([]Plan, 0, len(all))
	for _, x := range all {
		out = append(out, Plan{Policy: x.policy.ID, VMGroup: names[x.policy.Group], Name: x.policy.Name, Task: x.task, Schedule: x.schedule, Since: x.policy.Changed})
	}
	return out, err
}

// Ran is an entry of the calendar that a job made. Due and Policy are those of a
// run of a policy.
type Ran struct {
	wire.Run
	Policy volspec.PolicyID
	Due    time.Time
}

// Ran lists the runs of policies and the jobs that people began, of a vmgroup or
// with "" of all, that were created at from or later and before to, the oldest
// first. policy is the name of one of the vmgroup, "" is all.
func (s *Service) Ran(ctx context.Context, group, policy string, from, to time.Time, limit int) ([]Ran, error) {
	q := job.Query{From: from, To: to, Runs: true, OldestFirst: true, Limit: limit}
	if group != "" {
		err := s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
			q.Group = g.ID
			if policy == "" {
				return nil
			}
			p, err := tx.PolicyByName(g.ID, policy)
			q.Policy = p.ID
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	all, err := s.o.Jobs.List(ctx, q)
	if err != nil {
		return nil, err
	}
	names, err := namesOf(ctx, s, all, func(j job.Job) volspec.VMGroupID { return j.Group })
	out := make([]Ran, 0, len(all))
	for _, j := range all {
		out = append(out, ranOf(s.presentJob(ctx, j, names[j.Group]), j))
	}
	return out, err
}

func ranOf(w wire.Job, j job.Job) Ran {
	r := Ran{Run: wire.Run{Time: w.Created, Ended: w.Ended, VMGroup: w.VMGroup, Policy: w.Policy, Task: doesOf(w.Kind), Object: w.Object, State: w.State, Job: string(w.ID)}}
	if !w.Begun.IsZero() {
		r.Time = w.Begun
	}
	var p policyParams
	if j.Kind == kindPolicy && json.Unmarshal(j.Params, &p) == nil {
		r.Object, r.Task, r.Due, r.Policy = "", p.Task, p.Due, p.Policy
	}
	return r
}

// doesOf is what the jobs of a kind do, whatever they do it to.
func doesOf(kind string) string {
	switch kind {
	case kindMachine:
		return kindBackup
	case kindMachineRestore:
		return kindRestore
	}
	return kind
}

// Working lists the open jobs of a vmgroup, or with "" of all: running ones
// before those that wait, the newest first.
func (s *Service) Working(ctx context.Context, group string, limit int) ([]wire.Job, error) {
	running, err := s.Jobs(ctx, group, JobFilter{State: string(job.Running), Limit: limit})
	if err != nil {
		return nil, err
	}
	out := running.Jobs
	if left := limit - len(out); left > 0 {
		queued, err := s.Jobs(ctx, group, JobFilter{State: string(job.Queued), Limit: left})
		if err != nil {
			return nil, err
		}
		out = append(out, queued.Jobs...)
	}
	return out, nil
}

// Made lists the jobs of a vmgroup, or with "" of all, that were made at since
// or later, the oldest first.
func (s *Service) Made(ctx context.Context, group string, since time.Time, limit int) ([]wire.Job, error) {
	q := job.Query{From: since, OldestFirst: true, Limit: limit}
	if group != "" {
		err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error {
			q.Group = g.ID
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all, err := s.o.Jobs.List(ctx, q)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	names, err := s.groupNames(ctx)
	out := make([]wire.Job, 0, len(all))
	for _, j := range all {
		out = append(out, s.presentJob(ctx, j, names[j.Group]))
	}
	return out, err
}

// kept is what takes long to find out where there is much, as it was when it
// was last found out.
type kept[T any] struct {
	mu   sync.Mutex
	at   time.Time
	took time.Duration
	v    T
}

// put keeps what was found out since begun.
func (k *kept[T]) put(v T, begun time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.at, k.took, k.v = time.Now(), time.Since(begun), v
}

// get returns what is kept. It finds it out anew if that was quick the last
// time, and takes no more than a part of the time that goes by; what is not
// quick is kept up to date by Run.
func (k *kept[T]) get(find func() (T, error)) (T, error) {
	const quick, part = 100 * time.Millisecond, 20
	k.mu.Lock()
	at, took, v := k.at, k.took, k.v
	k.mu.Unlock()
	if !at.IsZero() && (took > quick || time.Since(at) < part*took) {
		return v, nil
	}
	begun := time.Now()
	v, err := find()
	if err == nil {
		k.put(v, begun)
	}
	return v, err
}

// Protected counts the volumes and VMs of a vmgroup, or with "" of all, by the
// state of their protection. See kept for how old the latter can be.
func (s *Service) Protected(ctx context.Context, group string) (map[string]int, error) {
	if group == "" {
		return s.census.get(func() (map[string]int, error) {
			facts, err := s.gather(ctx, "")
			return countStates(facts), err
		})
	}
	all, err := s.Protection(ctx, group)
	states := map[string]int{}
	for _, p := range all {
		states[p.State]++
	}
	return states, err
}

func countStates(facts []protectionFacts) map[string]int {
	states := map[string]int{}
	for _, f := range facts {
		if f.shown() {
			states[judgeProtection(f).State]++
		}
	}
	return states
}

// JobOf is one job as Job gives it; with group "" of whatever vmgroup.
func (s *Service) JobOf(ctx context.Context, group string, id volspec.JobID) (wire.Job, error) {
	if group != "" {
		return s.Job(ctx, group, id, 0)
	}
	j, err := s.o.Jobs.Get(ctx, id)
	if err != nil {
		return wire.Job{}, err
	}
	names, err := s.groupNames(ctx, j.Group)
	return s.presentJob(ctx, j, names[j.Group]), err
}
