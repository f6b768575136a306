package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
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
	// Since is when the schedule got its present form: earlier times are not
	// due. The zero time: when it was first seen.
	Since    time.Time
	Priority int
	// Queue lets a due time wait while the run before is still open, but only
	// one; otherwise it is skipped.
	Queue  bool
	Params func(due time.Time, missed int) any
}

// backwards is how far a clock may be put back before what it had reached is
// forgotten. Until then due times that were reached are waited for again.
const backwards = 24 * time.Hour

// decision is what a schedule asks for at one moment.
type decision struct {
	mark   bool // the mark must be written
	since  time.Time
	last   time.Time
	due    time.Time // zero: no job
	missed int
}

// decide is the pure half of Tick. A mark that lies more than a day in the
// future was made by a clock that was wrong: the schedule counts from now on.
// Nothing is done twice for that, since the jobs of a due time are one.
func decide(sc Scheduled, since, last, at time.Time) decision {
	d := decision{since: since, last: last}
	limit := at.Add(backwards)
	if since.IsZero() || since.After(limit) {
		d.mark, d.since = true, at
		if !sc.Since.IsZero() && sc.Since.Before(at) && since.IsZero() {
			d.since = sc.Since
		}
	}
	if last.After(limit) {
		d.mark, d.last = true, at
	}
	from := d.since
	if sc.Since.After(from) {
		from = sc.Since
	}
	due, missed, ok := schedule.Due(sc.Schedule, from, d.last, at)
	if ok {
		d.mark, d.last, d.due, d.missed = true, due, due, missed
	}
	return d
}

// Tick enqueues what is due now: each due time once, whatever the number of
// processes on the catalog, and what was missed once for all. A due time at
// which the run before is still open is skipped, which a canceled job records.
// A schedule counts from the first Tick that sees it. One that fails does not
// stop the others.
func (r *Runner) Tick(ctx context.Context, at time.Time, all []Scheduled) error {
	todo, err := r.dueNow(ctx, at, all)
	var failed error
	for _, sc := range todo {
		var skipped bool
		err := r.o.Store.Update(ctx, func(tx Tx) (err error) {
			skipped, err = r.due(tx, at, sc)
			return err
		})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		crashpoint.Here("job.schedule.enqueued")
		if skipped {
			log.G(ctx).WithField("policy", string(sc.Policy)).WithField(log.Op, sc.Task).Warn("a scheduled run was skipped: the one before is not over")
		}
	}
	if len(todo) > 0 {
		r.poke()
	}
	return errors.Join(err, failed)
}

// dueNow finds the schedules that ask for something, without taking the
// catalog's lock.
func (r *Runner) dueNow(ctx context.Context, at time.Time, all []Scheduled) (todo []Scheduled, err error) {
	err = r.o.Store.View(ctx, func(tx Tx) error {
		todo = nil
		for _, sc := range all {
			since, last, err := tx.Mark(sc.Policy, sc.Task)
			if err != nil {
				return err
			}
			if decide(sc, since, last, at).mark {
				todo = append(todo, sc)
			}
		}
		return nil
	})
	return todo, err
}

// due moves the mark and adds the job, in one transaction.
func (r *Runner) due(tx Tx, at time.Time, sc Scheduled) (skipped bool, err error) {
	since, last, err := tx.Mark(sc.Policy, sc.Task)
	if err != nil {
		return false, err
	}
	d := decide(sc, since, last, at)
	if !d.mark { // another process was faster
		return false, nil
	}
	if err := tx.PutMark(sc.Policy, sc.Task, d.since, d.last); err != nil || d.due.IsZero() {
		return false, err
	}
	j, err := sc.job(d)
	if err != nil {
		return false, err
	}
	open, err := tx.Jobs(Query{Group: sc.Group, Kind: sc.Kind, Object: j.Object, Open: true})
	if err != nil {
		return false, err
	}
	for _, before := range open {
		if before.Unique == j.Unique || sc.Queue && before.State == Running {
			continue
		}
		j.over(Canceled, fmt.Sprintf("skipped: the run before, job %s, was still %s when this one was due at %s",
			before.ID, before.State, d.due.Format(time.RFC3339)), errkind.InUse)
		skipped = true
		break
	}
	_, added, err := put(tx, j)
	return skipped && added, err
}

func (sc Scheduled) job(d decision) (Job, error) {
	j := Job{
		ID: volspec.JobID(newID()), Group: sc.Group, Kind: sc.Kind, Object: fmt.Sprintf("%s %s", sc.Policy, sc.Task),
		State: Queued, Created: now(), Priority: sc.Priority, Policy: sc.Policy,
		Unique: fmt.Sprintf("%s %s %d", sc.Policy, sc.Task, d.due.Unix()),
	}
	if j.Priority < 1 || j.Priority > 5 {
		j.Priority = 3
	}
	if sc.Params != nil {
		params, err := json.Marshal(sc.Params(d.due, d.missed))
		if err != nil {
			return j, errkind.Wrap(errkind.Internal, err, "parameters of a scheduled job")
		}
		j.Params = params
	}
	if d.missed > 0 {
		j.Warnings = []string{fmt.Sprintf("%d earlier runs were missed; this one catches up for all of them", d.missed)}
	}
	return j, nil
}
