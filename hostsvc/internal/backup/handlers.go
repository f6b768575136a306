package backup

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Handlers are the kinds of jobs that this package does.
func (s *Service) Handlers() map[string]job.Handler {
	of := func(run func(context.Context, task) error) job.Handler {
		return job.Handler{
			Run:    func(ctx context.Context, t *job.Task) error { return run(ctx, running{t}) },
			Resume: true,
			Ended:  s.ended,
		}
	}
	kinds := map[string]job.Handler{
		kindBackup: of(s.runBackup), kindVerify: of(s.runVerify), kindDrill: of(s.runDrill),
		kindCopy: of(s.runCopy), kindRestore: of(s.runRestore), kindMaintain: of(s.runMaintain), kindPolicy: of(s.runPolicy),
		kindMachine: of(s.runMachine), kindMachineRestore: of(s.runMachineRestore),
	}
	waiting := kinds[kindPolicy]
	waiting.Free = true
	kinds[kindPolicy] = waiting
	return kinds
}

// running is a job.Task as a task.
type running struct{ t *job.Task }

func (r running) id() volspec.JobID                         { return r.t.ID() }
func (r running) group() volspec.VMGroupID                  { return r.t.Job().Group }
func (r running) params(into any) error                     { return r.t.Params(into) }
func (r running) notes(into any) (bool, error)              { return r.t.Notes(into) }
func (r running) save(ctx context.Context, v any) error     { return r.t.Save(ctx, v) }
func (r running) stage(ctx context.Context, n string) error { return r.t.Stage(ctx, n) }
func (r running) warn(text string)                          { r.t.Warn(text) }
func (r running) result(v any)                              { r.t.Result(v) }
func (r running) stopping(ctx context.Context) bool         { return r.t.Stopping(ctx) }

func (r running) report(p repository.Progress) {
	r.t.Report(job.Progress{Done: p.Done, Total: p.Total, Read: p.Read, Stored: p.Stored})
}

// quotaObject is what the alarm about a reached quota is about.
const quotaObject = "backup storage"

// jobOf is what the alarm about a failed job is about.
func jobOf(kind, object string) string { return kind + " of " + object }

// ended tells people of jobs that failed, and that they are well again. A
// policy's job tells by its parts; of a restore whoever asked for it knows.
func (s *Service) ended(ctx context.Context, j job.Job) {
	if j.Kind == kindPolicy || j.Kind == kindRestore || j.Kind == kindMachineRestore || j.State == job.Canceled {
		return
	}
	object := jobOf(j.Kind, s.presentJob(ctx, j, "").Object)
	var err error
	switch {
	case j.State != job.Done:
		err = s.raise(ctx, j.Group, alarmJob, object, j.Error)
		if errkind.Is(j.Err(), errkind.Quota) && !j.Begun.IsZero() { // what never began was refused for its allowance
			err = joined(err, s.raise(ctx, j.Group, alarmQuota, quotaObject, j.Error))
		}
	default:
		err = s.clear(ctx, j.Group, alarmJob, object, "the "+object+" succeeds again")
		if j.Kind == kindBackup || j.Kind == kindMachine || j.Kind == kindCopy {
			err = joined(err, s.clear(ctx, j.Group, alarmQuota, quotaObject, "there is room in the backup storage again"))
		}
	}
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("an alarm could not be recorded")
	}
}
