package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// running waits until a container runs and has written to its volume after
// this call.
func running(t *testing.T, g *harness.Guest, container string) {
	t.Helper()
	var before string
	require.NoError(t, harness.Eventually(60*time.Second, func() error {
		r := g.Docker(t.Context(), "exec", container, "sh", "-c", "wc -l </vol/log")
		if r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		if before == "" {
			before = r.Stdout
		}
		if r.Stdout == before {
			return fmt.Errorf("container %s does not write", container)
		}
		return nil
	}))
}

// The plugin is killed under a running container: the container does not
// notice, the next process knows the mount, and the last container's end
// detaches the volume.
func TestPluginKilled(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "vol", "size=32mb")
	keep(t, s.vm1, "box", "vol")
	s.vm1.KillPlugin(t)
	running(t, s.vm1, "box")
	s.attachedTo(t, "vol", "vm1")
	s.vm1.Docker(t.Context(), "restart", "-t", "1", "box").OK(t)
	running(t, s.vm1, "box")
	s.vm1.KillPlugin(t)
	drop(t, s.vm1, "box")
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol")
}

// The plugin is disabled by force and enabled again while a container writes:
// the container keeps its filesystem alive unseen, and the disk is never
// mounted a second time beside it.
func TestPluginDisabledByForce(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "vol", "size=32mb")
	keep(t, s.vm1, "box", "vol")
	s.vm1.Docker(ctx, "plugin", "disable", harness.Driver).Fails(t, "in use")
	s.vm1.Docker(ctx, "plugin", "disable", "-f", harness.Driver).OK(t)
	s.vm1.Docker(ctx, "run", "--rm", "--network=none", "-v", "vol:/vol", harness.Image, "true").Fails(t)
	running(t, s.vm1, "box")
	s.vm1.Docker(ctx, "plugin", "enable", harness.Driver).OK(t)
	running(t, s.vm1, "box")
	s.attachedTo(t, "vol", "vm1")
	// A second container sees the same filesystem or is refused; it never
	// gets another mount of the disk.
	if r := sh(t, s.vm1, "vol", "wc -l </vol/log"); r.Code == 0 {
		require.NotEqual(t, "0", r.Stdout)
	}
	running(t, s.vm1, "box")
	s.attachedTo(t, "vol", "vm1")
	drop(t, s.vm1, "box")
	s.attachedTo(t, "vol", "")
	require.NotEqual(t, "0", sh(t, s.vm2, "vol", "wc -l </vol/log").OK(t).Stdout)
	s.attachedTo(t, "vol", "")
	remove(t, s.vm2, "vol")
}

// An orderly restart of the engine detaches; containers that restart come
// back with their volume, and the volume is free for the other guest when
// none does.
func TestEngineRestart(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "vol", "size=32mb")
	create(t, s.vm1, "wol", "size=32mb")
	keep(t, s.vm1, "stays-down", "vol")
	keep(t, s.vm1, "comes-back", "wol", "--restart=always")
	s.vm1.StopEngine(t)
	s.attachedTo(t, "vol", "")
	s.attachedTo(t, "wol", "")
	sh(t, s.vm2, "vol", "echo moved >/vol/moved").OK(t)
	s.attachedTo(t, "vol", "")
	s.vm1.StartEngine(t)
	running(t, s.vm1, "comes-back")
	s.attachedTo(t, "wol", "vm1")
	require.Equal(t, "moved", sh(t, s.vm1, "vol", "cat /vol/moved").OK(t).Stdout)
	drop(t, s.vm1, "stays-down", "comes-back")
	s.attachedTo(t, "wol", "")
	remove(t, s.vm1, "vol", "wol")
}

// The engine is killed: no Unmount ever comes for what ran. Containers come
// back by their restart policy, others do not hold their volume.
func TestEngineKilled(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "vol", "size=32mb")
	create(t, s.vm1, "wol", "size=32mb")
	keep(t, s.vm1, "stays-down", "vol")
	keep(t, s.vm1, "comes-back", "wol", "--restart=always")
	s.vm1.KillEngine(t)
	s.vm1.StartEngine(t)
	running(t, s.vm1, "comes-back")
	s.attachedTo(t, "wol", "vm1")
	s.attachedToLate(t, "vol", "")
	drop(t, s.vm1, "stays-down", "comes-back")
	s.attachedTo(t, "wol", "")
	remove(t, s.vm1, "vol", "wol")
}

// attachedToLate waits for what only the periodic reconciliation finds.
func (s *site) attachedToLate(t *testing.T, name, vm string) {
	t.Helper()
	require.NoError(t, harness.Eventually(100*time.Second, func() error {
		if v := s.volume(t, name); v.AttachedTo != vm {
			return fmt.Errorf("volume %s is attached to %q, not to %q", name, v.AttachedTo, vm)
		}
		return nil
	}))
}

// Five containers that always restart share one volume across a kill of the
// engine: the count is right afterwards, and the last one's removal detaches.
func TestRefcountRecovery(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "five", "size=32mb")
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("c%d", i))
		keep(t, s.vm1, names[i], "five", "--restart=always")
		s.vm1.Docker(t.Context(), "exec", names[i], "touch", "/vol/"+names[i]).OK(t)
	}
	s.vm1.KillEngine(t)
	s.vm1.StartEngine(t)
	for _, name := range names {
		running(t, s.vm1, name)
	}
	s.vm1.Docker(t.Context(), "volume", "rm", "five").Fails(t, "in use")
	for i, name := range names {
		require.Equal(t, "c0\nc1\nc2\nc3\nc4", s.vm1.Docker(t.Context(), "exec", name, "sh", "-c", "cd /vol; ls -d c?").OK(t).Stdout)
		drop(t, s.vm1, name)
		if i < 4 {
			s.attachedTo(t, "five", "vm1")
		}
	}
	s.attachedTo(t, "five", "")
	remove(t, s.vm1, "five")
}

// With live-restore neither a stop nor a kill of the engine disturbs a
// container; one that ends while the engine is down gives its volume back
// although its Unmount never comes.
func TestLiveRestore(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.vm1.StopEngine(t)
	s.vm1.StartEngine(t, "--live-restore")
	t.Cleanup(func() {
		s.vm1.Docker(cleanup(), "plugin", "disable", "-f", harness.Driver)
		s.vm1.StopEngine(t)
		s.vm1.SetEngineFlags()
		s.vm1.StartEngine(t)
		s.install(t, s.vm1)
	})
	create(t, s.vm1, "vol", "size=32mb")
	create(t, s.vm1, "wol", "size=32mb")
	keep(t, s.vm1, "survivor", "vol")
	keep(t, s.vm1, "ends", "wol")
	started := s.vm1.Docker(ctx, "inspect", "-f", "{{.State.StartedAt}}", "survivor").OK(t).Stdout
	pid := s.vm1.Docker(ctx, "inspect", "-f", "{{.State.Pid}}", "ends").OK(t).Stdout

	s.vm1.StopEngine(t)
	s.vm1.Exec(ctx, "kill", "-9", pid).OK(t)
	s.vm1.StartEngine(t)
	running(t, s.vm1, "survivor")
	require.Equal(t, started, s.vm1.Docker(ctx, "inspect", "-f", "{{.State.StartedAt}}", "survivor").OK(t).Stdout)
	s.attachedToLate(t, "wol", "")
	s.attachedTo(t, "vol", "vm1")

	s.vm1.KillEngine(t)
	s.vm1.StartEngine(t)
	running(t, s.vm1, "survivor")
	drop(t, s.vm1, "survivor", "ends")
	s.attachedToLate(t, "vol", "")
	remove(t, s.vm1, "vol", "wol")
}

// mooringd is killed and started: attachments, volumes and containers stay as
// they were.
func TestServiceKilled(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "vol", "size=32mb")
	keep(t, s.vm1, "box", "vol")
	s.Kill(t)
	running(t, s.vm1, "box")
	s.Start(t)
	running(t, s.vm1, "box")
	s.attachedTo(t, "vol", "vm1")
	create(t, s.vm2, "wol", "size=32mb")
	drop(t, s.vm1, "box")
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol", "wol")
}

// The host service is away: what is known stays known, what cannot be done
// says so, no local volume appears, and everything works when it is back.
func TestServiceAway(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "vol", "size=32mb")
	s.vm1.Docker(ctx, "volume", "create", "-d", harness.Driver, "--label", "team=a", "--name", "labelled").OK(t)
	sh(t, s.vm1, "vol", "echo kept >/vol/data").OK(t)
	s.attachedTo(t, "vol", "")
	s.Stop(t)

	require.Subset(t, listed(t, s.vm1), []string{"vol@ds1", "labelled@ds1"}, "the list is answered from memory")
	s.vm1.Docker(ctx, "volume", "inspect", "vol").OK(t)
	require.Equal(t, "a", s.vm1.Docker(ctx, "volume", "inspect", "-f", "{{.Labels.team}}", "labelled").OK(t).Stdout)
	sh(t, s.vm1, "vol", "echo lost >/vol/data").Fails(t)
	tryCreate(t, s.vm1, "new").Fails(t)
	s.vm1.Docker(ctx, "volume", "rm", "vol").Fails(t)

	s.vm1.StopEngine(t)
	s.vm1.StartEngine(t)
	require.Equal(t, "true", s.vm1.Docker(ctx, "plugin", "inspect", "-f", "{{.Enabled}}", harness.Driver).OK(t).Stdout)
	sh(t, s.vm1, "vol", "echo lost >/vol/data").Fails(t)

	s.Start(t)
	require.NoError(t, harness.Eventually(30*time.Second, func() error {
		if r := sh(t, s.vm1, "vol", "cat /vol/data"); r.Code != 0 || r.Stdout != "kept" {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	require.Equal(t, "a", s.vm1.Docker(ctx, "volume", "inspect", "-f", "{{.Labels.team}}", "labelled").OK(t).Stdout, "labels survive")
	require.Empty(t, s.vm1.Docker(ctx, "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol", "labelled")
}

// The host service is down when a guest boots: the plugin is enabled all the
// same, and containers with a restart policy run once the service is back.
func TestBootWithoutService(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "vol", "size=32mb")
	keep(t, s.vm1, "box", "vol", "--restart=always")
	s.vm1.PowerOff(t)
	s.Stop(t)
	lab.Guest(t, "vm1")
	require.Equal(t, "true", s.vm1.Docker(t.Context(), "plugin", "inspect", "-f", "{{.Enabled}}", harness.Driver).OK(t).Stdout)
	s.Start(t)
	if s.vm1.Docker(t.Context(), "inspect", "-f", "{{.State.Running}}", "box").OK(t).Stdout != "true" {
		// The engine tries a restart=always container once at its start; one
		// whose volume was out of reach then is started by hand.
		s.vm1.Docker(t.Context(), "start", "box").OK(t)
	}
	running(t, s.vm1, "box")
	require.Empty(t, s.vm1.Docker(t.Context(), "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)
	drop(t, s.vm1, "box")
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol")
}
