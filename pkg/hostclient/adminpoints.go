package hostclient

import (
	"context"
	"iter"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// PointsQuery selects recovery points; zero fields select everything. After is
// the Next of the page before, Limit the length of a page (0: the service's
// default).
type PointsQuery struct {
	Volume, Repository string
	After              string
	Limit              int
}

// Points is one page of the recovery points of a vmgroup, newest first.
func (a *Admin) Points(ctx context.Context, group string, r PointsQuery) (wire.PointList, error) {
	q := url.Values{}
	set(q, "volume", r.Volume)
	set(q, "repository", r.Repository)
	set(q, "after", r.After)
	setInt(q, "limit", r.Limit)
	return get[wire.PointList](ctx, a, q, "vmgroups", group, "points")
}

// Point finds one by id, volume@time or volume@latest, as all calls below.
func (a *Admin) Point(ctx context.Context, group, ref string) (wire.Point, error) {
	return get[wire.Point](ctx, a, nil, "vmgroups", group, "points", ref)
}

// SetPoint changes what is not nil in r.
func (a *Admin) SetPoint(ctx context.Context, group, ref string, r wire.SetPoint) (wire.Point, error) {
	return change[wire.Point](ctx, a, http.MethodPatch, nil, r, "vmgroups", group, "points", ref)
}

// DeletePoint deletes a recovery point.
func (a *Admin) DeletePoint(ctx context.Context, group, ref string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "vmgroups", group, "points", ref)
}

// Backup backs volumes up now: a job for each.
func (a *Admin) Backup(ctx context.Context, group string, r wire.RunBackup) ([]wire.Job, error) {
	return change[[]wire.Job](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "backups")
}

// VerifyPoint begins to check a recovery point.
func (a *Admin) VerifyPoint(ctx context.Context, group, ref string, r wire.RunVerify) (wire.Job, error) {
	return change[wire.Job](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "points", ref, "verify")
}

// DrillPoint begins to prove a recovery point by a restore to scratch.
func (a *Admin) DrillPoint(ctx context.Context, group, ref string) (wire.Job, error) {
	return change[wire.Job](ctx, a, http.MethodPost, nil, nil, "vmgroups", group, "points", ref, "drill")
}

// RestorePoint begins to bring a recovery point back.
func (a *Admin) RestorePoint(ctx context.Context, group, ref string, r wire.RunRestore) (wire.Job, error) {
	return change[wire.Job](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "points", ref, "restore")
}

// CopyPoint begins to copy a recovery point to another repository.
func (a *Admin) CopyPoint(ctx context.Context, group, ref string, r wire.RunCopy) (wire.Job, error) {
	return change[wire.Job](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "points", ref, "copy")
}

// Files is one page of a folder inside a recovery point, by name.
func (a *Admin) Files(ctx context.Context, group, ref, path, after string, limit int) (wire.FileList, error) {
	q := url.Values{}
	set(q, "path", path)
	set(q, "after", after)
	setInt(q, "limit", limit)
	return get[wire.FileList](ctx, a, q, "vmgroups", group, "points", ref, "files")
}

// File is the content of a file inside a recovery point.
func (a *Admin) File(ctx context.Context, group, ref, path string) (Download, error) {
	return a.download(ctx, url.Values{"path": {path}}, "vmgroups", group, "points", ref, "file")
}

// Tar is an archive of files and folders inside a recovery point, of all
// without paths.
func (a *Admin) Tar(ctx context.Context, group, ref string, paths []string) (Download, error) {
	return a.download(ctx, url.Values{"path": paths}, "vmgroups", group, "points", ref, "tar")
}

// Image is the disk of a recovery point, byte for byte.
func (a *Admin) Image(ctx context.Context, group, ref string) (Download, error) {
	return a.download(ctx, nil, "vmgroups", group, "points", ref, "image")
}

// CancelJob asks a job to end.
func (a *Admin) CancelJob(ctx context.Context, group string, id volspec.JobID) (wire.Job, error) {
	return change[wire.Job](ctx, a, http.MethodPost, nil, nil, "vmgroups", group, "jobs", string(id), "cancel")
}

// JobEvents is a job as it changes, at most twice a second. It ends after the
// job has, or with an error, or when the service stops: then without the
// job's end.
func (a *Admin) JobEvents(ctx context.Context, group string, id volspec.JobID) iter.Seq2[wire.Job, error] {
	return events[wire.Job](ctx, a, nil, "vmgroups", group, "jobs", string(id), "events")
}
