package harness

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Driver is the name under which the plugin is installed.
const Driver = "vsphere"

// PluginDir returns the folder that "docker plugin create" takes, made once:
// the one that MOORING_E2E_PLUGIN names, for tests of another build, else one
// of this tree.
func (l *Lab) PluginDir(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("MOORING_E2E_PLUGIN"); dir != "" {
		return dir
	}
	dir := filepath.Join(l.Dir, "plugin")
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
		require.NoError(t, l.do(lasting(t), "go", "-C", l.Bin.Root, "run", "./packaging/plugin/rootfs", "-out", dir))
	}
	return dir
}

// CreatePlugin makes the managed plugin in the guest under a name, disabled.
// Docker 20.10 refuses to make two of the same content ("already exists"), so
// each has a file of its own.
func (g *Guest) CreatePlugin(t testing.TB, name string) {
	t.Helper()
	dir, err := os.MkdirTemp(g.lab.Dir, "plugin-")
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, g.lab.do(lasting(t), "cp", "-a", g.lab.PluginDir(t)+"/.", dir))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rootfs/etc/made-for-test"), []byte(dir), 0o644))
	g.Docker(lasting(t), "plugin", "create", name, dir).OK(t)
}

// PluginEnabled reports whether the guest has the managed plugin, and enabled.
func (g *Guest) PluginEnabled(ctx context.Context) bool {
	return g.Docker(ctx, "plugin", "inspect", "-f", "{{.Enabled}}", Driver).Stdout == "true"
}

// InstallPlugin makes the managed plugin in the guest and enables it with
// these settings. One that is there and enabled: nothing.
func (g *Guest) InstallPlugin(t testing.TB, settings ...string) {
	t.Helper()
	ctx := lasting(t)
	if g.PluginEnabled(ctx) {
		return
	}
	if g.Docker(ctx, "plugin", "inspect", Driver).Code != 0 {
		g.CreatePlugin(t, Driver)
	}
	if len(settings) > 0 {
		g.Docker(ctx, append([]string{"plugin", "set", Driver}, settings...)...).OK(t)
	}
	g.Docker(ctx, "plugin", "enable", Driver).OK(t)
}

// PluginPID is the plugin process's pid inside the guest, 0 when none runs.
func (g *Guest) PluginPID(ctx context.Context) int {
	r := g.Shell(ctx, `for p in /proc/[0-9]*; do
		[ "$(cat $p/comm 2>/dev/null)" = mooring-plugin ] && echo ${p#/proc/} && break
	done; true`)
	var pid int
	_, _ = fmt.Sscan(r.Stdout, &pid)
	return pid
}

// KillPlugin kills the plugin process without a word and waits until another
// one has taken its place.
func (g *Guest) KillPlugin(t testing.TB) {
	t.Helper()
	old := g.PluginPID(lasting(t))
	require.NotZero(t, old, "the plugin runs")
	g.Exec(lasting(t), "kill", "-9", fmt.Sprint(old)).OK(t)
	require.NoError(t, Eventually(20*time.Second, func() error {
		if pid := g.PluginPID(lasting(t)); pid == 0 || pid == old {
			return fmt.Errorf("no new plugin process yet (%d)", pid)
		}
		return nil
	}))
}

// PlainPlugin is the plugin's binary run as a plain process of the guest.
type PlainPlugin struct {
	g    *Guest
	proc *process
}

// StartPlainPlugin runs the plugin's binary in the guest with these
// environment settings, outside of any engine's care.
func (g *Guest) StartPlainPlugin(t testing.TB, settings ...string) *PlainPlugin {
	t.Helper()
	return g.RunPlainPlugin(t, g.lab.Bin.Plugin, settings...)
}

// RunPlainPlugin is StartPlainPlugin with another build of the binary.
func (g *Guest) RunPlainPlugin(t testing.TB, binary string, settings ...string) *PlainPlugin {
	t.Helper()
	require.NoError(t, copyFile(binary, filepath.Join(g.Disk(), "mooring-plugin")))
	p, err := g.lab.start(filepath.Join(g.dir, "plain-plugin.log"), 0, settings, append(g.enter(), "/srv/mooring-plugin")...)
	require.NoError(t, err)
	return &PlainPlugin{g: g, proc: p}
}

// Stop ends the plain plugin with SIGTERM.
func (p *PlainPlugin) Stop(t testing.TB) { p.end(t, unix.SIGTERM) }

// Kill ends it without a word.
func (p *PlainPlugin) Kill(t testing.TB) { p.end(t, unix.SIGKILL) }

func (p *PlainPlugin) end(t testing.TB, sig unix.Signal) {
	t.Helper()
	if !p.proc.alive() {
		return
	}
	pid := p.g.PluginPID(lasting(t))
	require.NotZero(t, pid)
	p.g.Exec(lasting(t), "kill", fmt.Sprintf("-%d", sig), fmt.Sprint(pid)).OK(t)
	require.NoError(t, p.proc.wait(15*time.Second))
}

// Running reports whether the process lives.
func (p *PlainPlugin) Running() bool { return p.proc.alive() }

// Log is the last lines of what the plain plugin said.
func (p *PlainPlugin) Log() string { return tail(p.proc.log, 40, nil) }

// StrayFiles lists files in the guest that lie below a plugin's mount root
// but outside a mounted volume: data that missed its volume.
func (g *Guest) StrayFiles() ([]string, error) {
	var out []string
	for _, root := range []string{"data/plugins/*/propagated-mount", "data/volumes"} {
		dirs, err := filepath.Glob(filepath.Join(g.Disk(), root))
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			// Seen from outside the guest no volume is mounted here.
			err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() && !isBookkeeping(p) {
					out = append(out, p)
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("looking for stray files: %w", err)
			}
		}
	}
	return out, nil
}

// isBookkeeping tells files that belong below a mount root: the engine's own
// list of local volumes, and the plugin's state.
func isBookkeeping(path string) bool {
	base := filepath.Base(path)
	return base == "metadata.db" || filepath.Base(filepath.Dir(path)) == ".state" || base == ".state" || base[0] == '.'
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
