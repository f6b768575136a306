package app_test

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Init killed at any point leaves what another init ends, or what tells how to
// go on.
func TestInitKilledAtEveryPoint(t *testing.T) {
	p := newProcess(t, nil, "")
	config := []string{"init", "--config", p.path("mooring.toml"), "--mode=single", "--user=root"}
	killed := func(point string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), p.bin+"/mooringd", config...)
		cmd.Env = append(cmd.Environ(), "MOORING_CRASH_AT="+point)
		out, err := cmd.CombinedOutput()
		require.ErrorContains(t, err, "killed", "%s", out)
		assert.NotContains(t, string(out), "password")
	}
	killed("app.init.mode")
	killed("app.init.user")
	code, _, errs := p.command(t, "", "mooringd", config...)
	assert.Equal(t, 6, code)
	assert.Contains(t, errs, "users already (root)")
	assert.Contains(t, errs, "mooring user reset", "nobody has seen the password that was generated")
	p.start(t)
	s, err := p.admin(t).Settings(t.Context())
	require.NoError(t, err)
	assert.Equal(t, wire.ModeSingle, s.Mode)
	out, status := p.mooring(t.Context(), "user", "reset", "root")
	assert.Zero(t, status, out)
}

// An installation of one tenant becomes one of many while it runs: what there
// was stays as it is.
func TestOneTenantGrowsToMany(t *testing.T) {
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\n")
	config := p.path("mooring.toml")
	code, _, errs := p.command(t, tenantPassword+"\n", "mooringd", "init", "--config", config, "--mode=single", "--user=root", "--password-file=-")
	require.Zero(t, code, errs)
	p.start(t)
	ctx, a := t.Context(), p.admin(t)
	token := p.tenant(t, "only")
	before := p.everything(t, "only")
	second := wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: "second"}}
	_, err := a.CreateTenant(ctx, second)
	require.Error(t, err)
	assert.Contains(t, errkind.Text(err), "multi")
	code, _, errs = p.command(t, "", "mooringd", "init", "--config", config, "--mode=multi")
	require.Zero(t, code, errs)
	_, err = a.CreateTenant(ctx, second)
	require.NoError(t, err)
	assert.Equal(t, before, p.everything(t, "only"))
	s, err := p.web(t, token).Session(ctx)
	require.NoError(t, err)
	assert.Equal(t, "only", s.Tenant)
	code, _, errs = p.command(t, "", "mooringd", "init", "--config", config, "--mode=single")
	assert.NotZero(t, code)
	assert.Contains(t, errs, "tenant")
	p.rotationKilled(t)
}

// rotationKilled kills the daemon at each point of a rotation of the master key:
// what is sealed stays readable, and the next rotation ends it.
func (p *process) rotationKilled(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	for _, point := range []string{"backup.rotate.made", "backup.rotate.resealed", "backup.rotate.done"} {
		p.kill()
		p.start(t, "MOORING_CRASH_AT="+point)
		_, err := p.admin(t).RotateKey(ctx)
		require.Error(t, err)
		p.dead(t)
		p.start(t)
		jobs, err := p.admin(t).Backup(ctx, "only", wire.RunBackup{Volumes: []string{"data"}})
		require.NoError(t, err, point)
		p.jobDone(t, "only", jobs[0].ID)
		r, err := p.admin(t).RotateKey(ctx)
		require.NoError(t, err, point)
		assert.Equal(t, 2, r.Resealed, "the key of the repository and the secret of the webhook")
	}
}
