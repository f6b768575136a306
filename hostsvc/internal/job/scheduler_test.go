package job_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func daily(t *testing.T, expr string) job.Scheduled {
	t.Helper()
	s, err := schedule.Parse(expr, "Europe/Berlin")
	require.NoError(t, err)
	return job.Scheduled{
		Policy: "p", Group: "g", Task: "backup", Kind: "k", Schedule: s, Priority: 2,
		Params: func(due time.Time, missed int) any {
			return map[string]any{"due": due.UTC(), "missed": missed}
		},
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04 MST", text)
	require.NoError(t, err)
	return at
}

// ticker is a runner that only schedules, and its clock.
type ticker struct {
	t     *testing.T
	r     *job.Runner
	store *memStore
	all   []job.Scheduled
}

func newTicker(t *testing.T, all ...job.Scheduled) *ticker {
	store := newStore()
	return &ticker{t, job.New(job.Options{Store: store, Instance: "one", Kinds: kinds(handler(nil))}), store, all}
}

func (k *ticker) tick(at string) {
	k.t.Helper()
	require.NoError(k.t, k.r.Tick(k.t.Context(), moment(k.t, at), k.all))
}

// end lets the open jobs end.
func (k *ticker) end() {
	for _, j := range k.store.all(k.t) {
		if !j.Ended() {
			j.State, j.EndedAt = job.Done, time.Now()
			require.NoError(k.t, k.store.Update(k.t.Context(), func(tx job.Tx) error { return tx.PutJob(j) }))
		}
	}
}

// params are those of all jobs with a state, oldest first.
func (k *ticker) params(s job.State) (all []string) {
	for _, j := range k.store.all(k.t) {
		if j.State == s {
			all = append([]string{string(j.Params)}, all...)
		}
	}
	return all
}

func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTicker(t, daily(t, "02:30"))
		tick := func(at string) { time.Sleep(time.Second); k.tick(at) }
		tick("2026-01-01 10:00 UTC")
		tick("2026-01-02 01:29 UTC")
		assert.Empty(t, k.store.all(t), "it counts from when it is first seen")
		tick("2026-01-02 01:30 UTC")
		tick("2026-01-02 01:31 UTC")
		require.Len(t, k.store.all(t), 1)
		j := k.store.all(t)[0]
		assert.Equal(t, job.Queued, j.State)
		assert.Equal(t, "p backup", j.Object)
		assert.Equal(t, volspec.PolicyID("p"), j.Policy)
		assert.Equal(t, 2, j.Priority)
		assert.JSONEq(t, `{"due":"2026-01-02T01:30:00Z","missed":0}`, string(j.Params))
		assert.Empty(t, j.Warnings)
		k.end()

		tick("2026-01-06 12:00 UTC") // mooringd was down
		k.end()
		tick("2026-01-06 12:05 UTC")
		all := k.store.all(t)
		require.Len(t, all, 2, "what was missed is caught up once")
		assert.JSONEq(t, `{"due":"2026-01-06T01:30:00Z","missed":3}`, string(all[0].Params))
		assert.Equal(t, []string{"3 earlier runs were missed; this one catches up for all of them"}, all[0].Warnings)
	})
}

// The run before is still open: the due time is skipped, and that is said; or
// it waits, but only one does.
func TestOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skips, queues := daily(t, "*:00"), daily(t, "*:00")
		skips.Policy, queues.Policy, queues.Queue = "skips", "queues", true
		k := newTicker(t, skips, queues)
		tick := func(at string) { time.Sleep(time.Second); k.tick(at) }
		tick("2026-01-01 10:30 UTC")
		tick("2026-01-01 11:00 UTC")
		for _, j := range k.store.all(t) {
			j.State = job.Running
			require.NoError(t, k.store.Update(t.Context(), func(tx job.Tx) error { return tx.PutJob(j) }))
		}
		tick("2026-01-01 12:00 UTC")
		tick("2026-01-01 13:00 UTC")
		states := map[volspec.PolicyID]map[job.State]int{"skips": {}, "queues": {}}
		var skipped job.Job
		for _, j := range k.store.all(t) {
			states[j.Policy][j.State]++
			if j.State == job.Canceled {
				skipped = j
			}
		}
		assert.Equal(t, map[volspec.PolicyID]map[job.State]int{
			"skips": {job.Running: 1, job.Canceled: 2}, "queues": {job.Running: 1, job.Queued: 1, job.Canceled: 1},
		}, states)
		assert.Regexp(t, `^skipped: the run before, job [-0-9a-f]{36}, was still (running|queued) when this one was due at 2026-01-01T1[34]:00:00\+01:00$`, skipped.Error)
		assert.Equal(t, errkind.InUse, errkind.Of(skipped.Err()))
		assert.True(t, skipped.Ended() && !skipped.EndedAt.IsZero())
		k.end()
		before := len(k.store.all(t))
		tick("2026-01-01 14:00 UTC")
		assert.Len(t, k.store.all(t), before+2)
		assert.Len(t, k.params(job.Queued), 2, "and then it goes on")
	})
}

func TestClocksOfTheScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTicker(t, daily(t, "02:30"))
		tick := func(at string) { time.Sleep(time.Second); k.tick(at); k.end() }
		tick("2026-01-01 00:00 UTC")
		tick("2026-01-01 02:00 UTC")
		tick("2025-12-31 23:00 UTC") // put back by three hours
		tick("2026-01-01 02:00 UTC")
		assert.Len(t, k.params(job.Done), 1, "put back: nothing twice")

		tick("2060-06-01 00:00 UTC")
		assert.Len(t, k.params(job.Done), 2, "years ahead: one")
		tick("2026-01-01 10:00 UTC") // and corrected
		tick("2026-01-01 23:00 UTC")
		assert.Len(t, k.params(job.Done), 2)
		tick("2026-01-02 02:00 UTC")
		tick("2026-01-03 02:00 UTC")
		assert.Len(t, k.params(job.Done), 4, "backups do not wait for the year 2060")
	})
	synctest.Test(t, func(t *testing.T) { // the same when it is seen first under a wrong clock
		k := newTicker(t, daily(t, "02:30"))
		k.tick("2060-06-01 00:00 UTC")
		k.tick("2026-01-01 10:00 UTC")
		k.tick("2026-01-02 10:00 UTC")
		assert.Len(t, k.params(job.Queued), 1)
	})
}

// A schedule that was changed owes nothing for the time before.
func TestChangedSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTicker(t, daily(t, "02:30"))
		k.tick("2026-01-01 00:00 UTC")
		k.tick("2026-01-01 02:00 UTC")
		k.end()
		k.all[0] = daily(t, "12:00")
		k.all[0].Since = moment(t, "2026-01-01 15:00 UTC")
		k.tick("2026-01-01 15:01 UTC")
		assert.Empty(t, k.params(job.Queued))
		k.tick("2026-01-02 15:01 UTC")
		assert.Len(t, k.params(job.Queued), 1)
	})
	synctest.Test(t, func(t *testing.T) { // a new one counts from when it was made, not seen
		k := newTicker(t, daily(t, "02:30"))
		k.all[0].Since = moment(t, "2026-01-01 00:00 UTC")
		k.tick("2026-01-01 09:00 UTC")
		assert.Len(t, k.params(job.Queued), 1)
	})
}

// Several processes look at the same schedules: each due time is one job.
func TestTickTogether(t *testing.T) {
	store := newStore()
	sc := daily(t, "*:00/10")
	sc.Kind = "k"
	at := moment(t, "2026-01-01 00:05 UTC")
	for range 100 {
		var wg sync.WaitGroup
		for _, instance := range []string{"one", "two", "three"} {
			r := job.New(job.Options{Store: store, Instance: instance, Kinds: kinds(handler(nil))})
			wg.Go(func() { assert.NoError(t, r.Tick(context.Background(), at, []job.Scheduled{sc})) })
		}
		wg.Wait()
		at = at.Add(10 * time.Minute)
	}
	due := map[string]int{}
	for _, j := range store.all(t) {
		due[j.Unique]++
	}
	assert.Len(t, due, 99)
	for unique, n := range due {
		assert.Equal(t, 1, n, unique)
	}
}

// Ten years, looked at every 53 minutes by a process that dies at its
// transaction now and then: every day has its run, and one only.
func TestDecadeOfCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		sc := daily(t, "02:30")
		runs := map[string]int{}
		at := moment(t, "2026-01-01 00:00 UTC")
		for n := 1; at.Before(moment(t, "2036-01-01 00:00 UTC")); n++ {
			l := &link{Store: store}
			if n%5 == 0 {
				l.fatal, l.commit = 1, n%2 == 0
			}
			r := job.New(job.Options{Store: l, Instance: "one", Kinds: kinds(handler(nil))})
			if err := r.Tick(t.Context(), at, []job.Scheduled{sc}); err != nil {
				require.Equal(t, errkind.Unavailable, errkind.Of(err))
			}
			for _, j := range store.all(t) { // done at once, and forgotten
				runs[j.Unique]++
				store.mu.Lock()
				delete(store.jobs, j.ID)
				store.mu.Unlock()
			}
			at = at.Add(53 * time.Minute)
		}
		assert.Len(t, runs, 3652)
		for unique, n := range runs {
			assert.Equal(t, 1, n, unique)
		}
	})
}

func TestOneScheduleThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad, good := daily(t, "02:30"), daily(t, "02:30")
		bad.Policy, bad.Params = "a", func(time.Time, int) any { return func() {} }
		good.Params = nil
		k := newTicker(t, bad, good)
		k.tick("2026-01-01 00:00 UTC")
		err := k.r.Tick(t.Context(), moment(t, "2026-01-01 02:00 UTC"), k.all)
		assert.Equal(t, errkind.Internal, errkind.Of(err))
		require.Len(t, k.store.all(t), 1, "the other one has its run")
		l := &link{Store: k.store, down: true}
		err = job.New(job.Options{Store: l}).Tick(t.Context(), moment(t, "2026-01-01 02:00 UTC"), k.all)
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	})
}
