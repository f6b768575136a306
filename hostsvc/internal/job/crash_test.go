package job_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
)

// TestDeathAtEachStep kills a process at its first, second, … transaction,
// before it takes effect and after, and lets another process go on. Each time
// the job ends once, with the notes of the first process if it made any, and
// nothing is left running.
func TestDeathAtEachStep(t *testing.T) {
	for _, resume := range []bool{true, false} {
		for _, commit := range []bool{false, true} {
			deaths := 0
			for fatal, died := 1, true; died; fatal++ {
				name := fmt.Sprintf("resume=%v commit=%v at %d", resume, commit, fatal)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { died = deathAt(t, fatal, commit, resume) })
				})
				if died {
					deaths++
				}
			}
			assert.GreaterOrEqual(t, deaths, 12, "each step is a transaction that was met")
		}
	}
}

func deathAt(t *testing.T, fatal int, commit, resume bool) (died bool) {
	store := newStore()
	l := &link{Store: store, fatal: fatal, commit: commit}
	var mu sync.Mutex
	var began []string // who began a step
	ended := 0
	life := func(instance string) job.Handler {
		return job.Handler{
			Resume: resume,
			Run: func(ctx context.Context, task *job.Task) error {
				var note string
				found, err := task.Notes(&note)
				require.NoError(t, err)
				if !found {
					note = "made by " + instance
					if err := task.Save(ctx, note); err != nil {
						return err
					}
				}
				for _, stage := range []string{"plan", "copy", "record"} {
					if err := task.Stage(ctx, stage); err != nil {
						return err
					}
					mu.Lock()
					began = append(began, instance+" "+stage)
					mu.Unlock()
					time.Sleep(2 * time.Second)
					task.Report(job.Progress{Done: 1})
					time.Sleep(12 * time.Second)
				}
				task.Result(note)
				return nil
			},
			Ended: func(context.Context, job.Job) { mu.Lock(); ended++; mu.Unlock() },
		}
	}
	j := enqueue(t, job.New(job.Options{Store: store, Kinds: kinds(life(""))}), job.Job{Object: "o"})
	_, stop := start(t, job.Options{Store: l, Kinds: kinds(life("one"))})
	time.Sleep(45 * time.Second)
	died = l.isDown()
	l.cut(died) // what is dead stays dead
	noted := row(t, store, j).Saved
	two, stopTwo := start(t, job.Options{Store: store, Instance: "two", Kinds: kinds(life("two"))})
	defer stopTwo()
	j = wait(t, two, j)
	stop()
	assert.Empty(t, j.Owner)
	mu.Lock()
	assert.LessOrEqual(t, ended, 1)
	mu.Unlock()
	if j.State == job.Failed {
		assert.False(t, resume)
		assert.Regexp(t, `^interrupted in step (start|plan|copy|record): mooringd stopped while the job ran; run it again$`, j.Error)
	} else {
		assert.Equal(t, job.Done, j.State)
		assert.Contains(t, string(j.Result), "made by ")
	}
	if len(noted) > 0 {
		assert.Equal(t, string(noted), string(j.Saved), "the first notes are kept")
	}
	for _, s := range j.Steps {
		assert.False(t, s.Ended.IsZero())
	}
	for _, x := range store.all(t) {
		assert.True(t, x.Ended(), "nothing is left running")
	}
	again := enqueue(t, two, job.Job{Object: "o"})
	assert.Equal(t, job.Done, wait(t, two, again).State, "the object is free")
	return died
}
