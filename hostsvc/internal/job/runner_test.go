package job_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
)

// start runs a runner until the function it returns is called.
func start(t *testing.T, o job.Options) (*job.Runner, func()) {
	t.Helper()
	if o.Instance == "" {
		o.Instance = "one"
	}
	r := job.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	return r, func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
}

func handler(run func(ctx context.Context, t *job.Task) error) job.Handler {
	return job.Handler{Run: run, Resume: true}
}

func enqueue(t *testing.T, r *job.Runner, j job.Job) job.Job {
	t.Helper()
	if j.Group == "" {
		j.Group = "g"
	}
	if j.Kind == "" {
		j.Kind = "k"
	}
	time.Sleep(time.Millisecond) // no two of the same moment
	j, err := r.Enqueue(t.Context(), j)
	require.NoError(t, err)
	return j
}

func wait(t *testing.T, r *job.Runner, j job.Job) job.Job {
	t.Helper()
	j, err := r.Wait(t.Context(), j.ID)
	require.NoError(t, err)
	require.True(t, j.Ended())
	return j
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []job.Job
		h := job.Handler{
			Run: func(ctx context.Context, task *job.Task) error {
				var p struct{ N int }
				require.NoError(t, task.Params(&p))
				require.Equal(t, 7, p.N)
				found, err := task.Notes(&p)
				require.False(t, found)
				require.NoError(t, err)
				require.NoError(t, task.Stage(ctx, "read"))
				require.NoError(t, task.Save(ctx, struct{ N int }{8}))
				found, err = task.Notes(&p)
				require.True(t, found)
				require.NoError(t, err)
				require.Equal(t, 8, p.N)
				time.Sleep(3 * time.Second)
				require.NoError(t, task.Stage(ctx, "write"))
				task.Warn("odd")
				task.Result(map[string]int{"n": 9})
				return nil
			},
			Ended: func(_ context.Context, j job.Job) { told = append(told, j) },
		}
		store := newStore()
		r, stop := start(t, job.Options{Store: store, Kinds: map[string]job.Handler{"k": h}})
		began := time.Now()
		j := enqueue(t, r, job.Job{Params: []byte(`{"N":7}`)})
		assert.Equal(t, job.Queued, j.State)
		assert.Equal(t, 3, j.Priority)
		j = wait(t, r, j)
		assert.Equal(t, job.Done, j.State)
		assert.NoError(t, j.Err())
		assert.Equal(t, 1, j.Attempts)
		assert.Equal(t, []string{"odd"}, j.Warnings)
		assert.JSONEq(t, `{"n":9}`, string(j.Result))
		assert.JSONEq(t, `{"N":8}`, string(j.Saved))
		require.Len(t, j.Steps, 2)
		assert.Equal(t, "read", j.Steps[0].Name)
		assert.Equal(t, 3*time.Second, j.Steps[0].Ended.Sub(j.Steps[0].Begun))
		assert.False(t, j.Steps[1].Ended.IsZero())
		assert.Empty(t, j.Owner)
		assert.True(t, j.Expires.IsZero())
		assert.Less(t, time.Since(began), 3010*time.Millisecond, "a job that is enqueued begins at once")
		stop()
		require.Len(t, told, 1)
		assert.Equal(t, j.ID, told[0].ID)
	})
}

// Every way in which a handler may return gives one state, a sentence and a
// kind; the step in which it went wrong is named.
func TestEnds(t *testing.T) {
	disk := errkind.New(errkind.Quota, "no room left")
	for name, c := range map[string]struct {
		err   error
		panic bool
		state job.State
		kind  errkind.Kind
		text  string
	}{
		"done":     {nil, false, job.Done, "", ""},
		"failed":   {fmt.Errorf("wrapped: %w", disk), false, job.Failed, errkind.Quota, "step copy: no room left"},
		"no kind":  {errors.New("odd"), false, job.Failed, errkind.Internal, "step copy: odd"},
		"partial":  {job.PartialError(disk), false, job.Partial, errkind.Quota, "no room left"},
		"panic":    {nil, true, job.Failed, errkind.Internal, "step copy: mooringd has a bug, please report it: boom"},
		"canceled": {context.Canceled, false, job.Failed, errkind.Unavailable, "step copy: context canceled"}, // by nobody
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, stop := start(t, job.Options{Store: newStore(), Kinds: map[string]job.Handler{"k": handler(func(ctx context.Context, task *job.Task) error {
					require.NoError(t, task.Stage(ctx, "plan"))
					require.NoError(t, task.Stage(ctx, "copy"))
					if c.panic {
						panic("boom")
					}
					return c.err
				})}})
				defer stop()
				j := wait(t, r, enqueue(t, r, job.Job{}))
				assert.Equal(t, c.state, j.State)
				assert.Equal(t, c.text, j.Error)
				assert.Equal(t, c.kind, errkind.Of(j.Err()))
				assert.Equal(t, "copy", j.Stage)
				require.Len(t, j.Steps, 2)
				assert.Empty(t, j.Steps[0].Error)
				assert.Equal(t, c.err != nil || c.panic, j.Steps[1].Error != "")
			})
		})
	}
	assert.NoError(t, job.PartialError(nil))
}

func TestRepeatedRequestIsTheSameJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		runs := 0
		r, stop := start(t, job.Options{Store: store, Kinds: map[string]job.Handler{"k": handler(func(context.Context, *job.Task) error { runs++; return nil })}})
		defer stop()
		a := enqueue(t, r, job.Job{Unique: "u"})
		assert.Equal(t, a.ID, enqueue(t, r, job.Job{Unique: "u"}).ID)
		wait(t, r, a)
		again := enqueue(t, r, job.Job{Unique: "u"})
		assert.Equal(t, a.ID, again.ID)
		assert.Equal(t, job.Done, again.State, "also when it is over")
		assert.Equal(t, 1, runs)

		_, err := r.Enqueue(t.Context(), job.Job{Kind: "other"})
		assert.Equal(t, errkind.Internal, errkind.Of(err))
		for _, p := range []int{-1, 6} {
			_, err = r.Enqueue(t.Context(), job.Job{Kind: "k", Priority: p})
			assert.Equal(t, errkind.Invalid, errkind.Of(err))
		}
	})
}

// One job of a kind works on an object at a time; the next waits, or is
// refused when it was asked to be alone.
func TestOnePerObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now := map[string]int{}
		most := map[string]int{}
		h := handler(func(_ context.Context, task *job.Task) error {
			key := task.Job().Kind + string(task.Job().Group) + task.Job().Object
			mu.Lock()
			now[key]++
			most[key] = max(most[key], now[key])
			mu.Unlock()
			time.Sleep(10 * time.Second)
			mu.Lock()
			now[key]--
			mu.Unlock()
			return nil
		})
		r, stop := start(t, job.Options{Store: newStore(), Total: 10, Kinds: map[string]job.Handler{"k": h, "l": h}})
		defer stop()
		began := time.Now()
		var all []job.Job
		for range 3 {
			all = append(all, enqueue(t, r, job.Job{Object: "o"}))
		}
		all = append(all, enqueue(t, r, job.Job{Object: "o", Kind: "l"}), enqueue(t, r, job.Job{Object: "o", Group: "h"}),
			enqueue(t, r, job.Job{}), enqueue(t, r, job.Job{}))
		_, err := r.EnqueueAlone(t.Context(), job.Job{Group: "g", Kind: "k", Object: "o"})
		require.Equal(t, errkind.InUse, errkind.Of(err))
		assert.Contains(t, err.Error(), "a k job on o is ")
		alone, err := r.EnqueueAlone(t.Context(), job.Job{Group: "g", Kind: "k", Object: "p"})
		require.NoError(t, err)
		for _, j := range append(all, alone) {
			assert.Equal(t, job.Done, wait(t, r, j).State)
		}
		assert.Equal(t, map[string]int{"kgo": 1, "lgo": 1, "kho": 1, "kg": 2, "kgp": 1}, most)
		assert.Equal(t, 30*time.Second, time.Since(began).Truncate(time.Second), "only what must wait waits")
		list, err := r.List(t.Context(), job.Query{})
		require.NoError(t, err)
		assert.Len(t, list, 8, "the refused one left nothing")
	})
}

// A tenant with very many jobs does not keep the others waiting; priority
// goes before that, limits before everything.
func TestFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		running, most := map[string]int{}, map[string]int{}
		h := handler(func(_ context.Context, task *job.Task) error {
			g, k := "group "+string(task.Job().Group), "kind "+task.Job().Kind
			mu.Lock()
			order = append(order, string(task.Job().Group)+fmt.Sprint(task.Job().Priority))
			for _, x := range []string{g, k, "all"} {
				running[x]++
				most[x] = max(most[x], running[x])
			}
			mu.Unlock()
			time.Sleep(time.Minute)
			mu.Lock()
			for _, x := range []string{g, k, "all"} {
				running[x]--
			}
			mu.Unlock()
			return nil
		})
		limited, free := h, h
		limited.Limit, free.Free = 1, true
		store := newStore()
		o := job.Options{Store: store, Total: 3, PerGroup: 2, Kinds: map[string]job.Handler{"k": h, "limited": limited, "free": free}}
		queue := job.New(o)
		add := func(j job.Job) job.Job { return enqueue(t, queue, j) }
		for range 20 {
			add(job.Job{Group: "a"})
		}
		for range 3 {
			add(job.Job{Group: "b"})
			add(job.Job{Group: "c", Kind: "limited"})
		}
		add(job.Job{Group: "a", Priority: 5})
		last := add(job.Job{Group: "d", Priority: 1})
		for range 4 {
			add(job.Job{Group: "e", Kind: "free"})
		}
		r, stop := start(t, o)
		wait(t, r, last)
		for {
			open, err := r.List(t.Context(), job.Query{Open: true})
			require.NoError(t, err)
			if len(open) == 0 {
				break
			}
			wait(t, r, open[len(open)-1])
		}
		stop()
		assert.Contains(t, order[len(order)-2:], "a5")
		first := order[:0:0]
		for _, g := range order {
			if g != "e3" {
				first = append(first, g)
			}
		}
		assert.Contains(t, first[:3], "d1", "priority first")
		turns := map[string]int{}
		for _, g := range first[:14] {
			turns[g]++
		}
		assert.Equal(t, map[string]int{"d1": 1, "b3": 3, "c3": 3, "a3": 7}, turns, "every vmgroup has its turn")
		assert.Equal(t, 2, most["group a"])
		assert.Equal(t, 1, most["kind limited"])
		assert.Equal(t, 7, most["all"], "three, and the four that take no place")
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := map[job.State]int{}
		h := job.Handler{
			Resume: true,
			Run: func(ctx context.Context, task *job.Task) error {
				require.NoError(t, task.Stage(ctx, "copy"))
				<-ctx.Done()
				require.False(t, task.Stopping(ctx))
				undo := context.WithoutCancel(ctx)
				require.NoError(t, task.Stage(undo, "undo"), "the row is still ours")
				require.NoError(t, task.Save(undo, "undone"))
				time.Sleep(5 * time.Second)
				return context.Cause(ctx)
			},
			Ended: func(_ context.Context, j job.Job) { mu.Lock(); told[j.State]++; mu.Unlock() },
		}
		deaf := handler(func(context.Context, *job.Task) error { time.Sleep(time.Minute); return nil })
		store := newStore()
		o := job.Options{Store: store, Total: 1, Kinds: map[string]job.Handler{"k": h, "deaf": deaf}}
		r, stop := start(t, o)
		runs, queued := enqueue(t, r, job.Job{}), enqueue(t, r, job.Job{})
		synctest.Wait()
		j, err := r.Cancel(t.Context(), queued.ID)
		require.NoError(t, err)
		assert.Equal(t, job.Canceled, j.State, "a queued one ends at once")
		assert.Equal(t, "the job was canceled", j.Error)

		// Somebody else's runner, as in another process: seen with the next renewal.
		o.Instance = "two"
		before := time.Now()
		j, err = job.New(o).Cancel(t.Context(), runs.ID)
		require.NoError(t, err)
		assert.Equal(t, job.Running, j.State)
		assert.True(t, j.Cancel)
		j = wait(t, r, runs)
		assert.Equal(t, job.Canceled, j.State)
		assert.Equal(t, "the job was canceled in step undo", j.Error)
		assert.JSONEq(t, `"undone"`, string(j.Saved))
		assert.LessOrEqual(t, time.Since(before), 16*time.Second)

		here := enqueue(t, r, job.Job{})
		synctest.Wait()
		before = time.Now()
		_, err = r.Cancel(t.Context(), here.ID)
		require.NoError(t, err)
		assert.Equal(t, job.Canceled, wait(t, r, here).State)
		assert.Equal(t, 5*time.Second, time.Since(before), "here it is told at once")
		_, err = r.Cancel(t.Context(), here.ID)
		assert.Equal(t, errkind.InUse, errkind.Of(err))
		_, err = r.Cancel(t.Context(), "none")
		assert.Equal(t, errkind.NotFound, errkind.Of(err))

		finishes := enqueue(t, r, job.Job{Kind: "deaf"})
		synctest.Wait()
		_, err = r.Cancel(t.Context(), finishes.ID)
		require.NoError(t, err)
		assert.Equal(t, job.Done, wait(t, r, finishes).State, "what was done all the same is done")
		stop()
		assert.Equal(t, map[job.State]int{job.Canceled: 3}, told)
	})
}

// Progress is fresh in this process, reaches the catalog once a second at
// most, and knows rate and time left.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		r, stop := start(t, job.Options{Store: store, Kinds: map[string]job.Handler{"k": handler(func(_ context.Context, task *job.Task) error {
			for i := range 1000 {
				task.Report(job.Progress{Done: int64(i+1) * 100, Total: 200_000, Read: int64(i), Stored: 1})
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})}})
		defer stop()
		j := enqueue(t, r, job.Job{})
		time.Sleep(5005 * time.Millisecond)
		before := store.written()
		live, err := r.Get(t.Context(), j.ID)
		require.NoError(t, err)
		assert.Equal(t, int64(50_100), live.Progress.Done)
		assert.InDelta(t, 10_000, live.Progress.Rate, 100)
		left, ok := live.Progress.ETA()
		assert.True(t, ok)
		assert.InDelta(t, 15, left.Seconds(), 0.3)
		list, err := r.List(t.Context(), job.Query{Open: true})
		require.NoError(t, err)
		assert.Equal(t, live.Progress, list[0].Progress)
		other := job.New(job.Options{Store: store, Instance: "two"})
		seen, err := other.Get(t.Context(), j.ID)
		require.NoError(t, err)
		assert.InDelta(t, 50_000, seen.Progress.Done, 20_100, "others see it with a delay")
		assert.LessOrEqual(t, before, 10, "the catalog is not written for each report")
		assert.Equal(t, int64(100_000), wait(t, r, j).Progress.Done, "the last one is kept")
		assert.LessOrEqual(t, store.written(), 16)
		_, ok = job.Progress{Done: 1}.ETA()
		assert.False(t, ok)
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, stop := start(t, job.Options{Store: newStore(), Kinds: map[string]job.Handler{"k": handler(func(context.Context, *job.Task) error { time.Sleep(time.Hour); return nil })}})
		defer stop()
		j := enqueue(t, r, job.Job{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		j, err := r.Wait(ctx, j.ID)
		require.NoError(t, err)
		assert.Equal(t, job.Running, j.State)
		_, err = r.Wait(t.Context(), "none")
		assert.Equal(t, errkind.NotFound, errkind.Of(err))
	})
}

func TestOldJobsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore()
		r, stop := start(t, job.Options{Store: store, Keep: 10 * time.Hour, KeepLast: 2, Kinds: map[string]job.Handler{"k": handler(func(context.Context, *job.Task) error { return nil })}})
		defer stop()
		for i := range 5 {
			wait(t, r, enqueue(t, r, job.Job{}))
			wait(t, r, enqueue(t, r, job.Job{Policy: "p"}))
			time.Sleep(time.Duration(i) * time.Minute)
		}
		time.Sleep(9 * time.Hour)
		assert.Len(t, store.all(t), 10)
		time.Sleep(3 * time.Hour)
		groups := map[string]int{}
		for _, j := range store.all(t) {
			groups[string(j.Policy)]++
		}
		assert.Equal(t, map[string]int{"": 2, "p": 2}, maps.Clone(groups), "the newest of each stay")
	})
}
