package catalogtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/volspec"
)

// runners: two processes on one queue do each job once, and never two of one
// object at a time.
func runners(t *testing.T, b Backend) {
	c := open(t, b)
	handles := map[string]Catalog{"one": c, "two": b.Again(t, c)}
	var mu sync.Mutex
	runs, byWhom, now := map[volspec.JobID]int{}, map[string]int{}, map[string]int{}
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	rs := map[string]*job.Runner{}
	for instance, handle := range handles {
		run := func(ctx context.Context, task *job.Task) error {
			j := task.Job()
			mu.Lock()
			runs[j.ID]++
			byWhom[instance]++
			now[j.Object]++
			together := now[j.Object]
			mu.Unlock()
			defer func() { mu.Lock(); now[j.Object]--; mu.Unlock() }()
			if together > 1 {
				return fmt.Errorf("%d jobs work on %s", together, j.Object)
			}
			if err := task.Save(ctx, instance); err != nil {
				return err
			}
			return task.Stage(ctx, "done")
		}
		rs[instance] = job.New(job.Options{
			Store: handle.Jobs(), Instance: instance, Kinds: map[string]job.Handler{"k": {Run: run, Resume: true}}, Poll: 20 * time.Millisecond,
		})
	}
	var ids []volspec.JobID
	enqueue := func() {
		j, err := rs["one"].Enqueue(t.Context(), job.Job{Group: groupA, Kind: "k", Object: fmt.Sprint("o", len(ids)%5)})
		require.NoError(t, err)
		ids = append(ids, j.ID)
	}
	for range 40 {
		enqueue()
	}
	for _, r := range rs {
		all.Go(func() { assert.NoError(t, r.Run(ctx)) })
	}
	both := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(byWhom) == 2
	}
	for n := 0; n < len(ids); n++ {
		j, err := rs["two"].Wait(t.Context(), ids[n])
		if assert.NoError(t, err) {
			assert.Equal(t, job.Done, j.State, j.Error)
			assert.Equal(t, int64(1), j.Fence)
		}
		if n == len(ids)-1 && n < 1000 && !both() { // one of them was slow to start
			enqueue()
		}
	}
	stop()
	all.Wait()
	assert.Len(t, runs, len(ids))
	for id, n := range runs {
		assert.Equal(t, 1, n, id)
	}
	assert.Len(t, byWhom, 2, "both worked")
}

// schedulers: two processes look at one schedule, each due time is one job.
func schedulers(t *testing.T, b Backend) {
	c := open(t, b)
	handles := []Catalog{c, b.Again(t, c)}
	s, err := schedule.Parse("*:00/10", "UTC")
	require.NoError(t, err)
	sc := job.Scheduled{Policy: "p", Group: groupA, Task: "backup", Kind: "k", Schedule: s, Queue: true}
	at := time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC)
	for range 20 {
		var wg sync.WaitGroup
		for i, handle := range handles {
			r := job.New(job.Options{Store: handle.Jobs(), Instance: fmt.Sprint(i), Kinds: map[string]job.Handler{"k": {}}})
			wg.Go(func() { assert.NoError(t, r.Tick(t.Context(), at, []job.Scheduled{sc})) })
		}
		wg.Wait()
		at = at.Add(10 * time.Minute)
	}
	viewJobs(t, c, func(tx job.Tx) error {
		all, err := tx.Jobs(job.Query{})
		assert.Len(t, all, 19)
		queued := 0
		for _, j := range all {
			if j.State == job.Queued {
				queued++
				continue
			}
			assert.True(t, strings.HasPrefix(j.Error, "skipped: the run before, job "), j.Error)
		}
		assert.Equal(t, 1, queued, "one waits")
		_, last, merr := tx.Mark("p", "backup")
		require.NoError(t, merr)
		assert.Equal(t, time.Date(2026, 1, 1, 3, 10, 0, 0, time.UTC), last)
		return err
	})
}
