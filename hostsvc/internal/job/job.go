// Package job is a durable queue: jobs are rows that survive every crash, one
// runner in each process works on them under leases with fencing, schedules
// enqueue them. What a job does is its Handler's business.
//
// A running job is leased to one process, which renews the lease three times
// in its length, on the catalog's clock. Every write of the row by its owner
// checks state, owner and fence in the same transaction, so that a process
// that slept too long changes nothing; its handler's context ends as soon as
// the lease cannot be relied on any more. A job whose lease is over is given
// back to the queue or ends failed: none is running for ever.
package job

import (
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// State is where a job is in its life.
type State string

// queued → running → done, partial, failed or canceled. Partial is done with
// something missing.
const (
	Queued   State = "queued"
	Running  State = "running"
	Done     State = "done"
	Partial  State = "partial"
	Failed   State = "failed"
	Canceled State = "canceled"
)

// Job is one job. Params, Saved and Result are the handler's JSON.
type Job struct {
	ID       volspec.JobID
	Group    volspec.VMGroupID
	Kind     string
	Object   string // only one job of a kind runs on an object at a time; "" any number
	State    State
	Created  time.Time
	Begun    time.Time // of the newest attempt
	EndedAt  time.Time
	Priority int // 1 is first, 5 is last; who may use which is the use case's matter
	Policy   volspec.PolicyID
	Owner    string    // instance that runs it
	Fence    int64     // grows with every lease; an older one may not write
	Expires  time.Time // of the lease, on the catalog's clock
	Cancel   bool      // its end was asked for
	// Unique makes a repeated Enqueue the same job; "" never.
	Unique string

	Params   json.RawMessage
	Saved    json.RawMessage // what Task.Save kept, through all attempts
	Result   json.RawMessage
	Stage    string
	Steps    []Step
	Progress Progress
	Warnings []string
	Error    string       // the sentence, "" unless failed, partial or canceled
	Kept     errkind.Kind // of Error
	Attempts int          // how often it was begun and not stopped in order
}

// Step is one stage that a job went through.
type Step struct {
	Name  string    `json:"name"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended,omitzero"`
	Error string    `json:"error,omitempty"`
}

// Progress is bytes; Total 0 is not known. Rate is bytes per second over the
// last seconds.
type Progress struct {
	Done   int64   `json:"done"`
	Total  int64   `json:"total"`
	Read   int64   `json:"read"`
	Stored int64   `json:"stored"`
	Rate   float64 `json:"rate"`
}

// ETA is the time that is left at the present rate; ok is false when that
// cannot be told.
func (p Progress) ETA() (left time.Duration, ok bool) {
	if p.Total <= 0 || p.Rate <= 0 {
		return 0, false
	}
	return time.Duration(float64(max(p.Total-p.Done, 0)) / p.Rate * float64(time.Second)), true
}

// Ended reports whether a job is over for good.
func (j Job) Ended() bool { return j.State != Queued && j.State != Running }

// Err is a job's error with its kind; nil for one that is done or goes on.
func (j Job) Err() error {
	if j.Error == "" {
		return nil
	}
	return errkind.New(j.Kept, "%s", j.Error)
}

// Read decodes the parameters.
func (j Job) Read(into any) error {
	return errkind.Wrap(errkind.Corrupt, json.Unmarshal(j.Params, into), "the parameters of job %s are damaged", j.ID)
}

// Query selects jobs; zero fields select everything. They are listed newest
// first, by creation and id. Before and BeforeID are the last of the page
// before.
type Query struct {
	Group    volspec.VMGroupID
	State    State
	Open     bool // queued or running
	Ended    bool
	Kind     string
	Object   string
	Policy   volspec.PolicyID
	Before   time.Time
	BeforeID volspec.JobID
	Last     bool      // of each object only the newest of Kind that has ended
	From, To time.Time // created at From or later, before To
	Since    time.Time // not ended before it
	Work     bool      // without runs of policies, which their parts tell, and the service's own
	Runs     bool      // without those that another job or the service itself began
	// OldestFirst turns the order round; then there are no pages.
	OldestFirst bool
	Limit       int
}

// Handler does the jobs of one kind. An error ends the job failed; one that
// PartialError made, partial. When the service stops, ctx ends and the job is
// queued again, with what it saved. When the process dies, or loses the lease
// since the catalog is away, the job is queued again if Resume is set, and
// otherwise ends failed as interrupted.
//
// A handler returns soon after ctx has ended. Whoever loses the lease may
// write nothing more of the job: Task sees to the row, the handler to the
// rest, see Task.Stopping.
type Handler struct {
	Run    func(ctx context.Context, t *Task) error
	Resume bool
	// Free jobs take no place among the running ones: they only wait for others.
	Free bool
	// Limit is how many of the kind may run at a time, in all processes; 0: any.
	Limit int
	// Ended, if not nil, is told of a job of this kind that has ended, once, by
	// the process that ended it; not if that dies in this moment.
	Ended func(ctx context.Context, j Job)
}
