package job

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// do works on one job and records its end.
func (r *Runner) do(ctx context.Context, t *Task, h Handler) {
	err := run(ctx, t, h)
	crashpoint.Here("job.end.unrecorded")
	j, kept := r.finish(ctx, t, h, err)
	crashpoint.Here("job.end.recorded")
	t.lease.Stop()
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

// run keeps one tenant's broken image from ending the service for all.
func run(ctx context.Context, t *Task, h Handler) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.G(ctx).WithField("stack", string(debug.Stack())).Error("the handler of a job panicked")
			err = errkind.New(errkind.Internal, "mooringd has a bug, please report it: %v", p)
		}
	}()
	return h.Run(ctx, t)
}

// finish writes how a job ended, and tries for as long as a lease lasts. A
// job whose lease was lost is somebody else's: nothing is written.
func (r *Runner) finish(ctx context.Context, t *Task, h Handler, err error) (Job, bool) {
	cause := context.Cause(ctx)
	ctx = context.WithoutCancel(ctx)
	var out Job
	for deadline := time.Now().Add(r.o.Lease); ; {
		brief, cancel := r.briefly(ctx)
		werr := t.owned(brief, func(j *Job) {
			j.end(err, cause, h)
			out = *j
		})
		cancel()
		switch {
		case werr == nil:
			return out, true
		case errors.Is(werr, errLost):
			log.G(ctx).Warn("a job that ended here belongs to another mooringd meanwhile: its end is not recorded")
			return out, false
		case time.Now().After(deadline):
			log.G(ctx).WithField(log.Err, werr.Error()).Warn("the end of a job was not recorded, its lease runs out")
			return out, false
		}
		pause := time.NewTimer(time.Second)
		<-pause.C
	}
}

// end decides in which state a job ends whose handler has returned err.
func (j *Job) end(err, cause error, h Handler) {
	problem := ""
	if err != nil {
		problem = errkind.Text(err)
	}
	endStep(j, now(), problem)
	_, partial := errors.AsType[*partialError](err)
	switch {
	case err == nil: // even if its end was asked for: everything was done already
		j.over(Done, "", "")
	case j.Cancel || errors.Is(cause, errCanceled):
		j.over(Canceled, "the job was canceled in step "+cmp.Or(j.Stage, "start"), errkind.Unavailable)
	case errors.Is(cause, errStopping):
		j.Attempts-- // an orderly stop is no failed attempt
		j.again()
	case errors.Is(cause, errLost): // for want of a catalog, but nobody took it
		if h.Resume {
			j.again()
		} else {
			j.over(Failed, interruptedText(*j), errkind.Unavailable)
		}
	case partial:
		j.over(Partial, problem, errkind.Of(err))
	default:
		if j.Stage != "" {
			problem = "step " + j.Stage + ": " + problem
		}
		j.over(Failed, problem, errkind.Of(err))
	}
}

// over ends a job for good.
func (j *Job) over(s State, problem string, kind errkind.Kind) {
	j.State, j.EndedAt, j.Error, j.Kept = s, now(), problem, kind
	j.Owner, j.Expires = "", time.Time{}
}

// again puts a job back into the queue.
func (j *Job) again() {
	j.State, j.EndedAt = Queued, time.Time{}
	j.Owner, j.Expires = "", time.Time{}
}

// tell is called once for each job that ends, by the process that ended it.
func (r *Runner) tell(ctx context.Context, j Job) {
	e := log.G(log.With(ctx, "job", string(j.ID), log.Op, j.Kind, "object", j.Object, "state", string(j.State)))
	if j.State == Failed || j.State == Partial {
		e.WithField(log.Err, j.Error).WithField(log.Kind, j.Kept).Warn("job ended")
	} else {
		e.Info("job ended")
	}
	if h := r.o.Kinds[j.Kind]; h.Ended != nil {
		h.Ended(ctx, j)
	}
}
