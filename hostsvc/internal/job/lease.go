package job

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// forgetUnknown is how long a dead job of a kind that this build does not know
// waits for a process that does.
const forgetUnknown = time.Hour

// takeAll begins jobs until nothing more may run.
func (r *Runner) takeAll(ctx, jobs context.Context) error {
	for ctx.Err() == nil {
		t, err := r.take(ctx, jobs)
		if err != nil || t == nil {
			return err
		}
	}
	return nil
}

// take leases the next job and begins it; those of dead processes are given
// back first. Nothing to do is nil.
func (r *Runner) take(ctx, jobs context.Context) (*Task, error) {
	brief, cancel := r.briefly(ctx)
	defer cancel()
	if idle, err := r.idle(brief); idle || err != nil {
		return nil, err
	}
	var got Job
	var over []Job
	found := false
	asked := time.Now()
	err := r.o.Store.Update(brief, func(tx Tx) error {
		found = false
		clock, open, err := r.look(tx)
		if err != nil {
			return err
		}
		settled := false
		if over, settled, err = r.settle(tx, clock, open); err != nil {
			return err
		}
		if settled { // what was given back may be for other transporters
			if _, open, err = r.look(tx); err != nil {
				return err
			}
		}
		if got, found = next(open, r.o, r.turns, r.fair()); !found {
			return nil
		}
		got.begin(r.o.Instance, clock.Add(r.o.Lease))
		return tx.PutJob(got)
	})
	if err != nil {
		return nil, err
	}
	for _, j := range over {
		r.work.Go(func() { r.tell(context.WithoutCancel(jobs), j) })
	}
	if len(over) > 0 {
		r.signal()
	}
	if !found {
		return nil, nil
	}
	crashpoint.Here("job.take.leased")
	r.turn++
	r.turns[got.Group] = r.turn
	run, end := context.WithCancelCause(log.With(jobs, "job", string(got.ID)))
	t := newTask(r, got, end)
	t.held(asked)
	r.mu.Lock()
	r.tasks[got.ID] = t
	r.mu.Unlock()
	r.work.Go(func() { r.do(run, t, r.o.Kinds[got.Kind]) })
	return t, nil
}

// fair reports whether the next job is chosen by turns alone.
func (r *Runner) fair() bool { return r.turn%2 == 1 }

// begin leases a queued job to a process.
func (j *Job) begin(instance string, expires time.Time) {
	j.State, j.Begun, j.Owner, j.Expires = Running, now(), instance, expires
	j.Fence++
	j.Attempts++
	j.Progress, j.Error, j.Kept, j.Stage = Progress{}, "", "", ""
}

func (r *Runner) look(tx Tx) (clock time.Time, open []Job, err error) {
	if clock, err = tx.Clock(); err == nil {
		open, err = tx.OpenJobs(r.o.Transporter)
	}
	return clock, open, err
}

// idle reports, without taking the catalog's lock, that there is nothing to
// begin and nothing to settle.
func (r *Runner) idle(ctx context.Context) (idle bool, err error) {
	err = r.o.Store.View(ctx, func(tx Tx) error {
		clock, open, err := r.look(tx)
		if err != nil {
			return err
		}
		_, found := next(open, r.o, r.turns, r.fair())
		idle = !found
		for _, j := range open {
			idle = idle && r.lease(j, clock) == alive
		}
		return nil
	})
	return idle, err
}

// What a lease is worth.
type lease int

const (
	alive lease = iota
	dead
	odd // it lasts longer than any: the clock was put back
)

// lease looks at a job's. Those of our own tasks are not a matter of clocks.
func (r *Runner) lease(j Job, clock time.Time) lease {
	if j.State != Running {
		return alive
	}
	if j.Owner == r.o.Instance {
		if t := r.task(j.ID); t != nil && t.fence == j.Fence {
			return alive
		}
		return dead // the write of its end failed
	}
	switch left := j.Expires.Sub(clock); {
	case left <= 0:
		return dead
	case left > 2*r.o.Lease:
		return odd
	}
	return alive
}

// settle decides about the jobs of dead processes, whoever may take them next,
// and reports whether there were any.
func (r *Runner) settle(tx Tx, clock time.Time, open []Job) (over []Job, settled bool, err error) {
	for _, j := range open {
		switch r.lease(j, clock) {
		case odd:
			j.Expires = clock.Add(r.o.Lease) // its owner, if it lives, renews it
		case dead:
			if !r.interrupted(&j, clock) {
				continue
			}
		default:
			continue
		}
		if err := tx.PutJob(j); err != nil {
			return nil, false, err
		}
		settled = true
		if j.Ended() {
			over = append(over, j)
		}
	}
	return over, settled, nil
}

// interrupted decides what becomes of a job whose process is dead; false
// leaves it for another process.
func (r *Runner) interrupted(j *Job, clock time.Time) bool {
	h, known := r.o.Kinds[j.Kind]
	if !known && clock.Sub(j.Expires) < forgetUnknown {
		return false
	}
	endStep(j, now(), "interrupted")
	j.Fence++ // whoever wakes up late must not write
	switch {
	case j.Cancel:
		j.over(Canceled, errCanceled.Error(), errkind.Unavailable)
	case h.Resume && j.Attempts < r.o.Attempts:
		j.again()
	default:
		j.over(Failed, interruptedText(*j), errkind.Unavailable)
	}
	return true
}

func interruptedText(j Job) string {
	text := "interrupted in step " + cmp.Or(j.Stage, "start") + ": mooringd stopped while the job ran"
	if j.Attempts > 1 {
		text += ", as it did in earlier attempts"
	}
	return text + "; run it again"
}

// inherit ends the leases of all other processes, of which none is alive.
func (r *Runner) inherit(ctx context.Context) error {
	brief, cancel := r.briefly(ctx)
	defer cancel()
	return r.o.Store.Update(brief, func(tx Tx) error {
		clock, open, err := r.look(tx)
		if err != nil {
			return err
		}
		for _, j := range open {
			if j.State != Running || j.Owner == r.o.Instance {
				continue
			}
			j.Expires = clock
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		return nil
	})
}
