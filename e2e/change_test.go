package e2e

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// megabytes is the size of the filesystem that a container sees at /vol.
func megabytes(t *testing.T, df string) int {
	t.Helper()
	fields := strings.Fields(df)
	require.NotEmpty(t, fields)
	n, err := strconv.Atoi(fields[len(fields)-1])
	require.NoError(t, err, df)
	return n
}

const df = "df -m /vol | awk 'END { print $(NF-4) }'"

// A volume grows, detached or in use, keeps its data, and containers see the
// new size at the latest with their next start. It never shrinks, and it
// cannot outgrow its limit.
func TestGrow(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	for fs, size := range map[string][3]string{"ext4": {"32mb", "96mb", "160mb"}, "xfs": {"320mb", "400mb", "480mb"}, "btrfs": {"256mb", "320mb", "400mb"}} {
		create(t, s.vm1, "grow", "size="+size[0], "fstype="+fs)
		before := megabytes(t, sh(t, s.vm1, "grow", "echo kept >/vol/data; "+df).OK(t).Stdout)
		s.attachedTo(t, "grow", "")
		s.Mooring(ctx, "volume", "resize", "_DEFAULT/grow@ds1", size[1]).OK(t)
		detached := megabytes(t, sh(t, s.vm1, "grow", "cat /vol/data; "+df).OK(t).Stdout)
		require.Greater(t, detached, before+30, fs)
		s.attachedTo(t, "grow", "")

		keep(t, s.vm2, "user", "grow")
		s.Mooring(ctx, "volume", "resize", "_DEFAULT/grow@ds1", size[2]).OK(t)
		s.Mooring(ctx, "volume", "resize", "_DEFAULT/grow@ds1", size[0]).Fails(t)
		running(t, s.vm2, "user")
		drop(t, s.vm2, "user")
		s.attachedTo(t, "grow", "")
		attached := megabytes(t, sh(t, s.vm1, "grow", "grep -q kept /vol/data; "+df).OK(t).Stdout)
		require.Greater(t, attached, detached+30, fs)
		s.attachedTo(t, "grow", "")
		remove(t, s.vm1, "grow")
	}
}

// A snapshot keeps what was there; a clone of it has that, and the volume
// goes on by itself.
func TestSnapshotAndCloneOfIt(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	create(t, s.vm1, "live@ds2", "size=64mb")
	sh(t, s.vm1, "live@ds2", "echo old >/vol/f").OK(t)
	s.attachedTo(t, "live@ds2", "")
	s.Mooring(ctx, "volume", "snapshot", "create", "_DEFAULT/live@ds2", "monday").OK(t)
	sh(t, s.vm1, "live@ds2", "echo new >/vol/f").OK(t)
	s.attachedTo(t, "live@ds2", "")
	s.Mooring(ctx, "volume", "clone", "_DEFAULT/live@ds2", "back@ds2", "--from-snapshot=monday").OK(t)
	create(t, s.vm1, "again@ds2", "clone-from=live@ds2", "from-snapshot=monday")
	for _, name := range []string{"back@ds2", "again@ds2"} {
		require.Equal(t, "old", sh(t, s.vm2, name, "cat /vol/f").OK(t).Stdout)
		s.attachedTo(t, name, "")
	}
	require.Equal(t, "new", sh(t, s.vm2, "live@ds2", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "live@ds2", "")
	require.Equal(t, []string{"monday"}, s.Mooring(ctx, "volume", "snapshot", "ls", "_DEFAULT/live@ds2", "-o", "name").OK(t).Lines())
	s.Mooring(ctx, "volume", "snapshot", "rm", "_DEFAULT/live@ds2", "monday").OK(t)
	remove(t, s.vm1, "live@ds2", "back@ds2", "again@ds2")
}

// A removed volume lies in the trash, where only the administrator sees it,
// and comes back with its data; a protected one is not removed at all.
func TestTrashAndProtection(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	s.Config.Volume.TrashKeep = "1h"
	s.Stop(t)
	s.Start(t)
	t.Cleanup(func() {
		s.Config.Volume.TrashKeep = "0s"
		s.Stop(t)
		s.Start(t)
	})
	create(t, s.vm1, "precious", "size=32mb")
	sh(t, s.vm1, "precious", "echo kept >/vol/f").OK(t)
	s.attachedTo(t, "precious", "")
	s.Mooring(ctx, "volume", "protect", "_DEFAULT/precious@ds1").OK(t)
	s.vm1.Docker(ctx, "volume", "rm", "precious").Fails(t, "protected")
	s.Mooring(ctx, "volume", "unprotect", "_DEFAULT/precious@ds1").OK(t)
	remove(t, s.vm1, "precious")
	require.Empty(t, listed(t, s.vm1))
	s.vm1.Docker(ctx, "volume", "inspect", "precious").Fails(t, noSuchVolume)

	// The name is free meanwhile; the old one comes back under another.
	create(t, s.vm1, "precious", "size=32mb")
	s.Mooring(ctx, "volume", "undelete", "_DEFAULT/precious@ds1").Fails(t)
	require.Equal(t, []string{"precious@ds1"}, listed(t, s.vm1))
	s.Mooring(ctx, "volume", "rm", "_DEFAULT/precious@ds1", "--purge", "--yes").OK(t)
	s.Mooring(ctx, "volume", "undelete", "_DEFAULT/precious@ds1").OK(t)
	require.Equal(t, "kept", sh(t, s.vm2, "precious", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "precious", "")
	s.Mooring(ctx, "volume", "rm", "_DEFAULT/precious@ds1", "--purge").Fails(t, "--yes")
	s.Mooring(ctx, "volume", "rm", "_DEFAULT/precious@ds1", "--purge", "--yes").OK(t)
}

// Volumes of a plain user: the owner given at creation can write, in a
// container that has no other right.
func TestVolumeOfAPlainUser(t *testing.T) {
	s := newSite(t)
	create(t, s.vm1, "mine", "size=32mb", "uid=1001", "gid=1001", "mode=0700")
	run := func(user string) harness.Result {
		return s.vm1.Docker(t.Context(), "run", "--rm", "--network=none", "--user", user, "--cap-drop=ALL", "-v", "mine:/vol", harness.Image, "sh", "-c", "echo x >/vol/f && cat /vol/f")
	}
	require.Equal(t, "x", run("1001:1001").OK(t).Stdout)
	run("1002:1002").Fails(t, "Permission denied")
	s.attachedTo(t, "mine", "")
	remove(t, s.vm1, "mine")
}
