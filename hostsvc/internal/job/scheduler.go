package job

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Scheduled is one schedule of a policy.
type Scheduled struct {
	Policy   volspec.PolicyID
	Group    volspec.VMGroupID
	Task     string // backup, verify, …
	Kind     string // of the job that is enqueued
	Schedule schedule.Schedule
	Priority int
	Queue    bool // a due time while the run before is still open waits; otherwise it is skipped
	Params   func(due time.Time, missed int) any
}

// Tick enqueues what is due now: each due time once, whatever the number of
// processes on the catalog, and what was missed once for all. A schedule
// counts from the first Tick that sees it.
func (r *Runner) Tick(ctx context.Context, at time.Time, all []Scheduled) error {
	enqueued := false
	for _, sc := range all {
		err := r.o.Store.Update(ctx, func(tx Tx) error {
			did, err := r.due(ctx, tx, at, sc)
			enqueued = enqueued || did
			return err
		})
		if err != nil {
			return err
		}
	}
	if enqueued {
		r.poke()
	}
	return nil
}

func (r *Runner) due(ctx context.Context, tx Tx, at time.Time, sc Scheduled) (bool, error) {
	since, last, err := tx.Mark(sc.Policy, sc.Task)
	if err != nil {
		return false, err
	}
	if since.IsZero() {
		return false, tx.PutMark(sc.Policy, sc.Task, at, time.Time{})
	}
	due, missed, ok := schedule.Due(sc.Schedule, since, last, at)
	if !ok {
		return false, nil
	}
	if err := tx.PutMark(sc.Policy, sc.Task, since, due); err != nil {
		return false, err
	}
	object := fmt.Sprintf("%s %s", sc.Policy, sc.Task)
	open, err := tx.Jobs(Query{Group: sc.Group, Kind: sc.Kind, Object: object, Open: true})
	if err != nil {
		return false, err
	}
	params, err := json.Marshal(sc.Params(due, missed))
	if err != nil {
		return false, err
	}
	j := Job{
		ID: volspec.JobID(newID()), Group: sc.Group, Kind: sc.Kind, Object: object, State: Queued, Created: now(),
		Priority: sc.Priority, Policy: sc.Policy, Params: params,
		Unique: fmt.Sprintf("%s %s %d", sc.Policy, sc.Task, due.Unix()),
	}
	if len(open) > 0 && !sc.Queue {
		j.State, j.EndedAt = Canceled, now()
		j.Error = fmt.Sprintf("skipped: the run before, job %s, was still going on when this one was due at %s", open[0].ID, due.Format(time.RFC3339))
		log.G(ctx).WithField("policy", string(sc.Policy)).Warn("a scheduled run was skipped: the one before still runs")
	}
	if missed > 0 {
		j.Warnings = []string{fmt.Sprintf("%d earlier runs were missed; this one catches up for all of them", missed)}
	}
	return true, enqueue(tx, &j)
}
