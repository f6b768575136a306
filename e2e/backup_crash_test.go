package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/volspec"
)

// backupCases are the commands of backup with steps on the way. Volume base is
// in use meanwhile.
var backupCases = []useCase{
	{
		name: "backup run",
		prepare: func(t *testing.T, r *rig, _ string) {
			r.base(t)
			r.guests[0].Docker(t.Context(), "start", "base").OK(t)
		},
		act: mooring("backup", "run", team+"/base"),
		check: func(t *testing.T, r *rig, _ string) {
			r.noJob(t)
			r.reads(t, "base")
			wrote := r.guests[0].Docker(t.Context(), "exec", "base", "sh", "-ec", "date >>/vol/w; sync").OK(t)
			require.Less(t, wrote.Took, mostStall, "the container still writes")
		},
	},
	{
		name:  "restore by docker",
		act:   docker("volume", "create", "-d", harness.Driver, "-o", "restore-from=base@latest", "%"),
		done:  "at work", // until the job of the first one has ended
		check: kept,
	},
	{
		name:  "view",
		act:   docker("volume", "create", "-d", harness.Driver, "-o", "view-of=base@latest", "%"),
		check: kept,
	},
}

// kept checks that a volume holds what base did, and removes it.
func kept(t *testing.T, r *rig, n string) {
	r.noJob(t)
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if res := sh(t, r.guests[0].Guest, n, read); res.Code != 0 {
			return fmt.Errorf("%s", res)
		}
		return nil
	}))
	r.detached(t, n)
	remove(t, r.guests[0].Guest, n)
}

// mooringd is killed at every step that it records on the way of a backup, a
// restore and a view. The job ends, or the next one carries on; no snapshot,
// mount or loop device stays, and every recovery point that is listed restores.
func TestBackupKilledAtEveryStep(t *testing.T) {
	v := newVault(t, "backup-steps", nil, plains(t, "p1"), lab.CrashBinaries(t), nil)
	v.killAtEveryStep(t, v.service(), "", 15, backupCases)
	kernel := v.Outside()
	require.LessOrEqual(t, len(kernel), 1, "nothing but the place where points appear: %v", kernel)
	points := v.points(t, "base")
	require.Greater(t, len(points), 5)
	for _, p := range points {
		sound(t, "ext4", v.export(t, string(p.ID)))
	}
}

// noJob waits until no job is open.
func (r *rig) noJob(t *testing.T) {
	t.Helper()
	(&vault{rig: r}).idle(t)
}

// mooringd is killed at any moment of a long backup while a container writes.
// The job goes on by itself with the moment that it had.
func TestBackupServiceKilled(t *testing.T) {
	v := newVault(t, "service-killed", nil, plains(t, "p1"), lab.Bin, func(c *harness.Config) {
		c.Backup = map[string]any{"upload_limit": "25mb"}
	})
	g := v.guests[0]
	create(t, g.Guest, "large", "size=1gb")
	sh(t, g.Guest, "large", "dd if=/dev/urandom of=/vol/f bs=1M count=120 2>/dev/null; md5sum /vol/f >/vol/sum").OK(t)
	w := scribes(t, g, "large")
	type span struct{ before, after int }
	spans := map[string]span{}
	for i, moment := range []time.Duration{50 * time.Millisecond, 800 * time.Millisecond, 2500 * time.Millisecond} {
		s := span{before: w.lines()}
		args := []string{"backup", "run", team + "/large", "--no-wait", "-o", "name"}
		if i > 0 {
			args = append(args, "--full")
			sh(t, g.Guest, "large", "dd if=/dev/urandom of=/vol/g bs=1M count=80 2>/dev/null").OK(t)
		}
		id := v.Mooring(t.Context(), args...).OK(t).Stdout
		_, job, _ := strings.Cut(id, "/")
		time.Sleep(moment)
		v.Kill(t)
		w.goesOn(t, mostStall+2*time.Second)
		v.Start(t)
		v.idle(t)
		s.after = w.lines()
		j, err := v.admin.Job(t.Context(), team, volspec.JobID(job), 0)
		require.NoError(t, err)
		require.Equal(t, "done", j.State, "it goes on by itself: %s", j.Error)
		t.Logf("killed after %s: %d attempts, %s", moment, j.Attempts, j.Summary)
		spans[j.Point] = s
		v.settled(t)
		require.LessOrEqual(t, len(v.Outside()), 1, "%v", v.Outside())
	}
	stall := w.end(t)
	t.Logf("longest wait of a synced write: %s", stall.Round(time.Millisecond))
	require.Less(t, stall, mostStall+2*time.Second)
	require.Len(t, v.points(t, "large"), len(spans))
	for id, s := range spans {
		restoring(t, g, id, "copy", func() {
			n := scribed(t, g, "copy")
			require.GreaterOrEqual(t, n, s.before)
			require.LessOrEqual(t, n, s.after+1)
			sh(t, g.Guest, "copy", "md5sum -c /vol/sum").OK(t)
		})
	}
}

// The plugin is killed while it holds the filesystem still, and at random
// while backups follow each other. The writers go on, and the next backup is
// as good as ever.
func TestBackupPluginKilledWhileFrozen(t *testing.T) {
	v := newVault(t, "plugin-killed", nil, plains(t, "p1"), lab.CrashBinaries(t), nil)
	g := v.guests[0]
	create(t, g.Guest, "db", "size=64mb")
	w := scribes(t, g, "db")
	v.backup(t, "db")

	g.restart(t, "MOORING_CRASH_AT=plugin.freeze.frozen")
	require.NoError(t, harness.Eventually(20*time.Second, func() error { return beats(t.Context(), v) }))
	before := w.lines()
	v.Mooring(t.Context(), "backup", "run", team+"/db").OK(t)
	require.False(t, g.Running(), "it died while the volume was frozen")
	w.goesOn(t, mostStall+2*time.Second)
	p := v.points(t, "db")[0]
	require.Equal(t, volspec.CrashConsistent, p.Consistency)
	v.Mooring(t.Context(), "backup", "run", team+"/db", "--consistency=filesystem-required").Fails(t, "cannot be backed up with a consistent filesystem")
	g.start(t)

	for i := range 5 {
		done := make(chan harness.Result, 1)
		go func() { done <- v.Mooring(t.Context(), "backup", "run", team+"/db") }() // read below
		time.Sleep(time.Duration(100+90*i) * time.Millisecond)
		g.Kill(t)
		w.goesOn(t, mostStall+2*time.Second)
		g.start(t)
		r := <-done
		t.Logf("%s", r)
	}
	v.idle(t)
	require.NoError(t, harness.Eventually(20*time.Second, func() error { return beats(t.Context(), v) }))
	require.Equal(t, volspec.FilesystemConsistent, v.backup(t, "db")[0].Consistency)
	stall := w.end(t)
	t.Logf("longest wait of a synced write: %s", stall.Round(time.Millisecond))
	require.Less(t, stall, mostStall+2*time.Second)
	restoring(t, g, string(p.ID), "copy", func() { require.GreaterOrEqual(t, scribed(t, g, "copy"), before) })
	restoring(t, g, "db@latest", "copy", func() { require.GreaterOrEqual(t, scribed(t, g, "copy"), before) })
}

// beats is nil when the service hears the plugin of the first guest again.
func beats(ctx context.Context, v *vault) error {
	vms, err := v.admin.VMs(ctx)
	for _, vm := range vms {
		if vm.Name == v.guests[0].Name && time.Since(vm.LastSeen) < 2*time.Second {
			return err
		}
	}
	return fmt.Errorf("no plugin speaks: %v, %w", vms, err)
}
