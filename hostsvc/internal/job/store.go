package job

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Store is the catalog as this package sees it; see volume.Store.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	Job(id volspec.JobID) (Job, error)
	JobByUnique(unique string) (Job, error)
	Jobs(q Query) ([]Job, error)
	// OpenJobs lists all queued and running jobs: queued ones in the order in
	// which they should run, by priority and age.
	OpenJobs() ([]Job, error)
	// PutJob inserts or replaces by ID.
	PutJob(j Job) error
	// TrimJobs deletes ended jobs that ended before t.
	TrimJobs(t time.Time) (int, error)
	// Clock is the time on the clock that all processes on the catalog share.
	Clock() (time.Time, error)

	// Mark is when a schedule began to count and the newest due time that was
	// enqueued; zero times before.
	Mark(p volspec.PolicyID, task string) (since, last time.Time, err error)
	PutMark(p volspec.PolicyID, task string, since, last time.Time) error
}
