package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// A managed plugin at a service that is slow, under an engine that waits for
// a limited time; then disabled, which the engine refuses as long as it knows
// volumes, and remembers over its restart.
func TestManagedPluginLife(t *testing.T) {
	all := plains(t, "p3") // an engine that has not seen a plain process of that name
	g := all[0]
	g.managed = true
	host, change := hostRelay(t, g.Guest)
	r := newRig(t, "managed", lab.Folder(t, own("managed")), all, lab.Bin, change)
	ctx := t.Context()
	plugin := func(args ...string) harness.Result { return g.Docker(ctx, append([]string{"plugin"}, args...)...) }

	// The engine gives up first; the work goes on, and the repeated command finds it.
	plugin("disable", harness.Driver).OK(t)
	plugin("enable", "--timeout", "3", harness.Driver).OK(t)
	host.follow(func(x exchange) reply {
		if x.What == "/api/v1/volumes" {
			time.Sleep(5 * time.Second)
		}
		return x.pass()
	})
	tryCreate(t, g.Guest, "data", "size=16mb").Fails(t, "Docker did not wait for it")
	time.Sleep(3 * time.Second)
	require.Equal(t, []string{"data@" + r.ds.Name}, listed(t, g.Guest), "it exists although the engine was not told")
	g.Docker(ctx, "volume", "create", "-d", harness.Driver, "-o", "size=16mb", "--label", "team=a", "data").OK(t)
	host.follow(nil)
	sh(t, g.Guest, "data", write).OK(t)
	r.detached(t, "data")

	plugin("disable", harness.Driver).Fails(t, "in use")
	plugin("rm", harness.Driver).Fails(t, "in use")
	plugin("disable", "-f", harness.Driver).OK(t)
	g.Docker(ctx, "volume", "inspect", "data").Fails(t, "disabled")
	sh(t, g.Guest, "data", "true").Fails(t, "disabled")
	g.StopEngine(t)
	g.StartEngine(t)
	require.Equal(t, "false", plugin("inspect", "-f", "{{.Enabled}}", harness.Driver).OK(t).Stdout)
	require.Empty(t, g.Docker(ctx, "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)

	plugin("enable", harness.Driver).OK(t)
	require.Equal(t, "a", g.Docker(ctx, "volume", "inspect", "-f", "{{.Labels.team}}", "data").OK(t).Stdout)
	sh(t, g.Guest, "data", read).OK(t)
	r.detached(t, "data")
	remove(t, g.Guest, "data")
}
