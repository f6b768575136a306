package job_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// kinds is one kind of job.
func kinds(h job.Handler) map[string]job.Handler { return map[string]job.Handler{"k": h} }

func row(t *testing.T, s *memStore, j job.Job) job.Job {
	t.Helper()
	require.NoError(t, s.View(context.Background(), func(tx job.Tx) (err error) {
		j, err = tx.Job(j.ID)
		return err
	}))
	return j
}

func TestOrderlyStop(t *testing.T) {
	for name, resume := range map[string]bool{"resumes": true, "begins anew": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				attempt := 0
				var stopped time.Time
				h := job.Handler{Resume: resume, Run: func(ctx context.Context, task *job.Task) error {
					if attempt++; attempt == 2 {
						var note int
						found, err := task.Notes(&note)
						require.True(t, found && err == nil && note == 5)
						assert.False(t, stopped.IsZero(), "until the first has stopped nobody else begins")
						return nil
					}
					require.NoError(t, task.Stage(ctx, "copy"))
					require.NoError(t, task.Save(ctx, 5))
					<-ctx.Done()
					require.True(t, task.Stopping(ctx))
					assert.ErrorContains(t, context.Cause(ctx), "mooringd is stopping")
					time.Sleep(3 * time.Minute) // undoing takes longer than a lease
					stopped = time.Now()
					return errors.New("whatever came of it")
				}}
				one, stopOne := start(t, job.Options{Store: store, Kinds: kinds(h)})
				j := enqueue(t, one, job.Job{})
				synctest.Wait()
				two, stopTwo := start(t, job.Options{Store: store, Kinds: kinds(h), Instance: "two"})
				stopOne()
				j = wait(t, two, j)
				stopTwo()
				assert.Equal(t, job.Done, j.State)
				assert.Equal(t, 1, j.Attempts, "an orderly stop is no failed attempt")
				assert.Equal(t, int64(2), j.Fence)
				assert.Equal(t, 2, attempt)
			})
		})
	}
}

func TestStopOfACanceledJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		r, stop := start(t, job.Options{Store: store, Kinds: kinds(handler(func(ctx context.Context, _ *job.Task) error {
			<-ctx.Done()
			time.Sleep(time.Second)
			return context.Cause(ctx)
		}))})
		j := enqueue(t, r, job.Job{})
		synctest.Wait()
		other := job.New(job.Options{Store: store, Instance: "two"})
		_, err := other.Cancel(t.Context(), j.ID)
		require.NoError(t, err)
		stop()
		assert.Equal(t, job.Canceled, row(t, store, j).State, "it does not come back")
	})
}

// A process that was stopped (SIGSTOP, a frozen VM) while its lease ran out
// wakes up: nothing that it writes counts.
func TestSleeperWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		l := &link{Store: store}
		wake := make(chan struct{})
		var errs []error
		var told []string
		var mu sync.Mutex
		h := func(instance string, run func(ctx context.Context, task *job.Task) error) job.Handler {
			return job.Handler{Resume: true, Run: run, Ended: func(context.Context, job.Job) { mu.Lock(); told = append(told, instance); mu.Unlock() }}
		}
		one, stopOne := start(t, job.Options{Store: l, Kinds: kinds(h("one", func(ctx context.Context, task *job.Task) error {
			require.NoError(t, task.Save(ctx, "one"))
			<-wake // deaf to its context, as a sleeper is
			require.True(t, task.Stopping(ctx))
			late := context.WithoutCancel(ctx)
			errs = append(errs, task.Save(late, "late"), task.Stage(late, "late"))
			task.Report(job.Progress{Done: 99})
			task.Warn("late")
			return nil
		}))})
		j := enqueue(t, one, job.Job{})
		synctest.Wait()
		l.cut(true)
		began := time.Now()
		two, stopTwo := start(t, job.Options{Store: store, Instance: "two", Kinds: kinds(h("two", func(ctx context.Context, task *job.Task) error {
			require.NoError(t, task.Stage(ctx, "copy"))
			time.Sleep(time.Minute)
			l.cut(false)
			close(wake)
			time.Sleep(time.Minute)
			var note string
			found, err := task.Notes(&note)
			require.True(t, found && err == nil && note == "one")
			return task.Save(ctx, "two")
		}))})
		j = wait(t, two, j)
		took := time.Since(began)
		stopOne()
		stopTwo()
		assert.GreaterOrEqual(t, took, 2*time.Minute+20*time.Second)
		assert.Less(t, took, 2*time.Minute+33*time.Second, "taken over within a lease")
		require.Len(t, errs, 2)
		for _, err := range errs {
			assert.ErrorContains(t, err, "lease on the job was lost")
		}
		assert.Equal(t, job.Done, j.State)
		assert.JSONEq(t, `"two"`, string(j.Saved))
		assert.Equal(t, "copy", j.Stage)
		assert.Empty(t, j.Warnings)
		assert.Zero(t, j.Progress.Done)
		assert.Equal(t, 2, j.Attempts)
		assert.Equal(t, []string{"two"}, told)
	})
}

// While the catalog is away for less than a lease nothing happens; for longer,
// the handler is told before anybody else may begin.
func TestCatalogAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		l := &link{Store: store}
		var attempts atomic.Int64
		h := handler(func(ctx context.Context, task *job.Task) error {
			attempts.Add(1)
			select {
			case <-ctx.Done():
				assert.ErrorContains(t, context.Cause(ctx), "lease on the job was lost")
				return context.Cause(ctx)
			case <-time.After(2 * time.Minute):
				return nil
			}
		})
		r, stop := start(t, job.Options{Store: l, Kinds: kinds(h)})
		defer stop()
		j := enqueue(t, r, job.Job{})
		time.Sleep(35 * time.Second)
		l.cut(true)
		time.Sleep(15 * time.Second)
		l.cut(false)
		time.Sleep(15 * time.Second)
		assert.EqualValues(t, 1, attempts.Load())
		l.cut(true)
		time.Sleep(29 * time.Second)
		assert.Empty(t, row(t, store, j).Steps)
		expires := row(t, store, j).Expires
		time.Sleep(3 * time.Second)
		assert.True(t, expires.Before(time.Now()))
		l.cut(false)
		j = wait(t, r, j)
		assert.Equal(t, job.Done, j.State)
		assert.EqualValues(t, 2, attempts.Load())
	})
}

// The end of a job survives a catalog that is away in that moment.
func TestEndIsWrittenWhenTheCatalogIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{Store: newStore()}
		var attempts atomic.Int64
		r, stop := start(t, job.Options{Store: l, Kinds: kinds(job.Handler{Run: func(context.Context, *job.Task) error {
			attempts.Add(1)
			l.cut(true)
			return nil
		}})})
		defer stop()
		j := enqueue(t, r, job.Job{})
		time.Sleep(20 * time.Second)
		l.cut(false)
		assert.Equal(t, job.Done, wait(t, r, j).State)
		assert.EqualValues(t, 1, attempts.Load())
	})
}

// Clocks that jump take no job away from who works on it, and let none run
// for ever.
func TestClockJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		h := handler(func(ctx context.Context, _ *job.Task) error {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(3 * time.Minute):
				return nil
			}
		})
		r, stop := start(t, job.Options{Store: store, Kinds: kinds(h)})
		j := enqueue(t, r, job.Job{})
		time.Sleep(15 * time.Second)
		store.turn(10 * 365 * 24 * time.Hour)
		time.Sleep(time.Minute)
		store.turn(-20 * 365 * 24 * time.Hour)
		j = wait(t, r, j)
		assert.Equal(t, job.Done, j.State)
		assert.Equal(t, 1, j.Attempts)

		// One that died under a clock that was far ahead.
		j = enqueue(t, r, job.Job{})
		synctest.Wait()
		stop()
		require.NoError(t, store.Update(t.Context(), func(tx job.Tx) error {
			j, err := tx.Job(j.ID)
			j.State, j.Owner, j.Expires = job.Running, "dead", time.Now().Add(40*365*24*time.Hour)
			return errors.Join(err, tx.PutJob(j))
		}))
		began := time.Now()
		two, stop := start(t, job.Options{Store: store, Instance: "two", Kinds: kinds(h)})
		defer stop()
		assert.Equal(t, job.Done, wait(t, two, j).State)
		assert.Less(t, time.Since(began), 3*time.Minute+35*time.Second)
	})
}

// dead makes a row of a job that ran in a process that died just now.
func dead(t *testing.T, s *memStore, j job.Job) job.Job {
	t.Helper()
	j.ID, j.Group, j.State, j.Owner, j.Fence = "dead-job", "g", job.Running, "dead", 3
	j.Kind, j.Attempts = "k", max(j.Attempts, 1)
	j.Created, j.Begun = time.Now(), time.Now()
	j.Expires = time.Now().Add(30 * time.Second)
	j.Steps = []job.Step{{Name: "copy", Begun: time.Now()}}
	j.Stage = "copy"
	require.NoError(t, s.Update(t.Context(), func(tx job.Tx) error { return tx.PutJob(j) }))
	return j
}

func TestInterrupted(t *testing.T) {
	for name, c := range map[string]struct {
		row    job.Job
		resume bool
		sole   bool
		kinds  string
		after  time.Duration
		state  job.State
		text   string
	}{
		"resumes":           {job.Job{}, true, false, "k", 30 * time.Second, job.Done, ""},
		"does not":          {job.Job{}, false, false, "k", 30 * time.Second, job.Failed, "interrupted in step copy: mooringd stopped while the job ran; run it again"},
		"canceled":          {job.Job{Cancel: true}, true, false, "k", 30 * time.Second, job.Canceled, "the job was canceled"},
		"again and again":   {job.Job{Attempts: 5}, true, false, "k", 30 * time.Second, job.Failed, "interrupted in step copy: mooringd stopped while the job ran, as it did in earlier attempts; run it again"},
		"the last chance":   {job.Job{Attempts: 4}, true, false, "k", 30 * time.Second, job.Done, ""},
		"the only mooringd": {job.Job{}, true, true, "k", 0, job.Done, ""},
		"of a newer build":  {job.Job{}, true, false, "other", 30*time.Second + time.Hour, job.Failed, "interrupted in step copy: mooringd stopped while the job ran; run it again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore()
				j := dead(t, store, c.row)
				began := time.Now()
				told := 0
				r, stop := start(t, job.Options{Store: store, Sole: c.sole, Kinds: map[string]job.Handler{c.kinds: {
					Resume: c.resume,
					Run:    func(context.Context, *job.Task) error { return nil },
					Ended:  func(context.Context, job.Job) { told++ },
				}}})
				j = wait(t, r, j)
				stop()
				assert.Equal(t, c.state, j.State)
				assert.Equal(t, c.text, j.Error)
				assert.InDelta(t, c.after.Seconds(), time.Since(began).Seconds(), 3)
				assert.Equal(t, "interrupted", j.Steps[0].Error)
				assert.False(t, j.Steps[0].Ended.IsZero())
				assert.Greater(t, j.Fence, int64(3))
				assert.Empty(t, j.Owner)
				if c.kinds == "k" {
					assert.Equal(t, 1, told)
				}
			})
		})
	}
}

// A process gives the jobs of dead ones back also where it may not take them
// itself: they wait for one that may, and are seen to wait.
func TestJobsOfTheDeadGoToTheirTransporters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		store.bound = map[volspec.VMGroupID]string{"g": "site-b"}
		j := dead(t, store, job.Job{})
		h := handler(func(context.Context, *job.Task) error { return nil })
		_, stop := start(t, job.Options{Store: store, Kinds: kinds(h)})
		defer stop()
		time.Sleep(2 * time.Minute)
		assert.Equal(t, job.Queued, row(t, store, j).State)
		b, stopB := start(t, job.Options{Store: store, Kinds: kinds(h), Instance: "two", Transporter: "site-b"})
		defer stopB()
		assert.Equal(t, job.Done, wait(t, b, j).State)
	})
}

// What a handler has noted is never replaced by older notes, however slow the
// catalog is and whatever else of the row is written at the time.
func TestNotesAreNeverLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		l := &link{Store: store, delay: 700 * time.Millisecond}
		r, stop := start(t, job.Options{Store: l, Kinds: kinds(handler(func(ctx context.Context, task *job.Task) error {
			for i := range 100 {
				task.Report(job.Progress{Done: int64(i)})
				if i%10 == 0 {
					require.NoError(t, task.Stage(ctx, strconv.Itoa(i)))
				}
				require.NoError(t, task.Save(ctx, i))
				assert.Equal(t, strconv.Itoa(i), string(row(t, store, task.Job()).Saved))
				assert.Equal(t, strconv.Itoa(i), string(task.Job().Saved))
				time.Sleep(time.Duration(i%7) * 300 * time.Millisecond)
				assert.Equal(t, strconv.Itoa(i), string(row(t, store, task.Job()).Saved))
				assert.Equal(t, strconv.Itoa(i/10*10), row(t, store, task.Job()).Stage)
			}
			return nil
		}))})
		defer stop()
		j := wait(t, r, enqueue(t, r, job.Job{}))
		assert.Equal(t, job.Done, j.State)
		assert.Len(t, j.Steps, 10)
		assert.Equal(t, int64(99), j.Progress.Done)
	})
}

// A job whose row is gone ends like one whose lease is lost.
func TestRowGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		r, stop := start(t, job.Options{Store: store, Kinds: kinds(handler(func(ctx context.Context, _ *job.Task) error {
			<-ctx.Done()
			return context.Cause(ctx)
		}))})
		defer stop()
		j := enqueue(t, r, job.Job{})
		synctest.Wait()
		store.mu.Lock()
		delete(store.jobs, j.ID)
		store.mu.Unlock()
		_, err := r.Wait(t.Context(), j.ID)
		assert.Equal(t, errkind.NotFound, errkind.Of(err))
	})
}
