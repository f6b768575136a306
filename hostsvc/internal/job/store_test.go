package job_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// memStore is a job.Store in memory. skew is added to its clock.
type memStore struct {
	mu    sync.Mutex
	jobs  map[volspec.JobID]job.Job
	marks map[markKey]mark
	skew  time.Duration
	puts  int                          // writes of jobs
	bound map[volspec.VMGroupID]string // the transporter of a vmgroup; absent: all
}

type markKey struct {
	policy volspec.PolicyID
	task   string
}

type mark struct{ since, last time.Time }

func newStore() *memStore {
	return &memStore{jobs: map[volspec.JobID]job.Job{}, marks: map[markKey]mark{}}
}

func (s *memStore) View(ctx context.Context, fn func(job.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the request ended")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn(memTx{s})
}

func (s *memStore) Update(ctx context.Context, fn func(job.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the request ended")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// What fn did the first time is undone: it must not matter.
	jobs, marks, puts := maps.Clone(s.jobs), maps.Clone(s.marks), s.puts
	_ = fn(memTx{s})
	s.jobs, s.marks, s.puts = maps.Clone(jobs), maps.Clone(marks), puts
	err := fn(memTx{s})
	if err != nil {
		s.jobs, s.marks, s.puts = jobs, marks, puts
	}
	return err
}

// turn puts the clock.
func (s *memStore) turn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew += d
}

func (s *memStore) all(t testing.TB) []job.Job {
	t.Helper()
	var all []job.Job
	require.NoError(t, s.View(context.Background(), func(tx job.Tx) (err error) {
		all, err = tx.Jobs(job.Query{})
		return err
	}))
	return all
}

func (s *memStore) written() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts
}

type memTx struct{ s *memStore }

func clone(j job.Job) job.Job {
	j.Params, j.Saved, j.Result = bytes.Clone(j.Params), bytes.Clone(j.Saved), bytes.Clone(j.Result)
	j.Steps, j.Warnings = slices.Clone(j.Steps), slices.Clone(j.Warnings)
	return j
}

func (t memTx) Job(id volspec.JobID) (job.Job, error) {
	j, ok := t.s.jobs[id]
	if !ok {
		return j, errkind.New(errkind.NotFound, "Job %s not found", id)
	}
	return clone(j), nil
}

func (t memTx) JobByUnique(unique string) (job.Job, error) {
	for _, j := range t.s.jobs {
		if j.Unique == unique {
			return clone(j), nil
		}
	}
	return job.Job{}, errkind.New(errkind.NotFound, "no job is known as %s", unique)
}

func (t memTx) Jobs(q job.Query) (all []job.Job, err error) {
	for _, j := range t.s.jobs {
		switch {
		case q.Group != "" && q.Group != j.Group, q.State != "" && q.State != j.State, q.Open && j.Ended(), q.Ended && !j.Ended(),
			q.Kind != "" && q.Kind != j.Kind, q.Object != "" && q.Object != j.Object, q.Policy != "" && q.Policy != j.Policy:
			continue
		}
		all = append(all, clone(j))
	}
	slices.SortFunc(all, func(a, b job.Job) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	})
	return all, nil
}

func (t memTx) OpenJobs(transporter string) ([]job.Job, error) {
	all, err := t.Jobs(job.Query{Open: true})
	all = slices.DeleteFunc(all, func(j job.Job) bool {
		other, bound := t.s.bound[j.Group]
		return j.State == job.Queued && bound && other != transporter
	})
	slices.SortFunc(all, func(a, b job.Job) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return all, err
}

func (t memTx) PutJob(j job.Job) error {
	t.s.jobs[j.ID] = clone(j)
	t.s.puts++
	return nil
}

func (t memTx) TrimJobs(before time.Time, keep int) (n int, err error) {
	places := map[[2]string]int{}
	all, err := t.Jobs(job.Query{Ended: true})
	for _, j := range all {
		k := [2]string{string(j.Group), string(j.Policy)}
		if places[k]++; places[k] > keep && j.EndedAt.Before(before) {
			delete(t.s.jobs, j.ID)
			n++
		}
	}
	return n, err
}

func (t memTx) Clock() (time.Time, error) { return time.Now().Add(t.s.skew), nil }

func (t memTx) Mark(p volspec.PolicyID, task string) (since, last time.Time, err error) {
	m := t.s.marks[markKey{p, task}]
	return m.since, m.last, nil
}

func (t memTx) Marks() (map[job.MarkOf]job.Mark, error) {
	all := map[job.MarkOf]job.Mark{}
	for k, m := range t.s.marks {
		all[job.MarkOf{Policy: k.policy, Task: k.task}] = job.Mark{Since: m.since, Last: m.last}
	}
	return all, nil
}

func (t memTx) PutMark(p volspec.PolicyID, task string, since, last time.Time) error {
	t.s.marks[markKey{p, task}] = mark{since, last}
	return nil
}

// link is a process's way to the store. It can be cut, as when the catalog
// is away, and it can be cut for good, as by death: what comes after the
// fatal transaction fails, and everything that waits is told nothing.
type link struct {
	job.Store
	mu     sync.Mutex
	down   bool
	count  int // Updates so far
	fatal  int // number of the Update at which the process dies; 0: none
	commit bool
	delay  time.Duration // of each Update, half before and half after it
}

func (l *link) View(ctx context.Context, fn func(job.Tx) error) error {
	if l.isDown() {
		return errkind.New(errkind.Unavailable, "the catalog is away")
	}
	return l.Store.View(ctx, fn)
}

func (l *link) Update(ctx context.Context, fn func(job.Tx) error) error {
	l.mu.Lock()
	l.count++
	die := l.fatal > 0 && l.count == l.fatal
	down := l.down
	l.down = l.down || die
	delay := l.delay / 2
	l.mu.Unlock()
	time.Sleep(delay)
	defer time.Sleep(delay)
	if down || die && !l.commit {
		return errkind.New(errkind.Unavailable, "the catalog is away")
	}
	err := l.Store.Update(ctx, fn)
	if die {
		return errkind.New(errkind.Unavailable, "the connection was lost: nobody knows how it ended")
	}
	return err
}

func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.down
}

func (l *link) cut(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
}
