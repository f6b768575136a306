package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// The harness itself: two guests are as far apart as two machines, and power
// off is what a virtual machine's power off is.
func TestGuestsAreMachines(t *testing.T) {
	a, b := lab.Guest(t, "vm1"), lab.Guest(t, "vm2")
	ctx := t.Context()

	a.Docker(ctx, "run", "--rm", "-v", "plain:/data", harness.Image, "sh", "-c", "echo hello >/data/f").OK(t)
	require.Equal(t, "hello", a.Docker(ctx, "run", "--rm", "-v", "plain:/data", harness.Image, "cat", "/data/f").OK(t).Stdout)
	require.NotContains(t, b.Docker(ctx, "volume", "ls", "-q").OK(t).Stdout, "plain")

	require.Equal(t, "vm1", a.Exec(ctx, "hostname").OK(t).Stdout)
	a.Exec(ctx, "ls", b.Disk()).Fails(t, "No such file")
	b.Exec(ctx, "ls", b.Disk()).Fails(t, "No such file")
	a.Docker(ctx, "run", "--rm", "--network=host", harness.Image, "ping", "-c1", "-W2", b.Addr).OK(t)

	a.Docker(ctx, "run", "-d", "--name", "forever", "-v", "plain:/data", harness.Image, "sleep", "1000").OK(t)
	a.PowerOff(t)
	require.False(t, a.EngineRuns())
	a = lab.Guest(t, "vm1")
	require.Equal(t, "exited 255", a.Docker(ctx, "inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "forever").OK(t).Stdout)
	require.Equal(t, "hello", a.Docker(ctx, "run", "--rm", "-v", "plain:/data", harness.Image, "cat", "/data/f").OK(t).Stdout)

	a.KillEngine(t)
	a.StartEngine(t)
	a.Docker(ctx, "rm", "-f", "forever").OK(t)
	a.Docker(ctx, "volume", "rm", "plain").OK(t)
}
