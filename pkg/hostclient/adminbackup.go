package hostclient

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Repositories lists the repositories of a vmgroup or, with "", all of them
// and the prepared ones.
func (a *Admin) Repositories(ctx context.Context, group string) ([]wire.Repository, error) {
	q := url.Values{}
	set(q, "vmgroup", group)
	return get[[]wire.Repository](ctx, a, q, "repositories")
}

// PrepareRepository keeps a place and its credentials, to be assigned later.
func (a *Admin) PrepareRepository(ctx context.Context, r wire.CreateRepository) (wire.Repository, error) {
	return change[wire.Repository](ctx, a, http.MethodPost, nil, r, "repositories")
}

// AssignRepository gives a prepared place to a vmgroup.
func (a *Admin) AssignRepository(ctx context.Context, name string, r wire.Assign) (wire.Repository, error) {
	return change[wire.Repository](ctx, a, http.MethodPost, nil, r, "repositories", name, "assign")
}

// RemovePrepared forgets a prepared place.
func (a *Admin) RemovePrepared(ctx context.Context, name string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "repositories", name)
}

// GroupRepositories lists the repositories of a vmgroup, which must exist.
func (a *Admin) GroupRepositories(ctx context.Context, group string) ([]wire.Repository, error) {
	return get[[]wire.Repository](ctx, a, nil, "vmgroups", group, "repositories")
}

// CreateRepository makes a repository, or attaches one.
func (a *Admin) CreateRepository(ctx context.Context, group string, r wire.CreateRepository) (wire.Repository, error) {
	return change[wire.Repository](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "repositories")
}

// Repository describes one repository.
func (a *Admin) Repository(ctx context.Context, group, name string) (wire.Repository, error) {
	return get[wire.Repository](ctx, a, nil, "vmgroups", group, "repositories", name)
}

// DetachRepository forgets a repository. Its data stay where they are.
func (a *Admin) DetachRepository(ctx context.Context, group, name string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "vmgroups", group, "repositories", name)
}

// CheckRepository has the service look at a repository now.
func (a *Admin) CheckRepository(ctx context.Context, group, name string) (wire.Repository, error) {
	return change[wire.Repository](ctx, a, http.MethodPost, nil, nil, "vmgroups", group, "repositories", name, "check")
}

// RepositoryKit is a repository's recovery kit, a secret.
func (a *Admin) RepositoryKit(ctx context.Context, group, name string, o wire.KitOptions) (wire.Kit, error) {
	return change[wire.Kit](ctx, a, http.MethodPost, nil, o, "vmgroups", group, "repositories", name, "kit")
}

// SetCredentials changes the credentials of a repository's place.
func (a *Admin) SetCredentials(ctx context.Context, group, name string, r wire.Credentials) (wire.Repository, error) {
	return change[wire.Repository](ctx, a, http.MethodPut, nil, r, "vmgroups", group, "repositories", name, "credentials")
}

// BackupUsage is what a vmgroup stores in its repositories.
func (a *Admin) BackupUsage(ctx context.Context, group string) (wire.BackupUsage, error) {
	return get[wire.BackupUsage](ctx, a, nil, "vmgroups", group, "backup-usage")
}

// SetBackupLimit bounds what a vmgroup stores.
func (a *Admin) SetBackupLimit(ctx context.Context, group string, r wire.SetBackupLimit) (wire.BackupUsage, error) {
	return change[wire.BackupUsage](ctx, a, http.MethodPut, nil, r, "vmgroups", group, "backup-limit")
}

// Protection tells how the volumes of a vmgroup are protected.
func (a *Admin) Protection(ctx context.Context, group string) ([]wire.Protection, error) {
	return get[[]wire.Protection](ctx, a, nil, "vmgroups", group, "protection")
}

// Alarms lists those of all vmgroups.
func (a *Admin) Alarms(ctx context.Context) ([]wire.Alarm, error) {
	return get[[]wire.Alarm](ctx, a, nil, "alarms")
}

// GroupAlarms lists those of one vmgroup.
func (a *Admin) GroupAlarms(ctx context.Context, group string) ([]wire.Alarm, error) {
	return get[[]wire.Alarm](ctx, a, nil, "vmgroups", group, "alarms")
}

// RotateKey makes a new master key.
func (a *Admin) RotateKey(ctx context.Context) (wire.Rotated, error) {
	return change[wire.Rotated](ctx, a, http.MethodPost, nil, nil, "keys", "rotate")
}

// Policies lists the backup policies of a vmgroup.
func (a *Admin) Policies(ctx context.Context, group string) ([]wire.Policy, error) {
	return get[[]wire.Policy](ctx, a, nil, "vmgroups", group, "policies")
}

// Policy is one backup policy.
func (a *Admin) Policy(ctx context.Context, group, name string) (wire.Policy, error) {
	return get[wire.Policy](ctx, a, nil, "vmgroups", group, "policies", name)
}

// CreatePolicy makes a backup policy.
func (a *Admin) CreatePolicy(ctx context.Context, group string, p wire.Policy) (wire.Policy, error) {
	return change[wire.Policy](ctx, a, http.MethodPost, nil, p, "vmgroups", group, "policies")
}

// ReplacePolicy replaces the backup policy of that name whole.
func (a *Admin) ReplacePolicy(ctx context.Context, group, name string, p wire.Policy) (wire.Policy, error) {
	return change[wire.Policy](ctx, a, http.MethodPut, nil, p, "vmgroups", group, "policies", name)
}

// RemovePolicy removes a backup policy.
func (a *Admin) RemovePolicy(ctx context.Context, group, name string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "vmgroups", group, "policies", name)
}

// PreviewPolicy tells what a backup policy would do.
func (a *Admin) PreviewPolicy(ctx context.Context, group, name string) (wire.PolicyPreview, error) {
	return get[wire.PolicyPreview](ctx, a, nil, "vmgroups", group, "policies", name, "preview")
}

// PreviewNew tells what a backup policy would do that is not stored.
func (a *Admin) PreviewNew(ctx context.Context, group string, p wire.Policy) (wire.PolicyPreview, error) {
	return change[wire.PolicyPreview](ctx, a, http.MethodPost, nil, p, "vmgroups", group, "policy-preview")
}

// Prune applies the retention of policies now.
func (a *Admin) Prune(ctx context.Context, group string, r wire.Prune) (wire.Pruned, error) {
	return change[wire.Pruned](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "prune")
}

// JobsQuery selects jobs; zero fields select everything: what had not ended
// before Since and was asked for before Until. After is the Next of the page
// before, Limit the length of a page (0: the service's default).
type JobsQuery struct {
	State, Kind, Object string
	Since, Until        time.Time
	After               string
	Limit               int
}

func (r JobsQuery) values() url.Values {
	q := url.Values{}
	set(q, "state", r.State)
	set(q, "kind", r.Kind)
	set(q, "object", r.Object)
	setTime(q, "since", r.Since)
	setTime(q, "until", r.Until)
	set(q, "after", r.After)
	setInt(q, "limit", r.Limit)
	return q
}

// Jobs is one page of the jobs of all vmgroups, newest first.
func (a *Admin) Jobs(ctx context.Context, r JobsQuery) (wire.JobList, error) {
	return get[wire.JobList](ctx, a, r.values(), "jobs")
}

// GroupJobs is one page of the jobs of a vmgroup, newest first.
func (a *Admin) GroupJobs(ctx context.Context, group string, r JobsQuery) (wire.JobList, error) {
	return get[wire.JobList](ctx, a, r.values(), "vmgroups", group, "jobs")
}

// Job is one job, as soon as it has ended or after waitMS.
func (a *Admin) Job(ctx context.Context, group string, id volspec.JobID, waitMS int) (wire.Job, error) {
	q := url.Values{}
	setInt(q, "wait_ms", waitMS)
	return get[wire.Job](ctx, a, q, "vmgroups", group, "jobs", string(id))
}
