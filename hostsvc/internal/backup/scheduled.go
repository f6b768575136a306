package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// policyParams say which run of a policy a job makes.
type policyParams struct {
	Policy     volspec.PolicyID `json:"policy"`
	PolicyName string           `json:"policy_name"`
	Name       string           `json:"name"` // what people read
	Task       string           `json:"task"`
	Due        time.Time        `json:"due"`
}

// policyResult counts the parts of a run.
type policyResult struct {
	Summary string          `json:"summary"`
	Jobs    []volspec.JobID `json:"jobs"`
	Done    int             `json:"done"`
	Failed  int             `json:"failed"`
}

// tasks are a policy's schedules.
func (p Policy) tasks() map[string]string {
	return map[string]string{
		kindBackup: p.Spec.Schedule, kindVerify: p.Spec.Verify.Schedule,
		kindDrill: p.Spec.DrillSched, kindCopy: p.Spec.Copy.Schedule,
	}
}

// Scheduled are the schedules of all policies that are enabled, in vmgroups that
// may protect something.
func (s *Service) Scheduled(ctx context.Context) ([]job.Scheduled, error) {
	found, err := s.planned(ctx, "")
	if err == nil {
		_, err = s.keepPlans(ctx, found)
	}
	if err != nil {
		return nil, err
	}
	all := make([]job.Scheduled, 0, len(found))
	for _, x := range found {
		p := x.policy
		all = append(all, job.Scheduled{
			Policy: p.ID, Group: p.Group, Task: x.task, Kind: kindPolicy, Schedule: x.schedule, Since: p.Changed,
			Priority: p.Spec.Priority, Queue: p.Spec.Overlap == overlapQueue,
			Params: func(due time.Time, _ int) any {
				return policyParams{Policy: p.ID, PolicyName: p.Name, Name: p.Name + " " + x.task, Task: x.task, Due: due}
			},
		})
	}
	return all, nil
}

// planned are the schedules of Scheduled of one vmgroup, or with "" of all.
func (s *Service) planned(ctx context.Context, g volspec.VMGroupID) ([]planned, error) {
	group := func(x planned) volspec.VMGroupID { return x.policy.Group }
	if g == "" {
		all, _, err := s.parsed(ctx)
		if err != nil {
			return nil, err
		}
		return permitted(ctx, s, true, slices.Clone(all), group)
	}
	var policies []Policy
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		policies, err = tx.Policies(g)
		return err
	})
	if err != nil {
		return nil, err
	}
	return permitted(ctx, s, true, s.schedules(ctx, policies), group)
}

// planned is one schedule of a policy.
type planned struct {
	policy   Policy
	task     string
	schedule schedule.Schedule
}

// schedules are those of policies that are enabled.
func (s *Service) schedules(ctx context.Context, policies []Policy) (all []planned) {
	for _, p := range policies {
		if !enabled(p) {
			continue
		}
		for name, expr := range p.tasks() {
			if expr == "" {
				continue
			}
			sc, err := schedule.Parse(expr, p.Spec.Timezone)
			if err != nil {
				log.G(ctx).WithField("policy", p.Name).WithField(log.Err, err.Error()).Error("a schedule cannot be read")
				continue
			}
			all = append(all, planned{p, name, sc})
		}
	}
	return all
}

// runPolicy is the handler of policy jobs: one job for each object of the due
// time, and a wait for all of them; the worst result is the run's. Repeated
// after a crash it finds the same jobs.
func (s *Service) runPolicy(ctx context.Context, t task) error {
	var p policyParams
	if err := t.params(&p); err != nil {
		return err
	}
	if err := t.stage(ctx, "enqueue"); err != nil {
		return err
	}
	var pol Policy
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		pol, err = tx.Policy(p.Policy)
		return err
	})
	if err != nil {
		return err
	}
	parts, err := s.parts(ctx, pol, p)
	if err != nil {
		return err
	}
	if err := t.stage(ctx, "wait"); err != nil {
		return err
	}
	res := policyResult{}
	var failed error
	for i, id := range parts {
		j, err := s.o.Jobs.Wait(ctx, id)
		if err != nil {
			return err
		}
		if !j.Ended() {
			return context.Cause(ctx)
		}
		t.report(repository.Progress{Done: int64(i + 1), Total: int64(len(parts))})
		res.Jobs = append(res.Jobs, id)
		if j.State == job.Done {
			res.Done++
			continue
		}
		res.Failed++
		failed = errors.Join(failed, fmt.Errorf("%s: %s", s.presentJob(ctx, j, "").Object, j.Error))
	}
	res.Summary = fmt.Sprintf("%d done, %d not", res.Done, res.Failed)
	if len(parts) == 0 {
		res.Summary = "nothing to do: the policy matches no volume and no VM"
		t.warn(res.Summary)
	}
	t.result(res)
	if failed == nil {
		return nil
	}
	err = errkind.Wrap(errkind.Internal, failed, "%d of %d jobs of the policy did not succeed", res.Failed, len(parts))
	if res.Done > 0 {
		return job.PartialError(err)
	}
	return err
}

// parts enqueues the jobs of one due time.
func (s *Service) parts(ctx context.Context, pol Policy, p policyParams) ([]volspec.JobID, error) {
	volumes, err := s.selected(ctx, pol)
	if err != nil {
		return nil, err
	}
	machines, err := s.selectedMachines(ctx, pol)
	if err != nil {
		return nil, err
	}
	var ids []volspec.JobID
	part := func(object string) job.Job {
		return job.Job{
			Group: pol.Group, Kind: p.Task, Object: object, Policy: pol.ID, Priority: pol.Spec.Priority,
			Unique: fmt.Sprintf("%s %s %d %s", pol.ID, p.Task, p.Due.Unix(), object),
		}
	}
	add := func(params pointParams) error {
		j, err := s.enqueue(ctx, part(objectOf(params)), params)
		ids = append(ids, j.ID)
		return err
	}
	backup := func(g volspec.VMGroup, o Object, object string, params any) error {
		jobs, err := s.enqueueBackups(ctx, []newBackup{{g, o, part(object), params}}, true)
		for _, j := range jobs {
			ids = append(ids, j.ID)
		}
		return err
	}
	for _, v := range volumes {
		if p.Task == kindBackup {
			params, err := s.backupOf(ctx, v, &pol, wire.RunBackup{})
			if err == nil {
				err = backup(v.Group, ofVolume(v), string(v.ID), params)
			}
			if err != nil {
				return ids, err
			}
			continue
		}
		todo, err := s.pointParts(ctx, pol, p.Task, v)
		if err != nil {
			return ids, err
		}
		for _, params := range todo {
			if err := add(params); err != nil {
				return ids, err
			}
		}
	}
	for _, m := range machines {
		if p.Task == kindBackup {
			params, err := s.machineBackupOf(ctx, m, &pol, wire.RunBackup{})
			if err == nil {
				err = backup(m.Group, ofMachine(m), string(m.ID), params)
			}
			if err != nil {
				return ids, err
			}
			continue
		}
		todo, err := s.setParts(ctx, pol, p.Task, m)
		if err != nil {
			return ids, err
		}
		for _, params := range todo {
			if err := add(params); err != nil {
				return ids, err
			}
		}
	}
	return ids, nil
}

// setParts are the sets of a VM that a scheduled task is about, as pointParts
// are the points of a volume.
func (s *Service) setParts(ctx context.Context, pol Policy, name string, m Machine) (out []pointParams, err error) {
	var sets, copies []set
	var to Repo
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err := tx.RepositoryByName(pol.Group, pol.Spec.Repository)
		if err != nil {
			return err
		}
		all, err := tx.Points(PointQuery{Group: pol.Group, Repository: r.ID, VMID: m.ID})
		if sets = setsOf(all); err != nil || name != kindCopy {
			return err
		}
		if to, err = tx.RepositoryByName(pol.Group, pol.Spec.Copy.Repository); err != nil {
			return err
		}
		all, err = tx.Points(PointQuery{Group: pol.Group, Repository: to.ID, VMID: m.ID})
		// One that is not whole is made again.
		copies = slices.DeleteFunc(setsOf(all), func(x set) bool { return len(x.missing()) > 0 })
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range choosePoints(name, summaries(sets), summaries(copies), to.ID) {
		i := slices.IndexFunc(sets, func(x set) bool { return x.id == p.ID })
		out = append(out, pol.complete(paramsOfSet(sets[i]), name, to.ID))
	}
	return out, nil
}

// complete fills in what the policy says of a task.
func (p Policy) complete(params pointParams, name string, to volspec.RepositoryID) pointParams {
	params.Limit = int64(p.Spec.Limit)
	switch name {
	case kindVerify:
		params.Mode, params.Share = repository.VerifyMode(p.Spec.Verify.Mode), p.Spec.Verify.Share
	case kindCopy:
		params.To, params.Policy = to, p.ID
	}
	return params
}

// pointParts are the points of a volume that a scheduled task is about: the
// newest for a drill, those not verified yet and the oldest proof for a
// verification, those not copied yet for a copy.
func (s *Service) pointParts(ctx context.Context, pol Policy, name string, v Volume) (out []pointParams, err error) {
	var points, copies []Point
	var to Repo
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err := tx.RepositoryByName(pol.Group, pol.Spec.Repository)
		if err != nil {
			return err
		}
		if points, err = tx.Points(PointQuery{Group: pol.Group, Repository: r.ID, VolumeID: v.ID}); err != nil || name != kindCopy {
			return err
		}
		if to, err = tx.RepositoryByName(pol.Group, pol.Spec.Copy.Repository); err != nil {
			return err
		}
		copies, err = tx.Points(PointQuery{Group: pol.Group, Repository: to.ID, VolumeID: v.ID})
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, p := range choosePoints(name, points, copies, to.ID) {
		out = append(out, pol.complete(paramsOf(p), name, to.ID))
	}
	return out, nil
}

// choosePoints is the pure half of pointParts. points are newest first.
func choosePoints(name string, points, copies []Point, to volspec.RepositoryID) (out []Point) {
	there := map[volspec.PointID]bool{}
	for _, c := range copies {
		there[c.ID] = true
	}
	var oldest *Point
	for i, p := range points {
		if !p.good() {
			continue
		}
		switch name {
		case kindDrill:
			return []Point{p}
		case kindCopy:
			// A copy of a newer point is there: older ones were let go on purpose.
			if there[copyOf(p, to)] {
				return out
			}
			out = append([]Point{p}, out...)
		case kindVerify:
			if p.Body.VerifiedAt.IsZero() {
				out = append(out, p)
			} else if oldest == nil || p.Body.VerifiedAt.Before(oldest.Body.VerifiedAt) {
				oldest = &points[i]
			}
		}
	}
	if name == kindVerify && oldest != nil {
		out = append(out, *oldest)
	}
	return out
}

// PreviewPolicy tells what a stored policy would do.
func (s *Service) PreviewPolicy(ctx context.Context, group, name string) (wire.PolicyPreview, error) {
	var p Policy
	err := s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) (err error) {
		p, err = tx.PolicyByName(g.ID, name)
		return err
	})
	if err != nil {
		return wire.PolicyPreview{}, err
	}
	return s.preview(ctx, group, p)
}

// PreviewNew tells what a policy would do that is not stored yet.
func (s *Service) PreviewNew(ctx context.Context, group string, in wire.Policy) (wire.PolicyPreview, error) {
	in = complete(in, s.o.Zone)
	if err := s.checkPolicy(in); err != nil {
		return wire.PolicyPreview{}, err
	}
	p := Policy{Name: in.Name, PolicyBody: PolicyBody{Spec: in}}
	if err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error { p.Group = g.ID; return nil }); err != nil {
		return wire.PolicyPreview{}, err
	}
	return s.preview(ctx, group, p)
}

// previewRuns is how many coming runs of each task are shown.
const previewRuns = 5

func (s *Service) preview(ctx context.Context, group string, p Policy) (wire.PolicyPreview, error) {
	out := wire.PolicyPreview{Policy: presentPolicy(p, group), Volumes: []string{}, VMs: []string{}, Next: []wire.PolicyRun{}, Points: []wire.KeepDecision{}}
	volumes, err := s.selected(ctx, p)
	if err != nil {
		return out, err
	}
	for _, v := range volumes {
		out.Volumes = append(out.Volumes, v.Name.String())
	}
	machines, err := s.selectedMachines(ctx, p)
	if err != nil {
		return out, err
	}
	for _, m := range machines {
		out.VMs = append(out.VMs, m.Name)
	}
	for _, name := range []string{kindBackup, kindVerify, kindDrill, kindCopy} {
		expr := p.tasks()[name]
		if expr == "" {
			continue
		}
		sc, err := schedule.Parse(expr, p.Spec.Timezone)
		if err != nil {
			return out, err
		}
		at := now()
		for range previewRuns {
			if at = sc.Next(at); at.IsZero() {
				break
			}
			out.Next = append(out.Next, wire.PolicyRun{Task: name, At: at})
		}
	}
	var d wire.Pruned
	err = s.prunePolicy(ctx, p, true, &d)
	if d.Decisions != nil {
		out.Points = d.Decisions
	}
	return out, err
}
