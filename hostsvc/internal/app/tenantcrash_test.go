package app_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const tenantPassword = "correct horse battery"

// dead waits for the end of a daemon that was to be killed at a point.
func (p *process) dead(t *testing.T) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatal("mooringd did not pass the point at which it was to be killed")
	}
}

// web is a client of the channel for people, in the name of a token if there is
// one.
func (p *process) web(t *testing.T, token string) *hostclient.Admin {
	t.Helper()
	ca, err := os.ReadFile(p.path("state/https-ca.crt"))
	require.NoError(t, err)
	a := hostclient.NewAdmin(p.url(t), hostclient.Options{TLS: hostclient.Trust{CA: string(ca)}.TLS, Token: token})
	t.Cleanup(a.Close)
	return a
}

var portalURL = regexp.MustCompile(`url="?(https://[^" ]+)`)

// url is where the portal of the daemon that runs now is.
func (p *process) url(t *testing.T) string {
	t.Helper()
	var found []string
	require.Eventually(t, func() bool {
		found = portalURL.FindStringSubmatch(p.out.String()[p.from:])
		return found != nil
	}, 30*time.Second, 20*time.Millisecond)
	return found[1]
}

func amount(n int64) *int64 { return &n }

// tenant makes one with everything that belongs to one, and returns a token of
// its administrator.
func (p *process) tenant(t *testing.T, name string) (token string) {
	t.Helper()
	ctx, a := t.Context(), p.admin(t)
	_, err := a.CreateTenant(ctx, wire.CreateTenant{
		CreateVMGroup: wire.CreateVMGroup{Name: name, DefaultDatastore: "datastore1"},
		Profile:       wire.Profile{Email: name + "@example.com", Labels: []string{"gold"}},
		Allowance:     &wire.Amounts{Volumes: amount(2), Storage: amount(1 << 30)},
		Admin:         &wire.CreateUser{Name: "owner", Password: tenantPassword},
	})
	require.NoError(t, err)
	_, err = a.CreateVolume(ctx, name, wire.CreateVolume{Name: "data", Options: map[string]string{"size": "16mb"}})
	require.NoError(t, err)
	_, err = a.CreateRepository(ctx, name, wire.CreateRepository{Name: "repo", Location: wire.Location{Type: "directory", Path: p.path("repo-" + name)}})
	require.NoError(t, err)
	_, err = a.PutNotifications(ctx, name, wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "hook", URL: "https://hooks.example/" + name}}})
	require.NoError(t, err)
	_, err = a.CreatePolicy(ctx, name, wire.Policy{Name: "nightly", Volumes: []string{"*"}, Repository: "repo", Schedule: "daily"})
	require.NoError(t, err)
	jobs, err := a.Backup(ctx, name, wire.RunBackup{Volumes: []string{"data"}})
	require.NoError(t, err)
	p.jobDone(t, name, jobs[0].ID)

	w := p.web(t, "")
	_, err = w.Login(ctx, wire.Login{Tenant: name, User: "owner", Password: tenantPassword})
	require.NoError(t, err)
	s, err := w.Session(ctx)
	require.NoError(t, err)
	if s.MustChange {
		require.NoError(t, w.ChangePassword(ctx, wire.ChangePassword{Old: tenantPassword, New: tenantPassword + " 2"}))
	}
	tok, err := w.CreateToken(ctx, wire.CreateToken{Name: "script"})
	require.NoError(t, err)
	return tok.Secret
}

// jobDone waits until a job is done.
func (p *process) jobDone(t *testing.T, group string, id volspec.JobID) wire.Job {
	t.Helper()
	var j wire.Job
	require.Eventually(t, func() bool {
		var err error
		j, err = p.admin(t).Job(t.Context(), group, id, 2000)
		return err == nil && j.Over()
	}, 2*time.Minute, 50*time.Millisecond)
	require.Equal(t, "done", j.State, "%s %s", j.Error, j.Warnings)
	return j
}

// everything is what can be seen of a tenant.
func (p *process) everything(t *testing.T, name string) string {
	t.Helper()
	ctx, a := t.Context(), p.admin(t)
	v, err := a.Tenant(ctx, name)
	require.NoError(t, err)
	volume, err := a.Volume(ctx, name, "data@datastore1")
	require.NoError(t, err)
	repos, err := a.GroupRepositories(ctx, name)
	require.NoError(t, err)
	require.Len(t, repos, 1)
	policies, err := a.Policies(ctx, name)
	require.NoError(t, err)
	users, err := a.Users(ctx, name)
	require.NoError(t, err)
	told, err := a.Notifications(ctx, name)
	require.NoError(t, err)
	movers, err := a.Transporters(ctx, name)
	require.NoError(t, err)
	require.Len(t, movers, 1)
	points, err := a.Points(ctx, name, hostclient.PointsQuery{})
	require.NoError(t, err)
	require.Len(t, points.Points, 1)
	seen, err := json.Marshal([]any{v, volume.ID, repos[0].ID, repos[0].State, policies, users[0].ID, users[0].Role, told, points.Points[0].ID})
	require.NoError(t, err)
	return string(seen)
}

// TestTenantRemovalKilledAtEveryPoint kills the daemon at each point that the
// removal of a tenant for good passes. Begun, it is ended by the next start;
// else the same call ends it. Nothing of another tenant changes, and who takes
// the name later finds nothing.
func TestTenantRemovalKilledAtEveryPoint(t *testing.T) {
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\n")
	log := p.path("points")
	p.start(t, "MOORING_CRASH_LOG="+log)
	_, err := p.admin(t).SetPool(t.Context(), wire.Amounts{Volumes: amount(4), Storage: amount(2 << 30)})
	require.NoError(t, err)
	other := p.tenant(t, "other")
	before := p.everything(t, "other")
	token := p.tenant(t, "acme")
	require.NoError(t, os.Remove(log))
	require.NoError(t, p.admin(t).DeleteTenant(t.Context(), "acme", true, true))
	p.forgotten(t, "acme", token)
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	points := strings.Fields(string(b))
	slices.Sort(points)
	points = slices.DeleteFunc(slices.Compact(points), func(s string) bool { // how volumes go is TestCrashAtEveryPoint
		return !strings.HasPrefix(s, "tenancy.") && !strings.HasPrefix(s, "backup.") && s != "volume.delete.disk"
	})
	require.Len(t, points, 7)

	for i, point := range points {
		name := fmt.Sprintf("acme%d", i)
		p.kill()
		p.start(t, "MOORING_CRASH_AT="+point)
		token := p.tenant(t, name)
		require.Error(t, p.admin(t).DeleteTenant(t.Context(), name, true, true), point)
		p.dead(t)
		p.start(t)
		if v, err := p.admin(t).Tenant(t.Context(), name); err == nil {
			assert.Equal(t, wire.TenantDeleted, v.State, point)
			_, err := p.web(t, token).Session(t.Context())
			assert.Equal(t, errkind.Denied, errkind.Of(err), "its users are out: %v", err)
		}
		require.EventuallyWithT(t, func(c *assert.CollectT) {
			// A call can meet the daemon's own end of the removal.
			assert.NoError(c, unless(errkind.NotFound, p.admin(t).DeleteTenant(t.Context(), name, true, true)))
		}, 30*time.Second, 100*time.Millisecond, point)
		p.forgotten(t, name, token)
		assert.Equal(t, before, p.everything(t, "other"), point)
	}
	_, err = p.web(t, other).Session(t.Context())
	require.NoError(t, err)
	require.NoError(t, p.admin(t).DeleteTenant(t.Context(), "other", true, true))
	nothingLeft(t, p)
}

// forgotten checks that nothing of a tenant is left but its audit log and what
// its repositories hold, and that its name stands for somebody else then.
func (p *process) forgotten(t *testing.T, name, token string) {
	t.Helper()
	ctx, a := t.Context(), p.admin(t)
	_, err := a.Tenant(ctx, name)
	require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	_, err = p.web(t, token).Session(ctx)
	assert.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
	pool, err := a.Pool(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 2, pool.Volumes.Delegated, "what the other one has")
	assert.EqualValues(t, 1<<30, pool.Storage.Delegated)
	l, err := a.Volumes(ctx, hostclient.VolumesQuery{State: "all"})
	require.NoError(t, err)
	assert.Len(t, l.Volumes, 1)
	chains, err := a.VerifyAudit(ctx, "", nil)
	require.NoError(t, err)
	for _, c := range chains {
		assert.True(t, c.Whole, "%+v", c)
	}
	assert.DirExists(t, p.path("repo-"+name))

	made, err := a.CreateTenant(ctx, wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: name}})
	require.NoError(t, err)
	assert.Zero(t, made.Tenant.Users)
	assert.Empty(t, made.Tenant.Profile.Email)
	assert.Zero(t, made.Tenant.Allowance.Volumes.Desired)
	told, err := a.Notifications(ctx, name)
	require.NoError(t, err)
	assert.Empty(t, told.Webhooks)
	repos, err := a.GroupRepositories(ctx, name)
	require.NoError(t, err)
	assert.Empty(t, repos)
	policies, err := a.Policies(ctx, name)
	require.NoError(t, err)
	assert.Empty(t, policies)
	page, err := a.Audit(ctx, hostclient.AuditQuery{VMGroup: name})
	require.NoError(t, err)
	for _, line := range page.Entries {
		assert.NotEqual(t, "repository create", line.Action, "the log of whoever had the name before")
	}
	require.NoError(t, a.DeleteTenant(ctx, name, false, true))
}
