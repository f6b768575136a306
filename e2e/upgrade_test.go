package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// The plugin goes through a registry: pushed from one guest, installed in
// another under the alias with a setting, changed with set, upgraded under
// its volumes. Volumes, data, identity and settings survive.
func TestPluginThroughRegistry(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	repo := lab.Registry(t).Addr + "/mooring/vsphere"
	g := s.vm2
	g.Docker(ctx, "plugin", "rm", "-f", harness.Driver).OK(t)
	t.Cleanup(func() {
		g.Docker(cleanup(), "plugin", "rm", "-f", harness.Driver)
		s.install(t, g)
	})
	publish(t, s.vm3(t), repo, "1", "2")
	g.Docker(ctx, "plugin", "install", "--alias", harness.Driver, repo+":1").Fails(t) // privileges not granted
	g.Docker(ctx, append([]string{"plugin", "install", "--grant-all-permissions", "--alias", harness.Driver, repo + ":1", "MOORING_LOG_LEVEL=debug"}, s.channel(t, g)...)...).OK(t)
	s.reaches(t, g)
	id := g.Docker(ctx, "plugin", "inspect", "-f", "{{.ID}}", harness.Driver).OK(t).Stdout
	create(t, g, "vol", "size=32mb")
	sh(t, g, "vol", "echo before >/vol/data").OK(t)
	s.attachedTo(t, "vol", "")

	g.Docker(ctx, "plugin", "set", harness.Driver, "MOORING_LOG_LEVEL=info").Fails(t) // enabled
	g.Docker(ctx, "plugin", "disable", "-f", harness.Driver).OK(t)
	g.Docker(ctx, "plugin", "set", harness.Driver, "MOORING_LOG_LEVEL=info").OK(t)
	g.Docker(ctx, "plugin", "set", harness.Driver, "MOORING_NONSENSE=1").Fails(t)
	g.Docker(ctx, "plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", harness.Driver, repo+":2").OK(t)
	g.Docker(ctx, "plugin", "enable", "--timeout", "0", harness.Driver).OK(t)
	require.Equal(t, id, g.Docker(ctx, "plugin", "inspect", "-f", "{{.ID}}", harness.Driver).OK(t).Stdout)
	require.Contains(t, g.Docker(ctx, "plugin", "inspect", "-f", "{{.Settings.Env}}", harness.Driver).OK(t).Stdout, "MOORING_LOG_LEVEL=info")
	require.Equal(t, "before", sh(t, g, "vol", "cat /vol/data").OK(t).Stdout)
	s.attachedTo(t, "vol", "")
	remove(t, g, "vol")
}

// publish pushes versions of the plugin from a guest that has none: builds of
// this tree that differ in a file, and from version 2 on in a setting that
// older ones do not know.
func publish(t *testing.T, g *harness.Guest, repo string, versions ...string) {
	t.Helper()
	for _, v := range versions {
		dir := filepath.Join(t.TempDir(), "plugin")
		require.NoError(t, os.CopyFS(dir, os.DirFS(lab.PluginDir(t))))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "rootfs", "version"), []byte(v), 0o644))
		config := filepath.Join(dir, "config.json")
		raw, err := os.ReadFile(config)
		require.NoError(t, err)
		var c map[string]any
		require.NoError(t, json.Unmarshal(raw, &c))
		if v > "1" {
			c["env"] = append(c["env"].([]any), map[string]any{"name": "MOORING_FROM_" + v, "value": "", "settable": []string{"value"}})
		}
		raw, err = json.Marshal(c)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(config, raw, 0o644))
		g.Docker(t.Context(), "plugin", "create", repo+":"+v, dir).OK(t)
		g.Docker(t.Context(), "plugin", "push", repo+":"+v).OK(t)
		g.Docker(t.Context(), "plugin", "rm", repo+":"+v).OK(t)
	}
}

// An upgrade with a running container: the container keeps its data, is never
// cut off, and gives the volume back at its end.
func TestPluginUpgradeUnderContainer(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	repo := lab.Registry(t).Addr + "/mooring/vsphere"
	g := s.vm2
	publish(t, s.vm3(t), repo, "3")
	create(t, g, "vol", "size=32mb")
	keep(t, g, "box", "vol")
	g.Docker(ctx, "plugin", "disable", "-f", harness.Driver).OK(t)
	g.Docker(ctx, "plugin", "upgrade", "--grant-all-permissions", "--skip-remote-check", harness.Driver, repo+":3").OK(t)
	g.Docker(ctx, "plugin", "enable", harness.Driver).OK(t)
	running(t, g, "box")
	s.attachedTo(t, "vol", "vm2")
	drop(t, g, "box")
	s.attachedToLate(t, "vol", "")
	require.NotEqual(t, "0", sh(t, s.vm1, "vol", "wc -l </vol/log").OK(t).Stdout)
	s.attachedTo(t, "vol", "")
	remove(t, g, "vol")
}

// The privileges asked for are the documented ones and no more.
func TestPluginPrivileges(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(lab.PluginDir(t), "config.json"))
	require.NoError(t, err)
	var c struct {
		Network   struct{ Type string }
		PidHost   bool
		IpcHost   bool
		Linux     struct{ Capabilities []string }
		Mounts    []struct{ Source string }
		Env       []struct{ Name string }
		Interface struct{ Socket string }
	}
	require.NoError(t, json.Unmarshal(raw, &c))
	require.False(t, c.PidHost)
	require.False(t, c.IpcHost)
	for _, m := range c.Mounts {
		require.Contains(t, []string{"/dev", "/run", "/var/run"}, m.Source, "only folders that every host has")
	}
}
