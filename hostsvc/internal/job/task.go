package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Why the context of a running job ends.
var (
	errStopping = errkind.New(errkind.Unavailable, "mooringd is stopping: the job goes on after its restart")
	errLost     = errkind.New(errkind.Unavailable, "the lease on the job was lost to another mooringd")
	errCanceled = errkind.New(errkind.Unavailable, "the job was canceled")
)

// partialError is an error that leaves a part done.
type partialError struct{ err error }

func (p *partialError) Error() string { return p.err.Error() }
func (p *partialError) Unwrap() error { return p.err }

// PartialError marks err as that of a job that did a part; nil stays nil.
func PartialError(err error) error {
	if err == nil {
		return nil
	}
	return &partialError{err}
}

// Task is a running job as its handler sees it. Its methods are safe for
// concurrent use. What changes the row fails once the lease is lost.
type Task struct {
	r     *Runner
	fence int64
	id    volspec.JobID
	end   context.CancelCauseFunc
	lease *time.Timer   // ends the context when the lease may be over
	turn  chan struct{} // full while the row is being written: one at a time

	mu      sync.Mutex // guards the fields below
	job     Job
	dirty   bool // what was reported is not written yet
	written time.Time
	meter   meter
}

func newTask(r *Runner, j Job, end context.CancelCauseFunc) *Task {
	t := &Task{r: r, fence: j.Fence, id: j.ID, end: end, job: j, turn: make(chan struct{}, 1), written: time.Now()}
	t.lease = time.AfterFunc(r.o.Lease, func() { end(errLost) })
	return t
}

// held tells that the lease was good when it was asked for at that time.
func (t *Task) held(asked time.Time) { t.lease.Reset(t.r.o.Lease - time.Since(asked)) }

// ID is the job's.
func (t *Task) ID() volspec.JobID { return t.id }

// Job is the job as it is now.
func (t *Task) Job() Job {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.job
}

// Params decodes the parameters.
func (t *Task) Params(into any) error { return t.Job().Read(into) }

// Notes decodes what Save kept, in this attempt or an earlier one.
func (t *Task) Notes(into any) (found bool, err error) {
	j := t.Job()
	if len(j.Saved) == 0 {
		return false, nil
	}
	return true, errkind.Wrap(errkind.Corrupt, json.Unmarshal(j.Saved, into), "the notes of job %s are damaged", j.ID)
}

// Save keeps v durably before it returns.
func (t *Task) Save(ctx context.Context, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "notes of job %s", t.id)
	}
	return t.change(ctx, func(j *Job) { j.Saved = b })
}

// maxSteps bounds the list of steps of a job that is begun again and again.
const maxSteps = 100

// Stage ends the step before and begins another, durably: it is the one that
// an error is shown with.
func (t *Task) Stage(ctx context.Context, name string) error {
	return t.change(ctx, func(j *Job) {
		at := now()
		endStep(j, at, "")
		j.Stage = name
		j.Steps = append(j.Steps, Step{Name: name, Begun: at})
		if n := len(j.Steps); n > maxSteps {
			j.Steps = append([]Step{}, j.Steps[n-maxSteps:]...)
		}
	})
}

func endStep(j *Job, at time.Time, problem string) {
	if n := len(j.Steps); n > 0 && j.Steps[n-1].Ended.IsZero() {
		steps := append([]Step{}, j.Steps...)
		steps[n-1].Ended, steps[n-1].Error = at, problem
		j.Steps = steps
	}
}

// Report tells of progress. It costs nothing: the catalog is told about once a
// second. Rate is computed.
func (t *Task) Report(p Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.Rate = t.meter.rate(time.Now(), p.Done)
	t.job.Progress, t.dirty = p, true
}

// maxWarnings bounds what a job complains of.
const maxWarnings = 50

// Warn tells people something that did not fail the job.
func (t *Task) Warn(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.job.Warnings) < maxWarnings {
		t.job.Warnings, t.dirty = append(append([]string{}, t.job.Warnings...), text), true
	}
}

// Result is what the job leaves for people.
func (t *Task) Result(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		return // a value of our own types: it can be marshalled
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.job.Result, t.dirty = b, true
}

// Stopping reports whether ctx, or one that it was made of, ended because the
// service stops or the lease was lost: the job goes on elsewhere or later,
// nothing of it is to be undone.
func (t *Task) Stopping(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errStopping) || errors.Is(cause, errLost)
}

// due reports whether the row should be written now: the lease wants to be
// renewed, or something was reported and the last write is a while ago.
func (t *Task) due() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	age := time.Since(t.written)
	return age >= t.r.o.Lease/3 || t.dirty && age >= flushEvery
}

// change writes the row with fn applied, if the lease is still held, and so
// renews it. If the job's end was asked for, its context ends.
func (t *Task) change(ctx context.Context, fn func(*Job)) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	asked := time.Now()
	var next Job
	err := t.owned(ctx, func(j *Job) {
		if fn != nil {
			fn(j)
		}
		next = *j
	})
	if errors.Is(err, errLost) {
		t.end(errLost)
	}
	if err != nil {
		return err
	}
	t.held(asked)
	t.mu.Lock()
	// More may have been reported meanwhile.
	t.dirty = !slices.Equal(next.Warnings, t.job.Warnings) || next.Progress != t.job.Progress || !bytes.Equal(next.Result, t.job.Result)
	next.Progress, next.Warnings, next.Result = t.job.Progress, t.job.Warnings, t.job.Result
	t.job, t.written = next, asked
	t.mu.Unlock()
	if next.Cancel {
		t.end(errCanceled)
	}
	return nil
}

// owned changes the row in a transaction in which the lease is still held.
func (t *Task) owned(ctx context.Context, fn func(*Job)) error {
	return t.r.o.Store.Update(ctx, func(tx Tx) error {
		j, err := tx.Job(t.id)
		if errkind.Is(err, errkind.NotFound) {
			return errLost
		}
		if err != nil {
			return err
		}
		if j.State != Running || j.Owner != t.r.o.Instance || j.Fence != t.fence {
			return errLost
		}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		live := t.Job()
		j.Progress, j.Warnings, j.Result = live.Progress, live.Warnings, live.Result
		j.Expires = clock.Add(t.r.o.Lease)
		fn(&j)
		return tx.PutJob(j)
	})
}

func newID() string { return uuid.NewString() }

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
