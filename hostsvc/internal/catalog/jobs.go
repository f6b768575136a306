package catalog

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var _ job.Tx = (*tx)(nil)

// Jobs is the catalog as the job queue sees it.
func (c *Catalog) Jobs() job.Store { return queue{c} }

type queue struct{ c *Catalog }

func (q queue) View(ctx context.Context, fn func(job.Tx) error) error {
	return q.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (q queue) Update(ctx context.Context, fn func(job.Tx) error) error {
	return q.c.update(ctx, func(t *tx) error { return fn(t) })
}

const jobCols = `id, group_id, kind, object, state, created, begun, ended, priority, policy_id, owner, fence, expires, cancel, unique_key, body`

// jobBody is the part of a job that is only read whole.
type jobBody struct {
	Params   json.RawMessage `json:"params,omitempty"`
	Saved    json.RawMessage `json:"saved,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Stage    string          `json:"stage,omitempty"`
	Steps    []job.Step      `json:"steps,omitempty"`
	Progress job.Progress    `json:"progress"`
	Warnings []string        `json:"warnings,omitempty"`
	Error    string          `json:"error,omitempty"`
	Kind     errkind.Kind    `json:"error_kind,omitempty"`
	Attempts int             `json:"attempts"`
}

func scanJob(s scanner) (j job.Job, err error) {
	var created, begun, ended, expires int64
	var text string
	err = s.Scan(&j.ID, &j.Group, &j.Kind, &j.Object, &j.State, &created, &begun, &ended, &j.Priority, &j.Policy, &j.Owner, &j.Fence, &expires, &j.Cancel, &j.Unique, &text)
	if err != nil {
		return j, err
	}
	j.Created, j.Begun, j.EndedAt, j.Expires = toTime(created), toTime(begun), toTime(ended), toTime(expires)
	var b jobBody
	if err := body(text, &b, "job", string(j.ID)); err != nil {
		return j, err
	}
	j.Params, j.Saved, j.Result, j.Stage, j.Steps = b.Params, b.Saved, b.Result, b.Stage, b.Steps
	j.Progress, j.Warnings, j.Error, j.Kept, j.Attempts = b.Progress, b.Warnings, b.Error, b.Kind, b.Attempts
	return j, nil
}

func (t *tx) PutJob(j job.Job) error {
	text, err := document(jobBody{
		Params: j.Params, Saved: j.Saved, Result: j.Result, Stage: j.Stage, Steps: j.Steps,
		Progress: j.Progress, Warnings: j.Warnings, Error: j.Error, Kind: j.Kept, Attempts: j.Attempts,
	}, "job", string(j.ID))
	if err != nil {
		return err
	}
	if err := t.countJob(j); err != nil {
		return err
	}
	_, err = t.exec(upsert("jobs", jobCols, "id"), j.ID, j.Group, j.Kind, j.Object, j.State, fromTime(j.Created), fromTime(j.Begun), fromTime(j.EndedAt),
		j.Priority, j.Policy, j.Owner, j.Fence, fromTime(j.Expires), j.Cancel, j.Unique, text)
	return err
}

func (t *tx) Job(id volspec.JobID) (job.Job, error) {
	j, found, err := one(t, scanJob, "SELECT "+jobCols+" FROM jobs WHERE id = ?", id)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Job %s not found", id)
	}
	return j, err
}

func (t *tx) JobByUnique(unique string) (job.Job, error) {
	j, found, err := one(t, scanJob, "SELECT "+jobCols+" FROM jobs WHERE unique_key = ? AND unique_key > ''", unique)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "no job is known as %s", unique)
	}
	return j, err
}

// openJobs selects what the index jobs_open holds.
const openJobs = "state IN ('queued', 'running')"

func (t *tx) OpenJobs(transporter string) ([]job.Job, error) {
	query := "SELECT " + jobCols + " FROM jobs WHERE " + openJobs + ` AND (state = 'running'
		OR EXISTS (SELECT 1 FROM group_transporters b WHERE b.group_id = jobs.group_id AND b.transporter = ?)`
	if transporter == wire.BuiltInTransporter {
		query += " OR NOT EXISTS (SELECT 1 FROM vmgroups g WHERE g.id = jobs.group_id)"
	}
	return list(t, scanJob, query+") ORDER BY priority, created, id", transporter)
}

func (t *tx) Jobs(q job.Query) ([]job.Job, error) {
	query, args := "SELECT "+jobCols+" FROM jobs WHERE 1 = 1", []any{}
	add := func(term string, values ...any) {
		query += " AND " + term
		args = append(args, values...)
	}
	if q.Group != "" {
		add("group_id = ?", q.Group)
	}
	if q.State != "" {
		if q.Group == "" {
			add("state = ?", q.State)
		} else { // by the index of the vmgroup, not by that of states
			add("state || '' = ?", q.State)
		}
	}
	open := q.Open || q.State == job.Queued || q.State == job.Running
	if open {
		add(openJobs)
	}
	if q.Ended {
		add("state NOT IN ('queued', 'running')")
	}
	if q.Kind != "" {
		add("kind = ?", q.Kind)
	}
	if q.Object != "" {
		add("object = ?", q.Object)
	}
	if q.Policy != "" {
		add("policy_id = ? AND policy_id > ''", q.Policy)
	}
	if q.BeforeID != "" {
		add("(created, id) < (?, ?)", fromTime(q.Before), q.BeforeID)
	}
	if !q.From.IsZero() {
		add("created >= ?", fromTime(q.From))
	}
	if !q.To.IsZero() {
		add("created < ?", fromTime(q.To))
	}
	if !q.Since.IsZero() {
		add("(ended = 0 OR ended >= ?)", fromTime(q.Since))
	}
	if q.Work {
		add("kind NOT IN ('policy', 'maintain')")
	}
	if q.Last {
		of, values := "", []any{q.Kind}
		if q.Group != "" {
			of, values = " AND group_id = ?", append(values, q.Group)
		}
		const ended = "object > '' AND state NOT IN ('queued', 'running')" // what the index is of
		add(ended+" AND (group_id, object, created) IN (SELECT group_id, object, MAX(created) FROM jobs WHERE kind = ?"+of+
			" AND "+ended+" GROUP BY group_id, object)", values...)
	}
	if q.Runs {
		add("(unique_key = '' OR kind = 'policy')")
	}
	order := " ORDER BY created DESC, id DESC"
	if q.OldestFirst {
		order = " ORDER BY created, id"
	}
	if open { // they are few: sort them, rather than look for them among all by their order
		order = strings.ReplaceAll(order, " created", " +created")
	}
	query += order
	if q.Limit > 0 {
		query += " LIMIT ?"
		args = append(args, q.Limit)
	}
	return list(t, scanJob, query, args...)
}

// TrimJobs counts by policy, and what has none by vmgroup. It looks at what is
// old enough, and from there at no more than keep newer ones.
func (t *tx) TrimJobs(before time.Time, keep int) (n int, err error) {
	for _, of := range []string{
		"jobs.policy_id > '' AND n.policy_id > '' AND n.policy_id = jobs.policy_id AND n.group_id || '' = jobs.group_id",
		"jobs.policy_id = '' AND n.group_id = jobs.group_id AND n.policy_id || '' = ''",
	} {
		gone, err := t.exec(`DELETE FROM jobs WHERE ended > 0 AND ended < ? AND state NOT IN ('queued', 'running') AND ? = (
			SELECT COUNT(*) FROM (SELECT 1 FROM jobs n WHERE `+of+` AND n.state NOT IN ('queued', 'running')
			AND (n.created, n.id) > (jobs.created, jobs.id) LIMIT ?) AS newer)`, fromTime(before), keep, keep)
		if err != nil {
			return n, err
		}
		n += int(gone)
	}
	_, err = t.exec("DELETE FROM job_counts WHERE at < ?", time.Now().Add(-countsKept).UnixNano())
	return n, err
}

func (t *tx) Clock() (time.Time, error) {
	n, err := t.now()
	return toTime(n), err
}

func (t *tx) Mark(p volspec.PolicyID, task string) (since, last time.Time, err error) {
	err = t.each(func(s scanner) error {
		var a, b int64
		if err := s.Scan(&a, &b); err != nil {
			return err
		}
		since, last = toTime(a), toTime(b)
		return nil
	}, "SELECT since, last FROM schedule_marks WHERE policy_id = ? AND task = ?", p, task)
	return since, last, err
}

func (t *tx) Marks() (map[job.MarkOf]job.Mark, error) {
	all := map[job.MarkOf]job.Mark{}
	err := t.each(func(s scanner) error {
		var of job.MarkOf
		var since, last int64
		if err := s.Scan(&of.Policy, &of.Task, &since, &last); err != nil {
			return err
		}
		all[of] = job.Mark{Since: toTime(since), Last: toTime(last)}
		return nil
	}, "SELECT policy_id, task, since, last FROM schedule_marks")
	return all, err
}

func (t *tx) PutMark(p volspec.PolicyID, task string, since, last time.Time) error {
	_, err := t.exec(upsert("schedule_marks", "policy_id, task, since, last", "policy_id, task"), p, task, fromTime(since), fromTime(last))
	return err
}
