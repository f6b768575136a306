package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// A name belongs to one driver at a time; a volume removed behind the
// engine's back can be made again, with other options or by another driver.
func TestNamesAcrossDrivers(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.vm1.Docker(ctx, "volume", "create", "--name", "both").OK(t)
	tryCreate(t, s.vm1, "both").Fails(t)
	s.vm1.Docker(ctx, "volume", "rm", "both").OK(t)
	create(t, s.vm1, "both", "size=32mb")
	s.Mooring(ctx, "volume", "rm", "_DEFAULT/both@ds1").OK(t)
	create(t, s.vm1, "both", "size=48mb")
	require.EqualValues(t, 48<<20, s.volume(t, "both").SizeBytes)
	s.Mooring(ctx, "volume", "rm", "_DEFAULT/both@ds1").OK(t)
	s.vm1.Docker(ctx, "volume", "create", "-d", "local", "--name", "both").OK(t)
	require.Equal(t, "local", s.vm1.Docker(ctx, "volume", "inspect", "-f", "{{.Driver}}", "both").OK(t).Stdout)
	s.vm1.Docker(ctx, "volume", "rm", "both").OK(t)
}

// Volumes taken over from another container, used without naming their
// driver after a restart, and copied from a container that is stopped.
func TestVolumesFromAndCopy(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "vol", "size=32mb")
	keep(t, s.vm1, "owner", "vol")
	s.vm1.Docker(ctx, "run", "--rm", "--network=none", "--volumes-from", "owner", harness.Image, "sh", "-ec", "test -s /vol/log; echo guest >/vol/guest").OK(t)
	s.attachedTo(t, "vol", "vm1")
	s.vm1.Docker(ctx, "stop", "-t", "2", "owner").OK(t)
	s.attachedTo(t, "vol", "")
	s.vm1.Docker(ctx, "cp", "owner:/vol/guest", "-").OK(t)
	s.attachedTo(t, "vol", "")
	drop(t, s.vm1, "owner")
	s.vm1.StopEngine(t)
	s.vm1.StartEngine(t)
	require.Equal(t, "guest", s.vm1.Docker(ctx, "run", "--rm", "--network=none", "-v", "vol:/vol", harness.Image, "cat", "/vol/guest").OK(t).Stdout)
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol")
}

// A plugin that does not answer (stopped, not dead) delays its own volumes
// only; when it goes on, so do they.
func TestStoppedPlugin(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "vol", "size=32mb")
	s.vm1.Docker(ctx, "volume", "create", "--name", "localvol").OK(t)
	pid := strconv.Itoa(s.vm1.PluginPID(ctx))
	s.vm1.Exec(ctx, "kill", "-STOP", pid).OK(t)
	t.Cleanup(func() { s.vm1.Exec(cleanup(), "kill", "-CONT", pid) })
	begin := time.Now()
	s.vm1.Docker(ctx, "run", "--rm", "--network=none", harness.Image, "true").OK(t)
	s.vm1.Docker(ctx, "run", "--rm", "--network=none", "-v", "localvol:/vol", harness.Image, "true").OK(t)
	require.Less(t, time.Since(begin), 20*time.Second)
	done := make(chan harness.Result)
	go func() { done <- sh(t, s.vm1, "vol", "echo late >/vol/f") }()
	time.Sleep(2 * time.Second)
	s.vm1.Exec(ctx, "kill", "-CONT", pid).OK(t)
	(<-done).OK(t)
	s.attachedTo(t, "vol", "")
	remove(t, s.vm1, "vol", "localvol")
}

// The service hangs (stopped, not dead): lists are answered from memory at
// once, what needs it fails within the engine's limit with a sentence, and
// the repeated command succeeds when it goes on.
func TestServiceHangs(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "vol", "size=32mb")
	s.vm1.Docker(ctx, "volume", "ls").OK(t)
	pid := strconv.Itoa(s.PID())
	lab.Run(t, "kill", "-STOP", pid).OK(t)
	t.Cleanup(func() { lab.Run(t, "kill", "-CONT", pid) })
	r := s.vm1.Docker(ctx, "volume", "ls", "-q").OK(t)
	require.Equal(t, []string{"vol@ds1"}, r.Lines())
	require.Less(t, r.Took, 10*time.Second)
	r = tryCreate(t, s.vm1, "slow", "size=32mb").Fails(t)
	require.Less(t, r.Took, 70*time.Second, "the engine asks twice, each time within its limit")
	lab.Run(t, "kill", "-CONT", pid).OK(t)
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if r := tryCreate(t, s.vm1, "slow", "size=32mb"); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	require.Empty(t, s.vm1.Docker(ctx, "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)
	remove(t, s.vm1, "vol", "slow")
}

// The plugin is killed again and again while volumes are created, used and
// removed. Commands may fail; repeated they succeed, and no local volume
// appears in place of ours.
func TestPluginKilledAtRandom(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(1500+(i*331)%1500) * time.Millisecond):
				// An engine that finds a plugin dead again while it starts it
				// anew gives it up and shows it as disabled.
				s.vm1.KillPlugin(t)
				s.vm1.Docker(ctx, "volume", "ls").OK(t)
			}
		}
	})
	again := func(what string, f func() harness.Result, done string) {
		t.Helper()
		require.NoError(t, harness.Eventually(90*time.Second, func() error {
			if r := f(); r.Code != 0 && (done == "" || !strings.Contains(r.Stderr, done)) {
				return fmt.Errorf("%s: %s", what, r)
			}
			return nil
		}))
		require.Empty(t, s.vm1.Docker(ctx, "volume", "ls", "-q", "-f", "driver=local").Stdout, what)
	}
	for i := range 5 {
		name := fmt.Sprintf("shaken-%d", i)
		again("create", func() harness.Result { return tryCreate(t, s.vm1, name, "size=32mb") }, "")
		again("write", func() harness.Result { return sh(t, s.vm1, name, "echo kept >/vol/f; sync") }, "")
		again("read", func() harness.Result { return sh(t, s.vm1, name, "grep -q kept /vol/f") }, "")
	}
	close(stop)
	wg.Wait()
	for i := range 5 {
		s.attachedToLate(t, fmt.Sprintf("shaken-%d", i), "")
	}
	for i := range 5 {
		name := fmt.Sprintf("shaken-%d", i)
		again("remove", func() harness.Result { return s.vm1.Docker(ctx, "volume", "rm", name) }, noSuchVolume)
	}
}
