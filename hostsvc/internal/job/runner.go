package job

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Options are the parts and settings of a Runner.
type Options struct {
	Store    Store
	Instance string // of this process, unique
	Kinds    map[string]Handler
	Total    int           // jobs that run at a time; 0: 2
	PerGroup int           // of one vmgroup; 0: Total
	Lease    time.Duration // how long a dead process keeps its jobs; 0: 30 s
	Poll     time.Duration // between two looks at the queue; 0: 2 s
	Keep     time.Duration // how long ended jobs are kept; 0: 90 days
	Attempts int           // after so many a job that is interrupted again fails; 0: 5
}

// Runner works on the queue of one catalog for one process. All methods are
// safe for concurrent use.
type Runner struct {
	o    Options
	wake chan struct{}

	mu    sync.Mutex // guards tasks and ended
	tasks map[volspec.JobID]*Task
	ended chan struct{} // closed and replaced when a job ends
	work  sync.WaitGroup
}

// New returns a runner that does nothing until Run.
func New(o Options) *Runner {
	o.Total = cmp.Or(o.Total, 2)
	o.PerGroup = cmp.Or(o.PerGroup, o.Total)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, 2*time.Second)
	o.Keep = cmp.Or(o.Keep, 90*24*time.Hour)
	o.Attempts = cmp.Or(o.Attempts, 5)
	return &Runner{o: o, wake: make(chan struct{}, 1), tasks: map[volspec.JobID]*Task{}, ended: make(chan struct{})}
}

// Enqueue puts a job into the queue and returns it as it is there. ID may be
// left out. With Unique, a job that was enqueued under it is returned instead.
func (r *Runner) Enqueue(ctx context.Context, j Job) (Job, error) {
	if _, ok := r.o.Kinds[j.Kind]; !ok {
		return j, errkind.New(errkind.Internal, "there is no handler for jobs of kind %q", j.Kind)
	}
	j.ID = cmp.Or(j.ID, volspec.JobID(newID()))
	j.State, j.Created, j.Priority = Queued, now(), cmp.Or(j.Priority, 3)
	var out Job
	err := r.o.Store.Update(ctx, func(tx Tx) error {
		out = j
		return enqueue(tx, &out)
	})
	if err == nil {
		r.poke()
	}
	return out, err
}

// enqueue is Enqueue inside a transaction.
func enqueue(tx Tx, j *Job) error {
	if j.Unique != "" {
		have, err := tx.JobByUnique(j.Unique)
		if err == nil {
			*j = have
			return nil
		}
		if !errkind.Is(err, errkind.NotFound) {
			return err
		}
	}
	return tx.PutJob(*j)
}

func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
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

func (r *Runner) fresh(j Job) Job {
	r.mu.Lock()
	t := r.tasks[j.ID]
	r.mu.Unlock()
	if t == nil || j.State != Running {
		return j
	}
	live := t.Job()
	j.Progress, j.Warnings = live.Progress, live.Warnings
	return j
}

// Cancel asks for a job's end: a queued one ends at once, a running one when
// its handler has stopped. Of one that has ended: in-use with its state.
func (r *Runner) Cancel(ctx context.Context, id volspec.JobID) (Job, error) {
	var j Job
	err := r.o.Store.Update(ctx, func(tx Tx) error {
		var err error
		if j, err = tx.Job(id); err != nil {
			return err
		}
		switch {
		case j.Ended():
			return errkind.New(errkind.InUse, "job %s has ended already: it is %s", id, j.State)
		case j.State == Queued:
			j.State, j.EndedAt, j.Error, j.Kept = Canceled, now(), errCanceled.Error(), errkind.Unavailable
		}
		j.Cancel = true
		return tx.PutJob(j)
	})
	if err != nil {
		return j, err
	}
	r.mu.Lock()
	t := r.tasks[id]
	r.mu.Unlock()
	if t != nil {
		t.end(errCanceled)
	}
	r.signal()
	return j, nil
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

func (r *Runner) signal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.ended)
	r.ended = make(chan struct{})
}

// Run takes jobs and works on them until ctx ends; then running ones are told
// to stop, queued again, and Run returns when the last handler has.
func (r *Runner) Run(ctx context.Context) error {
	stop, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	defer r.work.Wait()
	defer end(errStopping)
	tick := time.NewTicker(r.o.Poll)
	defer tick.Stop()
	renew := time.NewTicker(r.o.Lease / 3)
	defer renew.Stop()
	trim := time.NewTicker(time.Hour)
	defer trim.Stop()
	for {
		if err := r.takeAll(ctx, stop); err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("the queue of jobs cannot be read, it is tried again")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		case <-tick.C:
		case <-renew.C:
			r.renew(ctx)
		case <-trim.C:
			r.trim(ctx)
		}
		r.flush(ctx)
	}
}

// takeAll begins jobs until nothing more may run.
func (r *Runner) takeAll(ctx, stop context.Context) error {
	for {
		t, h, err := r.take(ctx, stop)
		if err != nil || t == nil {
			return err
		}
		r.work.Go(func() { r.do(t.ctx, t.Task, h) })
	}
}

// started is a task with its context, which lives as long as it does.
type started struct {
	*Task
	ctx context.Context
}

// take leases the next job, and gives back those of dead processes.
func (r *Runner) take(ctx, stop context.Context) (*started, Handler, error) {
	var got Job
	found := false
	var over []Job
	err := r.o.Store.Update(ctx, func(tx Tx) error {
		found, over = false, nil
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		open, err := tx.OpenJobs()
		if err != nil {
			return err
		}
		for i, j := range open {
			if j.State != Running || j.Expires.After(clock) && !r.stray(j) {
				continue
			}
			if open[i], err = r.interrupted(tx, j); err != nil {
				return err
			}
			if open[i].Ended() {
				over = append(over, open[i])
			}
		}
		j, ok := next(open, r.o, r.free)
		if !ok {
			return nil
		}
		j.State, j.Begun, j.Owner, j.Expires = Running, now(), r.o.Instance, clock.Add(r.o.Lease)
		j.Fence++
		j.Attempts++
		j.Progress, j.Error, j.Kept, j.Stage = Progress{}, "", "", ""
		got, found = j, true
		return tx.PutJob(j)
	})
	if err != nil {
		return nil, Handler{}, err
	}
	for _, j := range over {
		r.tell(ctx, j)
	}
	if !found {
		return nil, Handler{}, nil
	}
	run, end := context.WithCancelCause(log.With(stop, "job", string(got.ID)))
	t := &Task{r: r, fence: got.Fence, id: got.ID, end: end, job: got}
	r.mu.Lock()
	r.tasks[got.ID] = t
	r.mu.Unlock()
	return &started{t, run}, r.o.Kinds[got.Kind], nil
}

// stray reports whether a running job bears this process's name without being
// worked on: an update of its end failed.
func (r *Runner) stray(j Job) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return j.Owner == r.o.Instance && r.tasks[j.ID] == nil
}

func (r *Runner) free(kind string) bool { return r.o.Kinds[kind].Free }

// interrupted is what becomes of a job whose process is dead.
func (r *Runner) interrupted(tx Tx, j Job) (Job, error) {
	endStep(&j, now(), "interrupted")
	h, known := r.o.Kinds[j.Kind]
	switch {
	case j.Cancel:
		j.State, j.EndedAt, j.Error, j.Kept = Canceled, now(), errCanceled.Error(), errkind.Unavailable
	case !known:
		return j, nil // a newer mooringd's: it takes it itself
	case h.Resume && j.Attempts < r.o.Attempts:
		j.State = Queued
	default:
		j.State, j.EndedAt, j.Kept = Failed, now(), errkind.Unavailable
		j.Error = "interrupted in step " + cmp.Or(j.Stage, "start") + ": mooringd stopped while the job ran; run it again"
	}
	j.Owner, j.Expires = "", time.Time{}
	j.Fence++
	return j, tx.PutJob(j)
}

// do works on one job and records its end.
func (r *Runner) do(ctx context.Context, t *Task, h Handler) {
	err := run(ctx, t, h)
	if err == nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStopping) && !errors.Is(context.Cause(ctx), errLost) {
		// It was canceled, but had done everything already.
		err = nil
	}
	j, kept := r.finish(ctx, t, h, err)
	r.mu.Lock()
	delete(r.tasks, t.id)
	r.mu.Unlock()
	t.end(nil)
	r.signal()
	r.poke()
	if kept && j.Ended() {
		r.tell(context.WithoutCancel(ctx), j)
	}
}

func run(ctx context.Context, t *Task, h Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errkind.New(errkind.Internal, "panic: %v", p)
		}
	}()
	return h.Run(ctx, t)
}

// finish writes how a job ended. A job whose lease was lost is somebody
// else's: nothing is written.
func (r *Runner) finish(ctx context.Context, t *Task, h Handler, err error) (Job, bool) {
	cause := context.Cause(ctx)
	out := t.Job()
	w, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	werr := r.o.Store.Update(w, func(tx Tx) error {
		have, e := tx.Job(t.id)
		if e != nil {
			return e
		}
		if have.State != Running || have.Owner != r.o.Instance || have.Fence != t.fence {
			return errLost
		}
		out = t.Job()
		out.Cancel = have.Cancel
		out.end(err, cause, h)
		return tx.PutJob(out)
	})
	if werr != nil {
		log.G(w).WithField(log.Err, werr.Error()).Warn("the end of a job was not recorded, its lease runs out")
		return out, false
	}
	return out, true
}

// end decides in which state a job ends.
func (j *Job) end(err, cause error, h Handler) {
	problem := ""
	if err != nil {
		problem = errkind.Text(err)
	}
	endStep(j, now(), problem)
	j.Owner, j.Expires = "", time.Time{}
	j.EndedAt = now()
	_, partial := errors.AsType[*partialError](err)
	switch {
	case err == nil:
		j.State, j.Error, j.Kept = Done, "", ""
		return
	case errors.Is(cause, errStopping) && h.Resume:
		j.State, j.EndedAt = Queued, time.Time{}
		j.Attempts-- // an orderly stop is no failed attempt
		return
	case j.Cancel || errors.Is(cause, errCanceled):
		j.State, problem = Canceled, "the job was canceled in step "+cmp.Or(j.Stage, "start")
	case partial:
		j.State = Partial
	default:
		j.State = Failed
		if j.Stage != "" {
			problem = "step " + j.Stage + ": " + problem
		}
	}
	j.Error, j.Kept = problem, errkind.Of(err)
}

func (r *Runner) tell(ctx context.Context, j Job) {
	e := log.G(log.With(ctx, "job", string(j.ID), log.Op, j.Kind, "object", j.Object, "state", string(j.State)))
	if j.State == Failed || j.State == Partial {
		e.WithField(log.Err, j.Error).Warn("job ended")
	} else {
		e.Info("job ended")
	}
	if h := r.o.Kinds[j.Kind]; h.Ended != nil {
		h.Ended(ctx, j)
	}
}

// renew keeps the leases of the jobs that run here.
func (r *Runner) renew(ctx context.Context) {
	for _, t := range r.running() {
		if err := t.change(ctx, nil); err != nil && !errors.Is(err, errLost) && !errors.Is(err, errCanceled) {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("the lease of a job could not be renewed")
		}
	}
}

// flush writes progress that has changed.
func (r *Runner) flush(ctx context.Context) {
	for _, t := range r.running() {
		t.mu.Lock()
		dirty := t.dirty
		t.dirty = false
		t.mu.Unlock()
		if dirty {
			_ = t.change(ctx, nil) // tried again with the next
		}
	}
}

func (r *Runner) running() []*Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []*Task
	for _, t := range r.tasks {
		all = append(all, t)
	}
	return all
}

func (r *Runner) trim(ctx context.Context) {
	err := r.o.Store.Update(ctx, func(tx Tx) error {
		_, err := tx.TrimJobs(now().Add(-r.o.Keep))
		return err
	})
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("old jobs could not be removed")
	}
}
