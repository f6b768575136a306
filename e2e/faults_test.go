package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// A datastore fills up: thick volumes that do not fit are refused and leave
// nothing; a thin one that runs out of room gives its container an error, and
// everybody else goes on.
func TestFullDatastore(t *testing.T) {
	s := newSite(t)
	for _, format := range []string{"zeroedthick", "eagerzeroedthick"} {
		tryCreate(t, s.vm1, "fat@small", "size=1gb", "diskformat="+format).Fails(t, "small")
	}
	files, err := s.small.Files()
	require.NoError(t, err)
	require.Empty(t, files, "nothing is left of a refused volume")

	create(t, s.vm1, "neighbour@small", "size=32mb")
	sh(t, s.vm1, "neighbour@small", "echo fine >/vol/f; sync").OK(t)
	s.attachedTo(t, "neighbour@small", "")
	create(t, s.vm1, "thin@small", "size=1gb")
	sh(t, s.vm1, "thin@small", "dd if=/dev/urandom of=/vol/big bs=1M count=400 conv=fsync").Fails(t)
	s.attachedTo(t, "thin@small", "")
	create(t, s.vm1, "other@ds1", "size=32mb")
	sh(t, s.vm1, "other@ds1", "touch /vol/x").OK(t)
	s.attachedTo(t, "other@ds1", "")
	remove(t, s.vm1, "thin@small", "other@ds1")
	require.Equal(t, "fine", sh(t, s.vm2, "neighbour@small", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "neighbour@small", "")
	remove(t, s.vm1, "neighbour@small")
}

// A datastore turns read-only: what needs to write there says so, reading
// the list goes on, and everything works again afterwards.
func TestReadOnlyDatastore(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "v@small", "size=32mb")
	sh(t, s.vm1, "v@small", "echo kept >/vol/f").OK(t)
	s.attachedTo(t, "v@small", "")
	s.small.ReadOnly(t, true)
	t.Cleanup(func() { s.small.ReadOnly(t, false) })
	tryCreate(t, s.vm1, "w@small", "size=32mb").Fails(t, "small")
	s.vm1.Docker(t.Context(), "volume", "rm", "v@small").Fails(t, "small")
	require.Equal(t, []string{"v@small"}, listed(t, s.vm1))
	require.Contains(t, s.Mooring(t.Context(), "datastore", "ls").OK(t).Stdout, "read-only")
	create(t, s.vm1, "w@ds1", "size=32mb")
	remove(t, s.vm1, "w@ds1")
	s.small.ReadOnly(t, false)
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if r := sh(t, s.vm1, "v@small", "cat /vol/f"); r.Stdout != "kept" {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	s.attachedTo(t, "v@small", "")
	remove(t, s.vm1, "v@small")
}

// A datastore vanishes: its empty mount point is not mistaken for it. Nothing
// is created there, no volume is forgotten, and all is well when it returns.
func TestVanishedDatastore(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "v@small", "size=32mb")
	sh(t, s.vm1, "v@small", "echo kept >/vol/f").OK(t)
	s.attachedTo(t, "v@small", "")
	s.small.Vanish(t)
	back := false
	t.Cleanup(func() {
		if !back {
			s.small.Mount(t)
		}
	})
	tryCreate(t, s.vm1, "w@small", "size=32mb").Fails(t, "small")
	sh(t, s.vm1, "v@small", "cat /vol/f").Fails(t)
	s.vm1.Docker(t.Context(), "volume", "rm", "v@small").Fails(t, "small")
	entries, err := os.ReadDir(s.small.Path)
	require.NoError(t, err)
	require.Empty(t, entries, "nothing is written into the empty mount point")
	require.Contains(t, s.Mooring(t.Context(), "datastore", "ls").OK(t).Stdout, "offline")
	require.Equal(t, []string{"v@small"}, listed(t, s.vm1))

	// Not even over a restart of the service.
	s.Stop(t)
	s.Start(t)
	require.Equal(t, []string{"v@small"}, listed(t, s.vm1))
	tryCreate(t, s.vm1, "w@small", "size=32mb").Fails(t, "small")
	entries, err = os.ReadDir(s.small.Path)
	require.NoError(t, err)
	require.Empty(t, entries)

	s.small.Mount(t)
	back = true
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if r := sh(t, s.vm1, "v@small", "cat /vol/f"); r.Stdout != "kept" {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	s.attachedTo(t, "v@small", "")
	remove(t, s.vm1, "v@small")
}

// The catalog is lost: the metadata beside the disks rebuilds it, with names,
// options, vmgroup and data.
func TestLostCatalog(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "aa", "size=32mb", "mountopts=noatime")
	create(t, s.vm1, "b@ds2", "size=320mb", "fstype=xfs")
	sh(t, s.vm1, "aa", "echo aa >/vol/f").OK(t)
	sh(t, s.vm1, "b@ds2", "echo b >/vol/f").OK(t)
	s.attachedTo(t, "aa", "")
	s.attachedTo(t, "b@ds2", "")
	s.Stop(t)
	catalogs, err := filepath.Glob(filepath.Join(s.Config.StateDir, "catalog.db*"))
	require.NoError(t, err)
	require.NotEmpty(t, catalogs)
	for _, f := range catalogs {
		require.NoError(t, os.Remove(f))
	}
	s.Start(t)
	s.enrollAgain(t, s.guests()...)
	require.Empty(t, s.volumes(t))
	for _, ds := range []string{"ds1", "ds2"} {
		require.Contains(t, s.Mooring(t.Context(), "datastore", "scan", ds).OK(t).Stdout, "adoptable")
		require.Contains(t, s.Mooring(t.Context(), "datastore", "scan", ds, "--adopt").OK(t).Stdout, "adopted")
	}
	require.ElementsMatch(t, []string{"aa@ds1", "b@ds2"}, listed(t, s.vm1))
	require.Equal(t, "xfs", status(t, s.vm1, "b@ds2")["fstype"])
	require.Equal(t, "aa", sh(t, s.vm2, "aa", "cat /vol/f").OK(t).Stdout)
	require.Equal(t, "b", sh(t, s.vm2, "b@ds2", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "aa", "")
	s.attachedTo(t, "b@ds2", "")
	remove(t, s.vm1, "aa", "b@ds2")
}

// A second daemon on the same state folder refuses to start and says why.
func TestSecondDaemonRefused(t *testing.T) {
	s := newSite(t)
	r := lab.Run(t, lab.Bin.Mooringd, "--config", s.ConfigFile())
	r.Fails(t, s.Config.StateDir)
	require.Less(t, r.Took, 20*time.Second)
	s.Mooring(t.Context(), "status").OK(t)
}

// Configurations that cannot be are refused before anything is touched, with
// the file, the line and the key.
func TestConfigCheck(t *testing.T) {
	s := newSite(t)
	bad := filepath.Join(t.TempDir(), "bad.toml")
	require.NoError(t, os.WriteFile(bad, []byte("state_dir = \"/var/lib/mooring\"\nstat_dir = \"x\"\n\n[[datastore]]\nname = \"a/b\"\npath = \"relative\"\n"), 0o644))
	for _, args := range [][]string{
		{lab.Bin.Mooringd, "config", "check", "--config", bad},
		{lab.Bin.Mooringd, "--config", bad},
	} {
		lab.Run(t, args...).Fails(t, "bad.toml", "2", "stat_dir", "relative")
	}
	lab.Run(t, lab.Bin.Mooringd, "config", "check", "--config", s.ConfigFile()).OK(t)
}

// Power fails while a container writes: afterwards the filesystem is whole,
// what was synced is there, and the disk was not formatted again.
func TestCrashWhileWriting(t *testing.T) {
	s := newSite(t)
	for _, fs := range []string{"ext4", "xfs", "btrfs"} {
		create(t, s.vm1, "crash", "size=320mb", "fstype="+fs)
		keep(t, s.vm1, "writer", "crash")
		s.vm1.Docker(t.Context(), "exec", "writer", "sh", "-c", "echo synced >/vol/data; sync").OK(t)
		uuid := s.volume(t, "crash").ID
		s.vm1.PowerOff(t)
		require.Equal(t, "synced", sh(t, s.vm2, "crash", "cat /vol/data").OK(t).Stdout, fs)
		require.Equal(t, uuid, s.volume(t, "crash").ID)
		lab.Guest(t, "vm1")
		drop(t, s.vm1, "writer")
		s.attachedTo(t, "crash", "")
		remove(t, s.vm2, "crash")
	}
}
