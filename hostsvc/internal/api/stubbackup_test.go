package api

import (
	"context"
	"io"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// stubBackups stands for the backup use cases. Its jobs have ended, and its
// downloads are a few bytes.
type stubBackups struct{ *stub }

var doneJob = wire.Job{ID: "j", State: "done"}

func (s stubBackups) Repositories(ctx context.Context, group string) ([]wire.Repository, error) {
	return nil, s.note(ctx, "backup.Repositories", nobody, group)
}

func (s stubBackups) Repository(ctx context.Context, group, name string) (wire.Repository, error) {
	return wire.Repository{Name: name}, s.note(ctx, "backup.Repository", nobody, group, name)
}

func (s stubBackups) CreateRepository(ctx context.Context, c volspec.Caller, group string, r wire.CreateRepository) (wire.Repository, error) {
	return wire.Repository{Name: r.Name}, s.note(ctx, "backup.CreateRepository", c, group, r)
}

func (s stubBackups) CheckRepository(ctx context.Context, group, name string) (wire.Repository, error) {
	return wire.Repository{Name: name}, s.note(ctx, "backup.CheckRepository", nobody, group, name)
}

func (s stubBackups) DetachRepository(ctx context.Context, c volspec.Caller, group, name string) error {
	return s.note(ctx, "backup.DetachRepository", c, group, name)
}

func (s stubBackups) SetCredentials(ctx context.Context, c volspec.Caller, group, name string, r wire.Credentials) (wire.Repository, error) {
	return wire.Repository{Name: name}, s.note(ctx, "backup.SetCredentials", c, group, name, r)
}

func (s stubBackups) Kit(ctx context.Context, c volspec.Caller, group, name string, o wire.KitOptions) (wire.Kit, error) {
	return wire.Kit{Text: "kit"}, s.note(ctx, "backup.Kit", c, group, name, o)
}

func (s stubBackups) PrepareRepository(ctx context.Context, c volspec.Caller, r wire.CreateRepository) (wire.Repository, error) {
	return wire.Repository{Name: r.Name}, s.note(ctx, "backup.PrepareRepository", c, r)
}

func (s stubBackups) AssignRepository(ctx context.Context, c volspec.Caller, name string, r wire.Assign) (wire.Repository, error) {
	return wire.Repository{Name: name}, s.note(ctx, "backup.AssignRepository", c, name, r)
}

func (s stubBackups) RemovePrepared(ctx context.Context, c volspec.Caller, name string) error {
	return s.note(ctx, "backup.RemovePrepared", c, name)
}

func (s stubBackups) BackupUsage(ctx context.Context, group string) (wire.BackupUsage, error) {
	return wire.BackupUsage{VMGroup: group}, s.note(ctx, "backup.BackupUsage", nobody, group)
}

func (s stubBackups) SetBackupLimit(ctx context.Context, c volspec.Caller, group string, r wire.SetBackupLimit) (wire.BackupUsage, error) {
	return wire.BackupUsage{VMGroup: group}, s.note(ctx, "backup.SetBackupLimit", c, group, r)
}

func (s stubBackups) Points(ctx context.Context, group string, f PointFilter) (wire.PointList, error) {
	return wire.PointList{}, s.note(ctx, "backup.Points", nobody, group, f)
}

func (s stubBackups) Point(ctx context.Context, group, ref string) (wire.Point, error) {
	return wire.Point{}, s.note(ctx, "backup.Point", nobody, group, ref)
}

func (s stubBackups) SetPoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.SetPoint) (wire.Point, error) {
	return wire.Point{}, s.note(ctx, "backup.SetPoint", c, group, ref, r)
}

func (s stubBackups) DeletePoint(ctx context.Context, c volspec.Caller, group, ref string) error {
	return s.note(ctx, "backup.DeletePoint", c, group, ref)
}

func (s stubBackups) Backup(ctx context.Context, c volspec.Caller, group string, r wire.RunBackup) ([]wire.Job, error) {
	return nil, s.note(ctx, "backup.Backup", c, group, r)
}

func (s stubBackups) Verify(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunVerify) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.Verify", c, group, ref, r)
}

func (s stubBackups) Drill(ctx context.Context, c volspec.Caller, group, ref string) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.Drill", c, group, ref)
}

func (s stubBackups) RestorePoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunRestore) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.RestorePoint", c, group, ref, r)
}

func (s stubBackups) CopyPoint(ctx context.Context, c volspec.Caller, group, ref string, r wire.RunCopy) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.CopyPoint", c, group, ref, r)
}

func (s stubBackups) Files(ctx context.Context, c volspec.Caller, group, ref, path, after string, limit int) (wire.FileList, error) {
	return wire.FileList{}, s.note(ctx, "backup.Files", c, group, ref, path, after, limit)
}

func (s stubBackups) File(ctx context.Context, c volspec.Caller, group, ref, path string, start func(name string, size int64), w io.Writer) error {
	if err := s.note(ctx, "backup.File", c, group, ref, path); err != nil {
		return err
	}
	start("the \"file\" ü", 5)
	_, err := io.WriteString(w, "bytes")
	return err
}

func (s stubBackups) Tar(ctx context.Context, c volspec.Caller, group, ref string, paths []string, start func(name string, size int64), w io.Writer) error {
	if err := s.note(ctx, "backup.Tar", c, group, ref, paths); err != nil {
		return err
	}
	start("x.tar", -1)
	_, err := io.WriteString(w, "archive")
	return err
}

func (s stubBackups) Image(ctx context.Context, c volspec.Caller, group, ref string, start func(name string, size int64), _ io.Writer) error {
	if err := s.note(ctx, "backup.Image", c, group, ref); err != nil {
		return err
	}
	start("x.img", 0)
	return nil
}

func (s stubBackups) Policies(ctx context.Context, group string) ([]wire.Policy, error) {
	return nil, s.note(ctx, "backup.Policies", nobody, group)
}

func (s stubBackups) Policy(ctx context.Context, group, name string) (wire.Policy, error) {
	return wire.Policy{Name: name}, s.note(ctx, "backup.Policy", nobody, group, name)
}

func (s stubBackups) PutPolicy(ctx context.Context, c volspec.Caller, group string, p wire.Policy, replace bool) (wire.Policy, error) {
	return p, s.note(ctx, "backup.PutPolicy", c, group, p, replace)
}

func (s stubBackups) RemovePolicy(ctx context.Context, c volspec.Caller, group, name string) error {
	return s.note(ctx, "backup.RemovePolicy", c, group, name)
}

func (s stubBackups) PreviewPolicy(ctx context.Context, group, name string) (wire.PolicyPreview, error) {
	return wire.PolicyPreview{}, s.note(ctx, "backup.PreviewPolicy", nobody, group, name)
}

func (s stubBackups) PreviewNew(ctx context.Context, group string, p wire.Policy) (wire.PolicyPreview, error) {
	return wire.PolicyPreview{}, s.note(ctx, "backup.PreviewNew", nobody, group, p)
}

func (s stubBackups) Prune(ctx context.Context, c volspec.Caller, group string, r wire.Prune) (wire.Pruned, error) {
	return wire.Pruned{}, s.note(ctx, "backup.Prune", c, group, r)
}

func (s stubBackups) Jobs(ctx context.Context, group string, f JobFilter) (wire.JobList, error) {
	return wire.JobList{}, s.note(ctx, "backup.Jobs", nobody, group, f)
}

func (s stubBackups) Job(ctx context.Context, group string, id volspec.JobID, waitMS int) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.Job", nobody, group, string(id), waitMS)
}

func (s stubBackups) CancelJob(ctx context.Context, c volspec.Caller, group string, id volspec.JobID) (wire.Job, error) {
	return doneJob, s.note(ctx, "backup.CancelJob", c, group, string(id))
}

func (s stubBackups) Protection(ctx context.Context, group string) ([]wire.Protection, error) {
	return nil, s.note(ctx, "backup.Protection", nobody, group)
}

func (s stubBackups) Alarms(ctx context.Context, group string) ([]wire.Alarm, error) {
	return nil, s.note(ctx, "backup.Alarms", nobody, group)
}

// stubSelfBackup stands for the copies of the catalog.
type stubSelfBackup struct{ *stub }

func (s stubSelfBackup) Show(ctx context.Context) (wire.SelfBackup, error) {
	return wire.SelfBackup{Copies: []wire.CatalogCopy{}}, s.note(ctx, "selfbackup.Show", nobody)
}

func (s stubSelfBackup) Now(ctx context.Context, c volspec.Caller) (wire.SelfBackup, error) {
	return wire.SelfBackup{Copies: []wire.CatalogCopy{}}, s.note(ctx, "selfbackup.Now", c)
}

func (s stubSelfBackup) Kit(ctx context.Context, c volspec.Caller) (wire.Kit, error) {
	return wire.Kit{Text: "kit"}, s.note(ctx, "selfbackup.Kit", c)
}

func (s stubBackups) RotateKey(ctx context.Context, c volspec.Caller) (wire.Rotated, error) {
	return wire.Rotated{}, s.note(ctx, "backup.RotateKey", c)
}
