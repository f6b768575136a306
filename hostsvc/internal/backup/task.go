package backup

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
)

// task is a running job as its steps see it.
type task interface {
	id() volspec.JobID
	group() volspec.VMGroupID
	params(into any) error
	// notes reads what save kept, in this attempt or an earlier one.
	notes(into any) (found bool, err error)
	// save keeps v durably; it fails when the job is not this process's any more.
	save(ctx context.Context, v any) error
	// stage ends the step before and begins one; an error of the job is shown
	// with the step in which it happened.
	stage(ctx context.Context, name string) error
	report(p repository.Progress)
	warn(text string)
	result(v any)
	// stopping reports whether ctx ended because the service stops: the job
	// goes on after the restart.
	stopping(ctx context.Context) bool
}

// Kinds of jobs.
const (
	kindBackup   = "backup"
	kindVerify   = "verify"
	kindDrill    = "drill"
	kindCopy     = "copy"
	kindRestore  = "restore"
	kindMaintain = "maintain"
	kindPolicy   = "policy" // makes the jobs of one due time of a policy

	kindMachine        = "vm-backup"
	kindMachineRestore = "vm-restore"
)

// taskKey is where a restore job's task travels to Service.Fill.
type taskKey struct{}

func withTask(ctx context.Context, t task) context.Context {
	return context.WithValue(ctx, taskKey{}, t)
}

func taskOf(ctx context.Context) (task, bool) {
	t, ok := ctx.Value(taskKey{}).(task)
	return t, ok
}
