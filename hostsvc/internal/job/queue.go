package job

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Enqueue puts a job into the queue and returns it as it is there. ID may be
// left out, Priority is 3 then. With Unique, a job that was enqueued under it
// is returned instead, in whatever state it is. Jobs of one kind on one object
// run one after the other.
func (r *Runner) Enqueue(ctx context.Context, j Job) (Job, error) {
	return r.enqueue(ctx, j, false)
}

// EnqueueAlone is Enqueue, but while another job of the kind is queued or
// running on the object it is refused as in-use.
func (r *Runner) EnqueueAlone(ctx context.Context, j Job) (Job, error) {
	return r.enqueue(ctx, j, true)
}

// Put is Enqueue in a transaction of the caller, who calls Wake with what was
// added when that is committed. A job that Refused made is added as it is.
func (r *Runner) Put(tx Tx, j Job) (_ Job, added bool, err error) {
	if j, err = r.ready(j); err != nil {
		return j, false, err
	}
	return put(tx, j)
}

// Refused is j for Put as a job that does not run: it has failed for err.
func Refused(j Job, err error) Job {
	j.over(Failed, errkind.Text(err), errkind.Of(err))
	return j
}

// Wake lets the queue see jobs that were put, and tells of those that were
// refused.
func (r *Runner) Wake(ctx context.Context, put []Job) {
	r.poke()
	for _, j := range put {
		if j.Ended() {
			r.tell(context.WithoutCancel(ctx), j)
		}
	}
}

// ready completes and checks a job that is to be put.
func (r *Runner) ready(j Job) (Job, error) {
	if _, ok := r.o.Kinds[j.Kind]; !ok {
		return j, errkind.New(errkind.Internal, "there is no handler for jobs of kind %q", j.Kind)
	}
	j.Priority = cmp.Or(j.Priority, 3)
	if j.Priority < 1 || j.Priority > 5 {
		return j, errkind.New(errkind.Invalid, "priority %d is not valid: 1 is first, 5 is last", j.Priority)
	}
	j.ID = cmp.Or(j.ID, volspec.JobID(newID()))
	j.State, j.Created = cmp.Or(j.State, Queued), now()
	return j, nil
}

func (r *Runner) enqueue(ctx context.Context, j Job, alone bool) (Job, error) {
	j.State = Queued
	j, err := r.ready(j)
	if err != nil {
		return j, err
	}
	var out Job
	err = r.o.Store.Update(ctx, func(tx Tx) error {
		var added bool
		var err error
		if out, added, err = put(tx, j); err != nil || !added || !alone || j.Object == "" {
			return err
		}
		open, err := tx.Jobs(Query{Group: j.Group, Kind: j.Kind, Object: j.Object, Open: true})
		if err != nil {
			return err
		}
		for _, other := range open {
			if other.ID != j.ID {
				return errkind.New(errkind.InUse, "a %s job on %s is %s already (%s): wait for it, or cancel it", j.Kind, j.Object, other.State, other.ID)
			}
		}
		return nil
	})
	if err == nil {
		r.poke()
	}
	return out, err
}

// put adds a job unless its Unique has one already.
func put(tx Tx, j Job) (_ Job, added bool, err error) {
	if j.Unique != "" {
		have, err := tx.JobByUnique(j.Unique)
		if err == nil {
			return have, false, nil
		}
		if !errkind.Is(err, errkind.NotFound) {
			return j, false, err
		}
	}
	return j, true, tx.PutJob(j)
}

// Get reads a job; one that runs here has its progress of this moment.
func (r *Runner) Get(ctx context.Context, id volspec.JobID) (j Job, err error) {
	err = r.o.Store.View(ctx, func(tx Tx) error {
		j, err = tx.Job(id)
		return err
	})
	return r.fresh(j), err
}

// List reads jobs, newest first.
func (r *Runner) List(ctx context.Context, q Query) (list []Job, err error) {
	err = r.o.Store.View(ctx, func(tx Tx) error {
		list, err = tx.Jobs(q)
		return err
	})
	for i := range list {
		list[i] = r.fresh(list[i])
	}
	return list, err
}

// fresh adds what a job that runs here has reported since it was written.
func (r *Runner) fresh(j Job) Job {
	t := r.task(j.ID)
	if t == nil || j.State != Running || j.Fence != t.fence {
		return j
	}
	live := t.Job()
	j.Progress, j.Warnings = live.Progress, live.Warnings
	return j
}

// Cancel asks for a job's end: a queued one ends at once, a running one when
// its handler has stopped, in another process after the next renewal of its
// lease. Of one that has ended: in-use with its state.
func (r *Runner) Cancel(ctx context.Context, id volspec.JobID) (Job, error) {
	var j Job
	err := r.o.Store.Update(ctx, func(tx Tx) error {
		var err error
		if j, err = tx.Job(id); err != nil {
			return err
		}
		if j.Ended() {
			return errkind.New(errkind.InUse, "job %s has ended already: it is %s", id, j.State)
		}
		if j.State == Queued {
			j.over(Canceled, errCanceled.Error(), errkind.Unavailable)
		}
		j.Cancel = true
		return tx.PutJob(j)
	})
	if err != nil {
		return j, err
	}
	if t := r.task(id); t != nil && t.fence == j.Fence {
		t.end(errCanceled)
	}
	r.signal()
	if j.Ended() {
		r.tell(context.WithoutCancel(ctx), j)
	}
	return r.fresh(j), nil
}

// Wait is Get when the job has ended; when ctx ends first, the job as it is.
func (r *Runner) Wait(ctx context.Context, id volspec.JobID) (Job, error) {
	tick := time.NewTicker(time.Second) // a job may end in another process
	defer tick.Stop()
	for {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		j, err := r.Get(context.WithoutCancel(ctx), id)
		if err != nil || j.Ended() {
			return j, err
		}
		select {
		case <-ctx.Done():
			return j, nil
		case <-ended:
		case <-tick.C:
		}
	}
}
