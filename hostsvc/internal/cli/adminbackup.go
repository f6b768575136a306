package cli

import (
	"context"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// backupAdmin is the part of Admin that is about backup.
type backupAdmin interface {
	repositoryAdmin
	placeAdmin
	pointAdmin
	pointVerbs
	contentAdmin
	policyAdmin
	jobAdmin
	protectionAdmin
}

type repositoryAdmin interface {
	Repositories(ctx context.Context, vmgroup string) ([]wire.Repository, error)
	GroupRepositories(ctx context.Context, vmgroup string) ([]wire.Repository, error)
	Repository(ctx context.Context, vmgroup, name string) (wire.Repository, error)
	CreateRepository(ctx context.Context, vmgroup string, r wire.CreateRepository) (wire.Repository, error)
	DetachRepository(ctx context.Context, vmgroup, name string) error
	CheckRepository(ctx context.Context, vmgroup, name string) (wire.Repository, error)
	RepositoryKit(ctx context.Context, vmgroup, name string, o wire.KitOptions) (wire.Kit, error)
	SetCredentials(ctx context.Context, vmgroup, name string, c wire.Credentials) (wire.Repository, error)
}

type placeAdmin interface {
	PrepareRepository(ctx context.Context, r wire.CreateRepository) (wire.Repository, error)
	AssignRepository(ctx context.Context, name string, a wire.Assign) (wire.Repository, error)
	RemovePrepared(ctx context.Context, name string) error
	BackupUsage(ctx context.Context, vmgroup string) (wire.BackupUsage, error)
	SetBackupLimit(ctx context.Context, vmgroup string, l wire.SetBackupLimit) (wire.BackupUsage, error)
}

type pointAdmin interface {
	Points(ctx context.Context, vmgroup string, q hostclient.PointsQuery) (wire.PointList, error)
	Point(ctx context.Context, vmgroup, ref string) (wire.Point, error)
	SetPoint(ctx context.Context, vmgroup, ref string, s wire.SetPoint) (wire.Point, error)
	DeletePoint(ctx context.Context, vmgroup, ref string) error
}

type pointVerbs interface {
	Backup(ctx context.Context, vmgroup string, r wire.RunBackup) ([]wire.Job, error)
	VerifyPoint(ctx context.Context, vmgroup, ref string, r wire.RunVerify) (wire.Job, error)
	DrillPoint(ctx context.Context, vmgroup, ref string) (wire.Job, error)
	RestorePoint(ctx context.Context, vmgroup, ref string, r wire.RunRestore) (wire.Job, error)
	CopyPoint(ctx context.Context, vmgroup, ref string, r wire.RunCopy) (wire.Job, error)
}

type contentAdmin interface {
	Files(ctx context.Context, vmgroup, ref, path, after string, limit int) (wire.FileList, error)
	File(ctx context.Context, vmgroup, ref, path string) (hostclient.Download, error)
	Tar(ctx context.Context, vmgroup, ref string, paths []string) (hostclient.Download, error)
	Image(ctx context.Context, vmgroup, ref string) (hostclient.Download, error)
}

type policyAdmin interface {
	Policies(ctx context.Context, vmgroup string) ([]wire.Policy, error)
	Policy(ctx context.Context, vmgroup, name string) (wire.Policy, error)
	CreatePolicy(ctx context.Context, vmgroup string, p wire.Policy) (wire.Policy, error)
	ReplacePolicy(ctx context.Context, vmgroup, name string, p wire.Policy) (wire.Policy, error)
	RemovePolicy(ctx context.Context, vmgroup, name string) error
	PreviewPolicy(ctx context.Context, vmgroup, name string) (wire.PolicyPreview, error)
	PreviewNew(ctx context.Context, vmgroup string, p wire.Policy) (wire.PolicyPreview, error)
	Prune(ctx context.Context, vmgroup string, p wire.Prune) (wire.Pruned, error)
}

type jobAdmin interface {
	Jobs(ctx context.Context, q hostclient.JobsQuery) (wire.JobList, error)
	GroupJobs(ctx context.Context, vmgroup string, q hostclient.JobsQuery) (wire.JobList, error)
	Job(ctx context.Context, vmgroup string, id volspec.JobID, waitMS int) (wire.Job, error)
	CancelJob(ctx context.Context, vmgroup string, id volspec.JobID) (wire.Job, error)
}

type protectionAdmin interface {
	Protection(ctx context.Context, vmgroup string) ([]wire.Protection, error)
	Alarms(ctx context.Context) ([]wire.Alarm, error)
	GroupAlarms(ctx context.Context, vmgroup string) ([]wire.Alarm, error)
	RotateKey(ctx context.Context) (wire.Rotated, error)
}
