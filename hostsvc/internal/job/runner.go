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
	"mooring.dev/mooring/pkg/wire"
)

// Options are the parts and settings of a Runner.
type Options struct {
	Store    Store
	Instance string // of this process, unique
	// Transporter is what this process is among those that work on the queue: it
	// takes the jobs of vmgroups that are bound to it. "": the built-in one.
	Transporter string
	Kinds       map[string]Handler
	Total       int           // jobs that run here at a time; 0: 2
	PerGroup    int           // jobs of one vmgroup that run at a time, anywhere; 0: Total
	Lease       time.Duration // how long a dead process keeps its jobs; 0: 30 s
	Poll        time.Duration // between two looks at the queue; 0: 2 s
	Keep        time.Duration // how long ended jobs are kept; 0: 90 days
	KeepLast    int           // ended jobs of each vmgroup and policy that are kept however old; 0: 20
	Attempts    int           // after so many a job that is interrupted again fails; 0: 5
	// Sole says that no other process works on this catalog: what is running
	// when Run begins is dead, and its leases are not waited for.
	Sole bool
}

// Runner works on the queue of one catalog for one process. All methods are
// safe for concurrent use.
type Runner struct {
	o    Options
	wake chan struct{}
	work sync.WaitGroup // handlers, and what is told of ended jobs; belongs to Run

	turn  uint64 // jobs that were begun; this and turns belong to Run
	turns map[volspec.VMGroupID]uint64

	mu     sync.Mutex // guards the fields below
	tasks  map[volspec.JobID]*Task
	ended  chan struct{}      // closed and replaced when a job ends
	waits  map[MarkOf]waiting // what the last Tick found, replaced as a whole
	ticked time.Time          // its time
}

// flushEvery is the pause between two writes of a job's progress.
const flushEvery = time.Second

// trimEvery is the pause between two removals of old jobs.
const trimEvery = time.Hour

// New returns a runner that does nothing until Run.
func New(o Options) *Runner {
	o.Transporter = cmp.Or(o.Transporter, wire.BuiltInTransporter)
	o.Total = cmp.Or(o.Total, 2)
	o.PerGroup = cmp.Or(o.PerGroup, o.Total)
	o.Lease = cmp.Or(o.Lease, 30*time.Second)
	o.Poll = cmp.Or(o.Poll, 2*time.Second)
	o.Keep = cmp.Or(o.Keep, 90*24*time.Hour)
	o.KeepLast = cmp.Or(o.KeepLast, 20)
	o.Attempts = cmp.Or(o.Attempts, 5)
	return &Runner{
		o: o, wake: make(chan struct{}, 1), turns: map[volspec.VMGroupID]uint64{},
		tasks: map[volspec.JobID]*Task{}, ended: make(chan struct{}),
	}
}

// Run takes jobs and works on them until ctx ends. Then running ones are told
// to stop and are queued again, and Run returns when the last handler has
// returned; until then their leases are kept. Run is called once.
func (r *Runner) Run(ctx context.Context) error {
	jobs, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	if r.o.Sole {
		r.complain(ctx, "jobs of an earlier mooringd cannot be taken over yet", r.inherit(ctx))
	}
	r.trim(ctx)
	r.loop(ctx, jobs)

	end(errStopping)
	done := make(chan struct{})
	go func() { // ends with the last handler
		r.work.Wait()
		close(done)
	}()
	r.keep(context.WithoutCancel(ctx), done)
	return nil
}

// loop takes jobs until ctx ends.
func (r *Runner) loop(ctx, jobs context.Context) {
	poll, tend, trim := time.NewTicker(r.o.Poll), time.NewTicker(r.tendEvery()), time.NewTicker(trimEvery)
	for _, t := range []*time.Ticker{poll, tend, trim} {
		defer t.Stop()
	}
	for look := true; ; {
		if look {
			r.complain(ctx, "the queue of jobs cannot be read, it is tried again", r.takeAll(ctx, jobs))
		}
		look = false
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			look = true
		case <-poll.C:
			look = true
		case <-tend.C:
			r.tend(ctx)
		case <-trim.C:
			r.trim(ctx)
		}
	}
}

// keep keeps the leases of jobs that are being stopped.
func (r *Runner) keep(ctx context.Context, done <-chan struct{}) {
	tend := time.NewTicker(r.tendEvery())
	defer tend.Stop()
	for {
		select {
		case <-done:
			return
		case <-tend.C:
			r.tend(ctx)
		}
	}
}

func (r *Runner) complain(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, err.Error()).WithField(log.Kind, errkind.Of(err)).Warn(what)
	}
}

func (r *Runner) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// signal wakes everybody who waits for a job.
func (r *Runner) signal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.ended)
	r.ended = make(chan struct{})
}

func (r *Runner) task(id volspec.JobID) *Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tasks[id]
}

func (r *Runner) running() []*Task {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Task, 0, len(r.tasks))
	for _, t := range r.tasks {
		all = append(all, t)
	}
	return all
}

// briefly bounds one transaction, so that a catalog that hangs is noticed well
// before the leases are over. It outlives ctx: how a transaction ended that
// was given up nobody knows.
func (r *Runner) briefly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.o.Lease/3)
}

// tendEvery is the pause between two looks at the jobs that run here: short,
// so that a renewal that failed is soon tried again.
func (r *Runner) tendEvery() time.Duration { return min(flushEvery, r.o.Lease/9) }

// tend keeps the leases of the jobs that run here, and writes what they have
// reported.
func (r *Runner) tend(ctx context.Context) {
	for _, t := range r.running() {
		if t.due() {
			r.write(ctx, t)
		}
	}
}

func (r *Runner) write(ctx context.Context, t *Task) {
	brief, cancel := r.briefly(ctx)
	defer cancel()
	err := t.change(brief, nil)
	if errors.Is(err, errLost) {
		return // the handler is told, and says so
	}
	r.complain(ctx, "the lease of a job could not be renewed", err)
}

func (r *Runner) trim(ctx context.Context) {
	brief, cancel := r.briefly(ctx)
	defer cancel()
	err := r.o.Store.Update(brief, func(tx Tx) error {
		clock, err := tx.Clock()
		if err == nil {
			_, err = tx.TrimJobs(clock.Add(-r.o.Keep), r.o.KeepLast)
		}
		return err
	})
	r.complain(ctx, "old jobs could not be removed", err)
}
