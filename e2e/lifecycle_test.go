package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// The life of a volume as every user sees it, on each guest in turn: create,
// create again, list, use, refuse removal while used, remove, gone.
func TestVolumeLifecycle(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	for _, g := range s.guests() {
		create(t, g, "life", "size=64mb")
		create(t, g, "life", "size=64mb")
		require.Equal(t, []string{"life@ds1"}, listed(t, g), "one volume, by its full name")
		require.Equal(t, "vsphere:latest", g.Docker(ctx, "volume", "inspect", "-f", "{{.Driver}}", "life").OK(t).Stdout)
		s.attachedTo(t, "life", "")

		keep(t, g, "user", "life")
		s.attachedTo(t, "life", g.Name)
		require.Equal(t, "attached", status(t, g, "life")["status"])
		g.Docker(ctx, "volume", "rm", "life").Fails(t, "in use")
		s.Mooring(ctx, "volume", "rm", "_DEFAULT/life@ds1").Fails(t, "life")

		drop(t, g, "user")
		s.attachedTo(t, "life", "")
		require.Equal(t, "detached", status(t, g, "life")["status"])
		require.Contains(t, sh(t, g, "life", "wc -l </vol/log; mount | grep ' /vol '").OK(t).Stdout, "type ext4")

		remove(t, g, "life")
		g.Docker(ctx, "volume", "inspect", "life").Fails(t, noSuchVolume)
		require.Empty(t, listed(t, g))
	}
}

// Data survives containers, engines see the volume by short and full name,
// and the removed name comes back empty.
func TestDataPersists(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "keepsake")
	sh(t, s.vm1, "keepsake", "echo one >/vol/f; sync").OK(t)
	require.Equal(t, "one", sh(t, s.vm1, "keepsake@ds1", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "keepsake", "")
	require.Equal(t, "one", sh(t, s.vm2, "keepsake", "cat /vol/f; echo two >>/vol/f").OK(t).Stdout)
	s.attachedTo(t, "keepsake", "")
	require.Equal(t, "one\ntwo", sh(t, s.vm1, "keepsake", "cat /vol/f").OK(t).Stdout)

	remove(t, s.vm1, "keepsake")
	create(t, s.vm2, "keepsake")
	require.Empty(t, sh(t, s.vm2, "keepsake", "ls -A /vol | grep -v lost+found || true").OK(t).Stdout)
	remove(t, s.vm2, "keepsake")
}

// Image content is copied up on the first use of an empty volume (mounting
// twice), and not again; a read-only use refuses writes; two containers share
// a volume and the last one to go detaches it; implicit and anonymous volumes
// are volumes like others.
func TestContainersUseVolumes(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	g := s.vm1
	run := func(args ...string) harness.Result {
		return g.Docker(ctx, append([]string{"run", "--rm", "--network=none", "--volume-driver", harness.Driver}, args...)...)
	}
	create(t, g, "shared")
	require.Equal(t, "from the image", run("-v", "shared:/seed", harness.Image, "cat", "/seed/from-image").OK(t).Stdout)
	run("-v", "shared:/seed", harness.Image, "sh", "-c", "echo changed >/seed/from-image").OK(t)
	require.Equal(t, "changed", run("-v", "shared:/seed", harness.Image, "cat", "/seed/from-image").OK(t).Stdout)
	run("-v", "shared:/vol:ro", harness.Image, "touch", "/vol/x").Fails(t, "Read-only file system")

	keep(t, g, "first", "shared")
	keep(t, g, "second", "shared@ds1")
	g.Docker(ctx, "cp", "first:/vol/from-image", "-").OK(t)
	drop(t, g, "first")
	g.Docker(ctx, "exec", "second", "sh", "-c", "echo still >/vol/still && cat /vol/still").OK(t)
	s.attachedTo(t, "shared", g.Name)
	drop(t, g, "second")
	s.attachedTo(t, "shared", "")

	run("-v", "implicit:/vol", harness.Image, "touch", "/vol/x").OK(t)
	require.Contains(t, listed(t, g), "implicit@ds1")
	run("-v", "/vol", harness.Image, "touch", "/vol/x").OK(t)
	require.Len(t, s.volumes(t), 2, "the anonymous volume went with its container")

	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if r := g.Docker(ctx, "volume", "rm", "shared", "implicit"); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
}

// Ten volumes created at once, from both guests, all exist afterwards.
func TestParallelCreation(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	var names []string
	for i := range 10 {
		g, name := s.guests()[i%2], fmt.Sprintf("parallel-%d", i)
		names = append(names, name+"@ds1")
		wg.Go(func() {
			if r := tryCreate(t, g, name, "size=32mb"); r.Code != 0 {
				t.Errorf("%s", r)
			}
		})
	}
	wg.Wait()
	require.ElementsMatch(t, names, listed(t, s.vm2))
	remove(t, s.vm1, names...)
}

// Every filesystem, on both kinds of datastore: the container sees the real
// one, of about the size asked for.
func TestFilesystems(t *testing.T) {
	s := newSite(t)
	for _, ds := range []string{"ds1", "ds2"} {
		for fs, size := range map[string]string{"ext4": "64mb", "xfs": "320mb", "btrfs": "256mb"} {
			name := fs + "@" + ds
			create(t, s.vm1, name, "size="+size, "fstype="+fs)
			require.Contains(t, sh(t, s.vm1, name, "mount | grep ' /vol '").OK(t).Stdout, " type "+fs+" ")
			s.attachedTo(t, name, "")
			require.Equal(t, "x", sh(t, s.vm2, name, "echo x >/vol/f; cat /vol/f").OK(t).Stdout)
			s.attachedTo(t, name, "")
			remove(t, s.vm2, name)
		}
	}
}

// The same binary as a plain process serves an engine without plugin
// management; a volume made there is the same volume everywhere.
func TestPlainProcess(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	g := s.vm3(t)
	settings := append(s.channel(t, g), "MOORING_MOUNT_ROOT=/srv/"+rootName)
	p := g.StartPlainPlugin(t, settings...)
	s.reaches(t, g)
	t.Cleanup(func() { p.Stop(t) })
	create(t, g, "plain", "size=64mb")
	require.Equal(t, harness.Driver, g.Docker(ctx, "volume", "inspect", "-f", "{{.Driver}}", "plain").OK(t).Stdout)
	keep(t, g, "user", "plain")
	s.attachedTo(t, "plain", g.Name)

	// The container and its mount outlive the process; the next one adopts them.
	p.Kill(t)
	p = g.StartPlainPlugin(t, settings...)
	g.Docker(ctx, "exec", "user", "sh", "-c", "echo alive >/vol/alive").OK(t)
	sh(t, g, "plain", "cat /vol/alive").OK(t)
	s.attachedTo(t, "plain", g.Name)
	drop(t, g, "user")
	s.attachedTo(t, "plain", "")

	require.Equal(t, "alive", sh(t, s.vm1, "plain", "cat /vol/alive").OK(t).Stdout)
	s.attachedTo(t, "plain", "")
	remove(t, g, "plain")
}
