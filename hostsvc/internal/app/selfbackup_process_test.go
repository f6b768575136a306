package app_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// An empty machine, the repository with the copies and the kit become the same
// service again: both tenants log in with what they had, see their points and
// restore one. Killed at each step, the same call goes on.
func TestALostServiceIsRecoveredByOneCommand(t *testing.T) {
	copies := filepath.Join(t.TempDir(), "copies")
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\n[backup.self]\ntype = 'directory'\npath = '"+copies+"'\nkeep = 2\n")
	p.start(t)
	ctx := t.Context()
	tokens := map[string]string{"acme": p.tenant(t, "acme"), "other": p.tenant(t, "other")}
	before := map[string]string{"acme": p.everything(t, "acme"), "other": p.everything(t, "other")}
	authority, err := os.ReadFile(p.path("state/https-ca.crt"))
	require.NoError(t, err)

	// Old copies go, and each that is listed was read back.
	for range 3 {
		_, err := p.admin(t).SelfBackupNow(ctx)
		require.NoError(t, err)
	}
	s, err := p.admin(t).SelfBackup(ctx)
	require.NoError(t, err)
	assert.Len(t, s.Copies, 2)
	assert.Empty(t, s.Error)
	assert.Greater(t, s.Copies[0].Rows, int64(20))
	kit := p.path("kit.txt")
	code, out, errs := p.command(t, "", "mooring", "--socket", "unix://"+p.path("run/admin.sock"), "self-backup", "kit", "--out", kit)
	require.Zero(t, code, out+errs)
	// The copy whose id is named, not what came after it.
	require.NoError(t, p.admin(t).RemovePolicy(ctx, "other", "nightly"))
	_, err = p.admin(t).SelfBackupNow(ctx)
	require.NoError(t, err)
	take := s.Copies[0].ID

	recovers := []string{"recover", "--config", p.path("mooring.toml"), "--kit", kit, "--copy", string(take)}
	code, _, errs = p.command(t, "", "mooringd", recovers...)
	assert.Equal(t, 11, code, "it runs: %s", errs)
	p.kill()
	code, _, errs = p.command(t, "", "mooringd", recovers...)
	assert.Equal(t, 6, code)
	assert.Contains(t, errs, "there is a catalog already")

	// The machine is lost: all but the disks, which lie elsewhere.
	config, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	for _, gone := range []string{"state", "mooring.toml"} {
		require.NoError(t, os.RemoveAll(p.path(gone)))
	}
	for _, point := range []string{"app.recover.fetched", "app.recover.dropins", "app.recover.master.key", "app.recover.installation", "app.recover.https-ca.key"} {
		p.crashes(t, point, recovers...)
		assert.NoFileExists(t, p.path("state/backup"))
	}
	code, out, errs = p.command(t, "", "mooringd", recovers...)
	require.Zero(t, code, errs)
	assert.Contains(t, out, "Recovered the state of")
	code, _, _ = p.command(t, "", "mooringd", recovers...)
	assert.Equal(t, 6, code, "once")
	again, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	assert.Equal(t, string(config), string(again))

	p.start(t)
	now, err := os.ReadFile(p.path("state/https-ca.crt"))
	require.NoError(t, err)
	assert.Equal(t, string(authority), string(now), "whoever trusted it still does")
	for name, token := range tokens {
		assert.Equal(t, before[name], p.everything(t, name))
		w := p.web(t, token)
		points, err := w.Points(ctx, name, hostclient.PointsQuery{})
		require.NoError(t, err)
		j, err := w.RestorePoint(ctx, name, string(points.Points[0].ID), wire.RunRestore{Name: "back"})
		require.NoError(t, err)
		p.jobDone(t, name, j.ID)
		people := p.web(t, "")
		_, err = people.Login(ctx, wire.Login{Tenant: name, User: "owner", Password: tenantPassword + " 2"})
		if err != nil {
			_, err = people.Login(ctx, wire.Login{Tenant: name, User: "owner", Password: tenantPassword})
		}
		require.NoError(t, err)
	}
	chains, err := p.admin(t).VerifyAudit(ctx, "", nil)
	require.NoError(t, err)
	text, err := json.Marshal(chains)
	require.NoError(t, err)
	assert.NotContains(t, string(text), `"whole":false`)

	// It goes on where it was, in the same repository.
	s, err = p.admin(t).SelfBackupNow(ctx)
	require.NoError(t, err)
	assert.Len(t, s.Copies, 2)
	p.selfBackupFails(t, copies)
}

// crashes runs mooringd with a point at which it is killed.
func (p *process) crashes(t *testing.T, point string, args ...string) {
	t.Helper()
	t.Setenv("MOORING_CRASH_AT", point)
	code, _, errs := p.command(t, "", "mooringd", args...)
	require.Equal(t, -1, code, "%s: %s", point, errs)
	require.NoError(t, os.Unsetenv("MOORING_CRASH_AT"))
}

// selfBackupFails takes the place of the copies away and brings it back.
func (p *process) selfBackupFails(t *testing.T, copies string) {
	t.Helper()
	ctx, a := t.Context(), p.admin(t)
	require.NoError(t, os.Rename(copies, copies+"-away"))
	_, err := a.SelfBackupNow(ctx)
	assert.Equal(t, errkind.Offline, errkind.Of(err))
	assert.NoDirExists(t, copies, "what is away is not made anew")
	failing := func() bool {
		all, err := a.Alarms(ctx)
		require.NoError(t, err)
		for _, al := range all {
			if al.Object == "self-backup" {
				return strings.Contains(al.Detail, "not backed up")
			}
		}
		return false
	}
	assert.True(t, failing())
	require.NoError(t, os.Rename(copies+"-away", copies))
	_, err = a.SelfBackupNow(ctx)
	require.NoError(t, err)
	assert.False(t, failing())
}
