package app_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Two daemons on one catalog, each for a tenant of its own. What happens to one
// of them is the matter of its tenant alone: its jobs wait and say so, go to
// another that is bound, and go on when it is back.
func TestTransportersOfTwoProcesses(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	ctx, admin := t.Context(), a.admin(t)
	b.signal(t, os.Interrupt)
	require.Zero(t, b.exit(t))
	text, err := os.ReadFile(b.path("mooring.toml"))
	require.NoError(t, err)
	b.write(t, string(text)+"[transporter]\nname = 'site-b'\n")
	b.start(t)
	for group, mover := range map[string]string{"near": "built-in", "far": "site-b"} {
		_, err := admin.CreateTenant(ctx, wire.CreateTenant{
			CreateVMGroup: wire.CreateVMGroup{Name: group, DefaultDatastore: "datastore1"}, Transporters: []string{mover},
		})
		require.NoError(t, err)
		_, err = admin.CreateVolume(ctx, group, wire.CreateVolume{Name: "data", Options: map[string]string{"size": "16mb"}})
		require.NoError(t, err)
		_, err = admin.CreateRepository(ctx, group, wire.CreateRepository{Name: "repo", Location: wire.Location{Type: "directory", Path: a.path("repo-" + group)}})
		require.NoError(t, err)
	}
	backup := func(group string) volspec.JobID {
		t.Helper()
		jobs, err := admin.Backup(ctx, group, wire.RunBackup{Volumes: []string{"data"}})
		require.NoError(t, err)
		require.Len(t, jobs, 1)
		return jobs[0].ID
	}
	workedOn := func(p *process, id volspec.JobID) bool { return strings.Contains(p.out.String(), "job="+string(id)) }

	near, far := backup("near"), backup("far")
	a.jobDone(t, "near", near)
	a.jobDone(t, "far", far)
	assert.True(t, workedOn(a, near) && !workedOn(a, far), "built-in took a job that is not its own")
	assert.True(t, workedOn(b, far) && !workedOn(b, near), "site-b took a job that is not its own")

	// Stopped in good order: offline at once, and its tenant's jobs wait.
	b.signal(t, os.Interrupt)
	require.Zero(t, b.exit(t))
	assert.Equal(t, wire.TransporterOffline, transporterState(t, a, "site-b"))
	far = backup("far")
	assert.Contains(t, waitsFor(t, a, "far", far), "of the transporters of vmgroup far none is online (site-b)")
	a.jobDone(t, "near", backup("near"))

	// Back again it takes the job, and dies over it.
	b.start(t, "MOORING_CRASH_AT=backup.run.snapshot")
	b.dead(t)
	near = backup("near")
	a.jobDone(t, "near", near)
	require.Eventually(t, func() bool { return waitsFor(t, a, "far", far) != "" }, 2*time.Minute, 200*time.Millisecond, "the job of the dead one is not given back")
	assert.False(t, workedOn(a, far))
	_, err = admin.SetTransporters(ctx, "far", wire.SetTransporters{Transporters: []string{"built-in", "site-b"}})
	require.NoError(t, err)
	j := a.jobDone(t, "far", far)
	assert.Equal(t, 2, j.Attempts)
	assert.True(t, workedOn(a, far))

	_, err = admin.SetTransporters(ctx, "far", wire.SetTransporters{Transporters: []string{"site-b"}})
	require.NoError(t, err)
	far = backup("far")
	b.start(t)
	a.jobDone(t, "far", far)
	assert.Equal(t, wire.TransporterOnline, transporterState(t, a, "site-b"))
	assert.False(t, workedOn(a, far))
}

func transporterState(t *testing.T, p *process, name string) string {
	t.Helper()
	all, err := p.admin(t).Transporters(t.Context(), "")
	require.NoError(t, err)
	for _, w := range all {
		if w.Name == name {
			return w.State
		}
	}
	require.Fail(t, "not listed", name)
	return ""
}

// waitsFor is what a queued job says that it waits for.
func waitsFor(t *testing.T, p *process, group string, id volspec.JobID) string {
	t.Helper()
	j, err := p.admin(t).Job(t.Context(), group, id, 0)
	if err != nil || j.State != "queued" {
		return ""
	}
	return strings.Join(j.Warnings, "; ")
}
