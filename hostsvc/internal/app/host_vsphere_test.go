package app

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/simvc/control"
)

func TestDoctorJudgesTheTransporter(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	binary, err := control.Build(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(binary)) })
	sim, err := control.Start(ctx, binary, control.Options{VMs: 1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, sim.Stop()) })
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(sim.Password), 0o600))
	found := func(transporter string) []wire.Finding {
		h, err := newVSphereHost(config.Config{
			StateDir: t.TempDir(),
			VSphere: config.VSphereConfig{
				URL: sim.URL, User: sim.User, PasswordFile: password, Thumbprint: sim.Thumbprint, Disk: config.DiskFCD, Transporter: transporter,
			},
		}, "test")
		require.NoError(t, err)
		defer func() { _ = h.close(ctx) }()
		all, err := h.findings(ctx)
		require.NoError(t, err)
		return all
	}
	all := found("")
	require.Len(t, all, 1)
	assert.Equal(t, "vSphere", all[0].Check)
	all = found("vm-0")
	require.Len(t, all, 2)
	assert.Equal(t, wire.Finding{Level: levelOK, Check: "transporter vm-0", Detail: "disks can be plugged into it"}, all[0])
	require.NoError(t, sim.Snapshot(ctx, "vm-0", "before the update"))
	all = found("vm-0")
	require.Len(t, all, 2)
	assert.Equal(t, levelWarning, all[0].Level)
	assert.Contains(t, all[0].Detail, "before the update")
	assert.Contains(t, all[0].Remedy, "docs/vsphere.md")
	all = found("nobody")
	require.Len(t, all, 2)
	assert.Equal(t, "transporter nobody", all[0].Check)
	assert.Equal(t, levelWarning, all[0].Level)
}
