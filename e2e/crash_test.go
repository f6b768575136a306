package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// step is one command of a crash scenario. Repeated after a crash it may find
// its work done: then it succeeds, or it fails with the text done.
type step struct {
	do   func() harness.Result
	done string
}

func (st step) try() error {
	r := st.do()
	if r.Code == 0 || st.done != "" && strings.Contains(r.Stderr, st.done) {
		return nil
	}
	return fmt.Errorf("%s", r)
}

// mooringd is killed at every step it records of creating, mounting, cloning,
// snapshotting, growing, unmounting and removing. Started again, it lets the
// same command succeed, no data is lost, and nothing is left over.
func TestServiceCrashPoints(t *testing.T) {
	s := newSite(t)
	passed := filepath.Join(t.TempDir(), "points")
	normal := s.Binary
	s.Stop(t)
	s.Binary = lab.CrashBinaries(t).Mooringd
	t.Cleanup(func() {
		s.Stop(t)
		s.Binary, s.Env = normal, nil
		s.Start(t)
	})
	s.Env = []string{"MOORING_CRASH_LOG=" + passed}
	s.Start(t)
	require.False(t, s.crashScenario(t))
	raw, err := os.ReadFile(passed)
	require.NoError(t, err)
	points := strings.Fields(string(raw))
	slices.Sort(points)
	points = slices.Compact(points)
	require.Greater(t, len(points), 10)
	for _, p := range points {
		t.Run(p, func(t *testing.T) {
			s.Stop(t)
			s.Env = []string{"MOORING_CRASH_AT=" + p}
			s.Start(t)
			require.True(t, s.crashScenario(t), "the point was reached")
		})
	}
}

// crashScenario runs the commands; whenever the daemon has died it is started
// without its crash point and the command is repeated. It reports whether
// that happened.
func (s *site) crashScenario(t *testing.T) (crashed bool) {
	t.Helper()
	ctx := t.Context()
	g := s.vm1
	in := func(volume, script string) step {
		return step{do: func() harness.Result { return sh(t, g, volume, script) }}
	}
	detached := func(volume string) step {
		return step{do: func() harness.Result {
			r := s.Mooring(ctx, "volume", "inspect", "--vmgroup=_DEFAULT", "--volume="+volume, "-o", "json")
			if r.Code == 0 && !strings.Contains(r.Stdout, `"attached_to": ""`) {
				r.Code = 1
			}
			return r
		}}
	}
	cli := func(done string, args ...string) step {
		return step{do: func() harness.Result { return s.Mooring(ctx, args...) }, done: done}
	}
	docker := func(done string, args ...string) step {
		return step{do: func() harness.Result { return g.Docker(ctx, args...) }, done: done}
	}
	for i, st := range []step{
		{do: func() harness.Result { return tryCreate(t, g, "a@ds2", "size=32mb") }},
		in("a@ds2", "test -e /vol/f || echo kept >/vol/f; grep -q kept /vol/f"),
		detached("a@ds2"),
		{do: func() harness.Result { return tryCreate(t, g, "b@ds2", "clone-from=a@ds2") }},
		in("b@ds2", "grep -q kept /vol/f"),
		detached("b@ds2"),
		cli("exists", "volume", "snapshot", "create", "_DEFAULT/a@ds2", "snap"),
		cli("not", "volume", "snapshot", "rm", "_DEFAULT/a@ds2", "snap", "--yes"),
		cli("", "volume", "resize", "_DEFAULT/a@ds2", "64mb"),
		in("a@ds2", "grep -q kept /vol/f && test $(df -m /vol | awk 'END { print $2 }') -gt 40"),
		detached("a@ds2"),
		docker(noSuchVolume, "volume", "rm", "a@ds2"),
		docker(noSuchVolume, "volume", "rm", "b@ds2"),
	} {
		err := st.try()
		if !s.Running() {
			crashed, s.Env = true, nil
			s.Start(t)
		}
		if err != nil {
			err = harness.Eventually(40*time.Second, st.try)
		}
		require.NoError(t, err, "step %d", i)
	}
	require.Empty(t, s.volumes(t))
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if leaks := lab.Leaks(); len(leaks) > 0 {
			return fmt.Errorf("%v", leaks)
		}
		files, err := s.ds2.Files()
		if len(files) > 0 {
			return fmt.Errorf("files on the datastore: %v", files)
		}
		return err
	}))
	return crashed
}

// The plugin is killed at every step of mounting, formatting and unmounting.
// The next process takes over: a container can use the volume, its data is
// there, and it is detached in the end.
func TestPluginCrashPoints(t *testing.T) {
	s := newSite(t)
	g := s.vm2
	g.Docker(t.Context(), "plugin", "rm", "-f", harness.Driver).OK(t)
	binary := lab.CrashBinaries(t).Plugin
	var p *harness.PlainPlugin
	t.Cleanup(func() {
		p.Stop(t)
		g.InstallPlugin(t)
	})
	points := filepath.Join(g.Disk(), "points")
	p = g.RunPlainPlugin(t, binary, "MOORING_CRASH_LOG=/srv/points")
	scenario := func(t *testing.T, reached bool) {
		t.Helper()
		crashed := false
		do := func(f func() harness.Result) {
			t.Helper()
			r := f()
			if !p.Running() {
				crashed = true
				p = g.RunPlainPlugin(t, binary)
			}
			if r.Code != 0 {
				require.True(t, crashed, "%s", r)
				require.NoError(t, harness.Eventually(60*time.Second, func() error {
					if r := f(); r.Code != 0 {
						return fmt.Errorf("%s", r)
					}
					return nil
				}))
			}
		}
		do(func() harness.Result { return tryCreate(t, g, "v", "size=32mb") })
		do(func() harness.Result {
			return sh(t, g, "v", "test -e /vol/f || echo kept >/vol/f; grep -q kept /vol/f")
		})
		do(func() harness.Result { return sh(t, g, "v", "grep -q kept /vol/f") })
		s.attachedToLate(t, "v", "")
		if !p.Running() {
			crashed = true
			p = g.RunPlainPlugin(t, binary)
		}
		require.Equal(t, reached, crashed, "the point was reached")
		sh(t, s.vm1, "v", "grep -q kept /vol/f").OK(t)
		s.attachedTo(t, "v", "")
		remove(t, s.vm1, "v")
	}
	scenario(t, false)
	raw, err := os.ReadFile(points)
	require.NoError(t, err)
	names := strings.Fields(string(raw))
	slices.Sort(names)
	names = slices.Compact(names)
	require.Greater(t, len(names), 5)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			p.Stop(t)
			p = g.RunPlainPlugin(t, binary, "MOORING_CRASH_AT="+name)
			scenario(t, true)
		})
	}
}
