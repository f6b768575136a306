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

// waiting is what is known of a schedule that asked for nothing: nor does it
// before until, whatever other processes do. Zero: never again.
type waiting struct {
	schedule schedule.Schedule
	since    time.Time
	until    time.Time
}

// dueNow finds the schedules that ask for something, without taking the
// catalog's lock. Marks are read only when a schedule may ask for something.
func (r *Runner) dueNow(ctx context.Context, at time.Time, all []Scheduled) (todo []Scheduled, err error) {
	known := r.known(at)
	waits := make(map[MarkOf]waiting, len(all))
	var look []Scheduled
	for _, sc := range all {
		w, ok := known[sc.of()]
		if ok && w.schedule.Same(sc.Schedule) && w.since.Equal(sc.Since) && (w.until.IsZero() || at.Before(w.until)) {
			waits[sc.of()] = w
			continue
		}
		look = append(look, sc)
	}
	var marks map[MarkOf]Mark
	if len(look) > 0 {
		if marks, err = r.marks(ctx, look); err != nil {
			return nil, err
		}
	}
	for _, sc := range look {
		m := marks[sc.of()]
		if decide(sc, m.Since, m.Last, at).mark {
			todo = append(todo, sc)
			continue
		}
		waits[sc.of()] = waiting{sc.Schedule, sc.Since, sc.Schedule.Next(later(later(m.Since, sc.Since), m.Last))}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits, r.ticked = waits, at
	return todo, nil
}

// known is what earlier ticks found, nothing if the clock was put back since.
func (r *Runner) known(at time.Time) map[MarkOf]waiting {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Before(r.ticked) {
		return nil
	}
	return r.waits
}

func (sc Scheduled) of() MarkOf { return MarkOf{sc.Policy, sc.Task} }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// fewMarks is up to how many marks are read one by one.
const fewMarks = 100

func (r *Runner) marks(ctx context.Context, of []Scheduled) (marks map[MarkOf]Mark, err error) {
	err = r.o.Store.View(ctx, func(tx Tx) error {
		if len(of) > fewMarks {
			marks, err = tx.Marks()
			return err
		}
		marks = map[MarkOf]Mark{}
		for _, sc := range of {
			since, last, err := tx.Mark(sc.Policy, sc.Task)
			if err != nil {
				return err
			}
			marks[sc.of()] = Mark{since, last}
		}
		return nil
	})
	return marks, err
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
