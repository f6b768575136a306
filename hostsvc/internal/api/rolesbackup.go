package api

import (
	"context"
	"io"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Backups is everything the interface wants of the backup use cases. group is
// the vmgroup that the path names; absent and foreign are the same not-found.
type Backups interface {
	repositories
	points
	files
	policies
	jobs
	protection
	keys
}

type repositories interface {
	// Repositories lists those of one vmgroup, or with "" all, prepared ones too.
	Repositories(ctx context.Context, group string) ([]wire.Repository, error)
	Repository(ctx context.Context, group, name string) (wire.Repository, error)
	CreateRepository(ctx context.Context, c volspec.Caller, group string, r wire.CreateRepository) (wire.Repository, error)
	// CheckRepository looks at identity and status now.
	CheckRepository(ctx context.Context, group, name string) (wire.Repository, error)
	// DetachRepository forgets a repository; its data stay where they are.
	DetachRepository(ctx context.Context, c volspec.Caller, group, name string) error
	SetCredentials(ctx context.Context, c volspec.Caller, group, name string, r wire.Credentials) (wire.Repository, error)
	Kit(ctx context.Context, c volspec.Caller, group, name string, o wire.KitOptions) (wire.Kit, error)
	// PrepareRepository, AssignRepository and RemovePrepared are the
	// administrator's: a place with its credentials, given to a vmgroup later.
	PrepareRepository(ctx context.Context, c volspec.Caller, r wire.CreateRepository) (wire.Repository, error)
	AssignRepository(ctx context.Context, c volspec.Caller, name string, r wire.Assign) (wire.Repository, error)
	RemovePrepared(ctx context.Context, c volspec.Caller, name string) error
	BackupUsage(ctx context.Context, group string) (wire.BackupUsage, error)
	SetBackupLimit(ctx context.Context, c volspec.Caller, group string, r wire.SetBackupLimit) (wire.BackupUsage, error)
}

// PointFilter selects recovery points; zero fields select everything.
type PointFilter = backup.PointFilter

type points interface {
	Points(ctx context.Context, group string, f PointFilter) (wire.PointList, error)
	// Point finds one by id, or volume@time, volume@latest.
	Point(ctx context.Context, group, ref string) (wire.Point, error)
	SetPoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.SetPoint) (wire.Point, error)
	DeletePoint(ctx context.Context, c volspec.Caller, group, ref string) error
	Backup(ctx context.Context, c volspec.Caller, group string, r wire.RunBackup) ([]wire.Job, error)
	Verify(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunVerify) (wire.Job, error)
	Drill(ctx context.Context, c volspec.Caller, group, ref string) (wire.Job, error)
	RestorePoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunRestore) (wire.Job, error)
	CopyPoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunCopy) (wire.Job, error)
}

type files interface {
	Files(ctx context.Context, c volspec.Caller, group, ref, path, after string, limit int) (wire.FileList, error)
	// File, Tar and Image write their answer to w as it comes. start is called
	// once, before the first byte, with a name for a download and the length, -1
	// if it is not known: an error after that can only cut the answer off.
	File(ctx context.Context, c volspec.Caller, group, ref, path string, start func(name string, size int64), w io.Writer) error
	Tar(ctx context.Context, c volspec.Caller, group, ref string, paths []string, start func(name string, size int64), w io.Writer) error
	Image(ctx context.Context, c volspec.Caller, group, ref string, start func(name string, size int64), w io.Writer) error
}

type policies interface {
	Policies(ctx context.Context, group string) ([]wire.Policy, error)
	Policy(ctx context.Context, group, name string) (wire.Policy, error)
	// PutPolicy makes a policy, or with replace replaces it whole.
	PutPolicy(ctx context.Context, c volspec.Caller, group string, p wire.Policy, replace bool) (wire.Policy, error)
	RemovePolicy(ctx context.Context, c volspec.Caller, group, name string) error
	// PreviewPolicy tells what a policy that is there would do, or one that is
	// not stored yet.
	PreviewPolicy(ctx context.Context, group, name string) (wire.PolicyPreview, error)
	PreviewNew(ctx context.Context, group string, p wire.Policy) (wire.PolicyPreview, error)
	Prune(ctx context.Context, c volspec.Caller, group string, r wire.Prune) (wire.Pruned, error)
}

// JobFilter selects jobs; zero fields select everything.
type JobFilter = backup.JobFilter

type jobs interface {
	// Jobs lists those of one vmgroup, or with "" of all.
	Jobs(ctx context.Context, group string, f JobFilter) (wire.JobList, error)
	// Job is one; with waitMS it is answered when the job has ended, or then.
	Job(ctx context.Context, group string, id volspec.JobID, waitMS int) (wire.Job, error)
	CancelJob(ctx context.Context, c volspec.Caller, group string, id volspec.JobID) (wire.Job, error)
}

type protection interface {
	Protection(ctx context.Context, group string) ([]wire.Protection, error)
	// Alarms lists those of one vmgroup, or with "" all.
	Alarms(ctx context.Context, group string) ([]wire.Alarm, error)
}

type keys interface {
	RotateKey(ctx context.Context, c volspec.Caller) (wire.Rotated, error)
}
