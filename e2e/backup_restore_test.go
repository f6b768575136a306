package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// What users of Docker do with recovery points, without the administrator: a
// volume that is gone comes back, larger if they like; an older moment becomes
// a second volume, or is looked at without a copy.
func TestBackupRestoreByDocker(t *testing.T) {
	v := newVault(t, "by-docker", nil, plains(t, "p1"), lab.Bin, func(c *harness.Config) { c.Volume.TrashKeep = "1h" })
	g := v.guests[0]
	_, err := v.admin.CreatePolicy(t.Context(), team, wire.Policy{Name: "byhand", Volumes: []string{}, Repository: "main", RPO: "24h"})
	require.NoError(t, err)
	tryCreate(t, g.Guest, "db", "size=64mb", "backup-policy=nosuch").Fails(t, "nosuch")
	create(t, g.Guest, "db", "size=64mb", "backup-policy=byhand")
	sh(t, g.Guest, "db", "echo monday >/vol/day; cp /bin/busybox /vol; chown 7:8 /vol/busybox; md5sum /vol/busybox >/vol/sum").OK(t)
	v.detached(t, "db")
	said := backupStatus(t, g, "db")
	require.Equal(t, "byhand", said["policy"])
	require.Equal(t, "None", said["last-success"])
	monday := v.backup(t, "db")[0]
	require.Equal(t, "byhand", monday.Policy)
	said = backupStatus(t, g, "db")
	require.Equal(t, "ok", said["state"])
	require.Equal(t, monday.Created.UTC().Format(time.RFC3339), said["last-success"])
	time.Sleep(time.Until(monday.Created.Add(1100 * time.Millisecond))) // times of points are given in seconds
	between := time.Now().UTC().Format(time.RFC3339)
	time.Sleep(1100 * time.Millisecond)
	sh(t, g.Guest, "db", "echo tuesday >/vol/day").OK(t)
	v.detached(t, "db")
	tuesday := v.backup(t, "db")[0]

	remove(t, g.Guest, "db")
	v.Mooring(t.Context(), "volume", "rm", "--purge", "--yes", team+"/db").OK(t)
	_, err = v.admin.Volume(t.Context(), team, "db")
	require.Error(t, err, "not even the trash has it")

	tryCreate(t, g.Guest, "db", "restore-from=latest", "size=32mb").Fails(t, "cannot be 32 MiB")
	create(t, g.Guest, "db", "restore-from=latest", "size=160mb")
	create(t, g.Guest, "db", "restore-from=latest", "size=160mb") // a repeated command is a success
	sh(t, g.Guest, "db", "grep -qx tuesday /vol/day; md5sum -c /vol/sum; stat -c %u:%g /vol/busybox | grep -qx 7:8; echo on >>/vol/day; "+
		"df -Pm /vol | awk 'NR == 2 && $2 < 120 { exit 1 }'").OK(t)
	v.detached(t, "db")
	create(t, g.Guest, "monday", "restore-from=db@"+between)
	sh(t, g.Guest, "monday", "grep -qx monday /vol/day; md5sum -c /vol/sum").OK(t)
	tryCreate(t, g.Guest, "none", "restore-from="+string(noPoint)).Fails(t, string(noPoint)+" not found")
	tryCreate(t, g.Guest, "none", "restore-from=latest").Fails(t, "not found")
	tryCreate(t, g.Guest, "none", "restore-from=db@2001-01-01").Fails(t, "not found")
	v.settled(t)

	t.Run("views", func(t *testing.T) {
		localOnly(t, "view-of shows a point as a device of the service's own machine")
		v.views(t, g, monday, tuesday)
	})
}

// views looks at recovery points as volumes.
func (v *vault) views(t *testing.T, g *plain, monday, tuesday wire.Point) {
	t.Helper()
	kernel := v.Outside() // the place where points appear
	tryCreate(t, g.Guest, "then", "view-of="+string(monday.ID), "size=1gb").Fails(t, "size")
	create(t, g.Guest, "then", "view-of="+string(monday.ID))
	create(t, g.Guest, "later", "view-of="+string(tuesday.ID))
	g.Docker(t.Context(), "run", "-d", "--network=none", "--name", "reader", "--volume-driver", harness.Driver, "-v", "then:/vol", "-v", "later:/later",
		harness.Image, "sleep", "1000").OK(t)
	in := func(script string) harness.Result {
		return g.Docker(t.Context(), "exec", "reader", "sh", "-ec", script)
	}
	in("grep -qx monday /vol/day; md5sum -c /vol/sum; cmp /vol/busybox /bin/busybox; grep -qx tuesday /later/day").OK(t)
	in("echo x >/vol/new").Fails(t, "Read-only file system")
	in("rm /vol/day").Fails(t, "Read-only file system")
	require.Equal(t, string(monday.ID), status(t, g.Guest, "then")["view-of"])
	g.Docker(t.Context(), "volume", "rm", "then").Fails(t, "in use")
	v.Mooring(t.Context(), "backup", "rm", "--yes", team+"/"+string(monday.ID)).Fails(t, "is shown by volume then")

	// Who has it when the service ends cannot read it on; the next one can.
	v.Kill(t)
	v.Start(t)
	drop(t, g.Guest, "reader")
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if r := sh(t, g.Guest, "then", "grep -qx monday /vol/day"); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	v.detached(t, "then")
	v.detached(t, "later")
	remove(t, g.Guest, "then", "later")
	v.Mooring(t.Context(), "backup", "rm", "--yes", team+"/"+string(monday.ID)).OK(t)
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if now := v.Outside(); len(now) > len(kernel) {
			return fmt.Errorf("the views left %v", now)
		}
		return nil
	}))
	v.settled(t)
}

// backupStatus is what "docker volume inspect" says of a volume's backups.
func backupStatus(t *testing.T, g *plain, volume string) map[string]any {
	t.Helper()
	said, ok := status(t, g.Guest, volume)["backup"].(map[string]any)
	require.True(t, ok, "Status has backup")
	return said
}
