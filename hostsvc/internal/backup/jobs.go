package backup

import (
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// JobFilter selects jobs; zero fields select everything.
type JobFilter struct {
	State, Kind, Object, After string
	Since, Until               time.Time // not ended before Since, asked for before Until
	Limit                      int
}

// result is what all results have in common.
type resultHead struct {
	Point   volspec.PointID `json:"point"`
	Summary string          `json:"summary"`
}

// presentJob shows a job. Ids of objects become names where they are known
// from the job itself.
func (s *Service) presentJob(_ context.Context, j job.Job, group string) wire.Job {
	out := wire.Job{
		ID: j.ID, VMGroup: group, Kind: j.Kind, Object: j.Object, State: string(j.State), Stage: j.Stage,
		Created: j.Created, Begun: j.Begun, Ended: j.EndedAt, Attempts: j.Attempts, Cancel: j.Cancel,
		Error: j.Error, Warnings: j.Warnings, Steps: []wire.JobStep{},
		Progress: wire.JobProgress{
			DoneBytes: j.Progress.Done, TotalBytes: j.Progress.Total, ReadBytes: j.Progress.Read,
			StoredBytes: j.Progress.Stored, Rate: j.Progress.Rate, ETASeconds: -1,
		},
	}
	if out.Warnings == nil {
		out.Warnings = []string{}
	}
	if j.Error != "" {
		out.ErrorKind = string(j.Kept)
	}
	if left, ok := j.Progress.ETA(); ok && j.State == job.Running {
		out.Progress.ETASeconds = int64(left / time.Second)
	}
	for _, st := range j.Steps {
		out.Steps = append(out.Steps, wire.JobStep(st))
	}
	var p struct {
		Name       string          `json:"name"`
		PolicyName string          `json:"policy_name"`
		Point      volspec.PointID `json:"point"`
	}
	if json.Unmarshal(j.Params, &p) == nil {
		if p.Name != "" && j.Kind != kindRestore && j.Kind != kindMachineRestore {
			out.Object = p.Name
		}
		out.Policy, out.Point = p.PolicyName, string(p.Point)
	}
	var head resultHead
	if len(j.Result) > 0 && json.Unmarshal(j.Result, &head) == nil {
		out.Summary, out.ResultJSON = head.Summary, string(j.Result)
		if head.Point != "" {
			out.Point = string(head.Point)
		}
	}
	return out
}

// Jobs lists those of one vmgroup, or with "" of all, newest first.
func (s *Service) Jobs(ctx context.Context, group string, f JobFilter) (wire.JobList, error) {
	q := job.Query{State: job.State(f.State), Kind: f.Kind, Object: f.Object, Since: f.Since, To: f.Until, Limit: pageSize(f.Limit) + 1}
	if f.Kind == "work" {
		q.Kind, q.Work = "", true
	}
	if f.State == "open" {
		q.State, q.Open = "", true
	}
	if f.After != "" {
		at, id, err := parseCursor(f.After)
		if err != nil {
			return wire.JobList{}, err
		}
		q.Before, q.BeforeID = at, volspec.JobID(id)
	}
	if group != "" {
		if err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error { q.Group = g.ID; return nil }); err != nil {
			return wire.JobList{}, err
		}
	}
	page, err := s.o.Jobs.List(ctx, q)
	out := wire.JobList{Jobs: []wire.Job{}}
	if err != nil {
		return out, err
	}
	if size := pageSize(f.Limit); len(page) > size {
		page = page[:size]
		last := page[size-1]
		out.Next = cursor(last.Created, string(last.ID))
	}
	names, err := namesOf(ctx, s, page, func(j job.Job) volspec.VMGroupID { return j.Group })
	if err != nil {
		return out, err
	}
	out.Jobs, err = s.presentJobs(ctx, page, func(g volspec.VMGroupID) string { return names[g] })
	return out, err
}

// jobIn finds a job of a vmgroup; another's and none are the same.
func (s *Service) jobIn(ctx context.Context, group string, id volspec.JobID) (job.Job, error) {
	var g volspec.VMGroup
	err := s.inGroup(ctx, group, func(_ Tx, have volspec.VMGroup) error { g = have; return nil })
	if err != nil {
		return job.Job{}, err
	}
	j, err := s.o.Jobs.Get(ctx, id)
	if errkind.Is(err, errkind.NotFound) || err == nil && j.Group != g.ID {
		return j, errkind.New(errkind.NotFound, "Job %s not found: see `mooring job ls`", id)
	}
	return j, err
}

// Job is one; with waitMS it is answered when it has ended, or then.
func (s *Service) Job(ctx context.Context, group string, id volspec.JobID, waitMS int) (wire.Job, error) {
	j, err := s.jobIn(ctx, group, id)
	if err == nil && waitMS > 0 && !j.Ended() {
		wait, cancel := context.WithTimeout(ctx, time.Duration(waitMS)*time.Millisecond)
		defer cancel()
		j, err = s.o.Jobs.Wait(wait, id)
	}
	if err != nil {
		return wire.Job{}, err
	}
	one, err := s.presentJobs(ctx, []job.Job{j}, func(volspec.VMGroupID) string { return group })
	return one[0], err
}

// CancelJob asks for a job's end: its step finishes what it must and undoes
// the rest.
func (s *Service) CancelJob(ctx context.Context, c volspec.Caller, group string, id volspec.JobID) (wire.Job, error) {
	if _, err := s.jobIn(ctx, group, id); err != nil {
		return wire.Job{}, err
	}
	j, err := s.o.Jobs.Cancel(ctx, id)
	if err != nil {
		return wire.Job{}, err
	}
	s.audit(ctx, c, group, "job cancel", string(id), nil)
	return s.presentJob(ctx, j, group), nil
}

// CancelJobs asks for the end of all jobs of a vmgroup that are not over.
func (s *Service) CancelJobs(ctx context.Context, c volspec.Caller, g volspec.VMGroup) error {
	open, err := s.o.Jobs.List(ctx, job.Query{Group: g.ID, Open: true})
	if err != nil {
		return err
	}
	for _, j := range open {
		if j.Kind == kindMaintain {
			continue
		}
		if _, err := s.o.Jobs.Cancel(ctx, j.ID); err != nil {
			return err
		}
		s.audit(ctx, c, g.Name, "job cancel", string(j.ID), nil)
	}
	return nil
}
