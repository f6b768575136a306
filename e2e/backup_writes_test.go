package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/volspec"
)

// Containers write and sync without a pause on every filesystem while full and
// incremental backups run. Nobody waits long, and what was on disk before a
// backup is in it, in the order in which it was written.
func TestBackupWhileWriting(t *testing.T) {
	v := newVault(t, "writing", nil, plains(t, "p1"), lab.Bin, nil)
	g := v.guests[0]
	kinds := []string{"ext4", "xfs", "btrfs"}
	writers := map[string]scribe{}
	for _, fs := range kinds {
		create(t, g.Guest, fs, "fstype="+fs, "size=320mb")
		sh(t, g.Guest, fs, "dd if=/dev/urandom of=/vol/ballast bs=1M count=100 2>/dev/null").OK(t)
		writers[fs] = scribes(t, g, fs)
	}
	little := int64(80 << 20)
	if onVSphere { // it tracks blocks of 64 KiB, and btrfs writes a little to many
		little = 240 << 20
	}
	type seen struct{ before, after int }
	rounds := make([]map[volspec.PointID]seen, 3)
	for i := range rounds {
		rounds[i] = map[volspec.PointID]seen{}
		before := map[string]int{}
		for _, fs := range kinds {
			before[fs] = writers[fs].lines()
		}
		for _, p := range v.backup(t, kinds...) {
			require.Equal(t, volspec.FilesystemConsistent, p.Consistency)
			if i == 0 {
				require.Contains(t, p.Tracking, "full read")
			} else {
				require.Contains(t, p.Tracking, "changed extents")
				require.Less(t, p.ReadBytes, little, "an increment reads what was changed: %s", p.Volume)
			}
			fs, _, _ := strings.Cut(p.Volume, "@")
			rounds[i][p.ID] = seen{before[fs], writers[fs].lines()}
		}
	}
	var longest time.Duration
	for _, fs := range kinds {
		stall := writers[fs].end(t)
		t.Logf("%s: %d lines, longest wait of a synced write %s", fs, writers[fs].lines(), stall.Round(time.Millisecond))
		longest = max(longest, stall)
	}
	t.Logf("longest write stall seen: %s", longest.Round(time.Millisecond))
	require.Less(t, longest, mostStall)

	for _, round := range []map[volspec.PointID]seen{rounds[0], rounds[2]} {
		for id, lines := range round {
			restoring(t, g, string(id), "copy", func() {
				n := scribed(t, g, "copy")
				require.GreaterOrEqual(t, n, lines.before, "what was synced before the backup began is in it")
				require.LessOrEqual(t, n, lines.after+1)
			})
		}
	}
	for _, fs := range kinds {
		sound(t, fs, v.export(t, fs+"@latest"))
	}
}

// On a datastore that cannot share blocks the moment is a copy: writers wait
// for it, or the backup is refused with what can be done.
func TestBackupOnPlainDatastore(t *testing.T) {
	localOnly(t, "snapshots of vSphere copy nothing")
	v := newVault(t, "plain-ext4", lab.Filesystem(t, "plain-ext4", "ext4", 1024), plains(t, "p1"), lab.Bin, func(c *harness.Config) {
		c.Backup = map[string]any{"freeze_copy_limit": "200ms"} // 40 MB by its estimate
	})
	g := v.guests[0]
	create(t, g.Guest, "large", "size=200mb")
	sh(t, g.Guest, "large", "dd if=/dev/urandom of=/vol/f bs=1M count=80 2>/dev/null; md5sum /vol/f >/vol/sum").OK(t)
	v.detached(t, "large")
	create(t, g.Guest, "little", "size=64mb")
	w := scribes(t, g, "little")
	before := w.lines()
	p := v.backup(t, "little")[0]
	require.Equal(t, volspec.FilesystemConsistent, p.Consistency)
	after := w.lines()

	keep(t, g.Guest, "user", "large")
	v.Mooring(t.Context(), "backup", "run", team+"/large").Fails(t, "volume large@plain-ext4 cannot be backed up while VM p1 has it",
		"copies instead of sharing blocks", "make the datastore a managed one", "move the volume to a datastore on xfs or btrfs", "back it up while it is detached")
	require.Empty(t, v.points(t, "large"))
	drop(t, g.Guest, "user")
	v.detached(t, "large")
	q := v.backup(t, "large")[0]
	require.Equal(t, volspec.FilesystemConsistent, q.Consistency)
	v.settled(t)

	stall := w.end(t)
	t.Logf("longest wait of a synced write, with a copy under freeze: %s", stall.Round(time.Millisecond))
	require.Less(t, stall, mostStall)
	restoring(t, g, string(p.ID), "copy", func() {
		n := scribed(t, g, "copy")
		require.GreaterOrEqual(t, n, before)
		require.LessOrEqual(t, n, after+1)
	})
	restoring(t, g, string(q.ID), "copy", func() { sh(t, g.Guest, "copy", "md5sum -c /vol/sum").OK(t) })
}

// The managed plugin has the privileges that freezing needs.
func TestBackupByManagedPlugin(t *testing.T) {
	all := plains(t, "p3") // an engine that has not seen a plain process of that name
	all[0].managed = true
	v := newVault(t, "managed-backup", nil, all, lab.Bin, nil)
	g := v.guests[0]
	create(t, g.Guest, "db", "size=64mb")
	w := scribes(t, g, "db")
	before := w.lines()
	p := v.backup(t, "db")[0]
	require.Equal(t, volspec.FilesystemConsistent, p.Consistency)
	p = v.backup(t, "db")[0]
	require.Equal(t, volspec.FilesystemConsistent, p.Consistency)
	require.Less(t, w.end(t), mostStall)
	restoring(t, g, "db@latest", "copy", func() { require.GreaterOrEqual(t, scribed(t, g, "copy"), before) })
	v.detached(t, "db")
	remove(t, g.Guest, "db")
}
