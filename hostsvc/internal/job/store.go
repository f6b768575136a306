package job

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Store is the catalog as this package sees it; see volume.Store.
type Store interface {
	// View runs fn on a consistent snapshot.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn in a transaction that no other Update overlaps, in this
	// process or another on the same catalog; an error of fn undoes it and comes
	// back as it is. fn may run more than once.
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	Job(id volspec.JobID) (Job, error)
	JobByUnique(unique string) (Job, error)
	Jobs(q Query) ([]Job, error)
	// OpenJobs lists all running jobs, and of the queued ones those that a
	// transporter may take: of vmgroups that are bound to it, and for the built-in
	// one of vmgroups that are gone. They come in the order in which they should
	// run: by priority and age.
	OpenJobs(transporter string) ([]Job, error)
	// PutJob inserts or replaces by ID. A Unique that another job has is
	// errkind.Exists.
	PutJob(j Job) error
	// TrimJobs deletes jobs that ended before t, except the newest keep of each
	// vmgroup and policy.
	TrimJobs(t time.Time, keep int) (int, error)
	// Clock is the time on the clock that all processes on the catalog share.
	Clock() (time.Time, error)

	// Mark is when a schedule began to count and the newest due time that was
	// enqueued; zero times before.
	Mark(p volspec.PolicyID, task string) (since, last time.Time, err error)
	// Marks are those of all schedules that have one.
	Marks() (map[MarkOf]Mark, error)
	PutMark(p volspec.PolicyID, task string, since, last time.Time) error
}

// MarkOf names a schedule.
type MarkOf struct {
	Policy volspec.PolicyID
	Task   string
}

// Mark is how far a schedule is; see Tx.Mark.
type Mark struct{ Since, Last time.Time }
