package job

import (
	"context"
	"encoding/json"
	"errors"
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

	mu    sync.Mutex // guards job, dirty and meter
	job   Job
	dirty bool
	meter meter
}

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

// Stage ends the step before and begins another, durably.
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

// Report tells of progress. It reaches the catalog about once a second.
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

// Stopping reports whether ctx ended because the service stops or the lease
// was lost: the job goes on elsewhere or later, nothing of it is to be undone.
func (t *Task) Stopping(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return errors.Is(cause, errStopping) || errors.Is(cause, errLost)
}

// change writes the row with fn applied, if the lease is still held.
func (t *Task) change(ctx context.Context, fn func(*Job)) error {
	t.mu.Lock()
	next := t.job
	t.mu.Unlock()
	if fn != nil {
		fn(&next)
	}
	var cancel bool
	err := t.r.o.Store.Update(ctx, func(tx Tx) error {
		have, err := tx.Job(t.id)
		if err != nil {
			return err
		}
		if have.State != Running || have.Owner != t.r.o.Instance || have.Fence != t.fence {
			return errLost
		}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		cancel = have.Cancel
		next.Cancel, next.Expires = have.Cancel, clock.Add(t.r.o.Lease)
		return tx.PutJob(next)
	})
	if errors.Is(err, errLost) {
		t.end(errLost)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	// Progress and warnings may have gone on meanwhile.
	next.Progress, next.Warnings, next.Result = t.job.Progress, t.job.Warnings, t.job.Result
	t.job = next
	t.mu.Unlock()
	if cancel {
		t.end(errCanceled)
		return errCanceled
	}
	return nil
}

// meter measures bytes per second over the last seconds.
type meter struct {
	at   time.Time
	done int64
	last float64
}

func (m *meter) rate(at time.Time, done int64) float64 {
	if m.at.IsZero() || done < m.done {
		m.at, m.done, m.last = at, done, 0
		return 0
	}
	if passed := at.Sub(m.at).Seconds(); passed >= 1 {
		fresh := float64(done-m.done) / passed
		if m.last == 0 {
			m.last = fresh
		} else {
			m.last = 0.6*m.last + 0.4*fresh
		}
		m.at, m.done = at, done
	}
	return m.last
}

func newID() string { return uuid.NewString() }

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }
