// Package job is a durable queue: jobs are rows that survive every crash, one
// runner in each process works on them under leases with fencing, schedules
// enqueue them. What a job does is its Handler's business.
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
	Priority int // 1 is first, 5 is last
	Policy   volspec.PolicyID
	Owner    string // instance that runs it
	Fence    int64
	Expires  time.Time // of the lease
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
	Attempts int
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
	Limit    int
}

// Handler does the jobs of one kind. An error ends the job failed; one that
// PartialError made, partial. While ctx ends because the service stops, or
// when the process dies, the job is queued again if Resume is set, with what
// it saved; otherwise it ends failed as interrupted.
type Handler struct {
	Run    func(ctx context.Context, t *Task) error
	Resume bool
	// Free jobs take no place among the running ones: they only wait for others.
	Free bool
	// Ended, if not nil, is told of a job of this kind that has ended.
	Ended func(ctx context.Context, j Job)
}
