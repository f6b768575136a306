package catalogtest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func backups(t require.TestingT, c Catalog, fn func(backup.Tx) error) {
	require.NoError(t, c.Backup().Update(context.Background(), fn))
}

func repoN(n int, g volspec.VMGroupID) backup.Repo {
	return backup.Repo{
		ID: volspec.RepositoryID(fmt.Sprintf("r%03d", n)), Group: g, Name: fmt.Sprintf("repo%d", n), State: "online",
		Place: fmt.Sprintf("directory:/srv/%d", n), Stored: int64(n) << 40,
		Body: backup.RepoBody{Location: repository.Location{Type: "directory", Path: fmt.Sprintf("/srv/%d", n)}, Created: time.Unix(int64(n), 5000).UTC()},
	}
}

func pointN(n int, r backup.Repo) backup.Point {
	at := time.Unix(1000+int64(n/2), 0).UTC() // two of each moment
	return backup.Point{
		ID: volspec.PointID(fmt.Sprintf("p%03d", n)), Group: r.Group, Repository: r.ID, VolumeID: "v1", Volume: "db", Datastore: "d1",
		Created: at, State: volspec.Completed,
		Body: backup.PointBody{Point: repository.Point{ID: volspec.PointID(fmt.Sprintf("p%03d", n)), Size: 1 << 40, Created: at, Meta: json.RawMessage(`{"a":1}`)}},
	}
}

// backupRecords: repositories, secrets, policies, bases and alarms come back
// as they were put, and names and places are unique.
func backupRecords(t *testing.T, b Backend) {
	c := open(t, b)
	one, two := repoN(1, groupA), repoN(2, groupB)
	prepared := repoN(3, "")
	policy := backup.Policy{ID: "pol", Group: groupA, Name: "nightly", Source: "file",
		PolicyBody: backup.PolicyBody{Spec: wire.Policy{Volumes: []string{"*"}, Keep: wire.Keep{Daily: 7}}, Changed: time.Unix(9, 0).UTC()}}
	base := backup.Base{Volume: "v1", Repository: one.ID, Snapshot: "s1", Point: "p1", Size: 5 * volspec.GiB, Change: "moment/1"}
	alarm := backup.Alarm{ID: "a", Group: groupA, Kind: "k", Object: "o", Since: time.Unix(5, 0).UTC(), Told: time.Unix(6, 0).UTC(), Detail: "why"}
	backups(t, c, func(tx backup.Tx) error {
		for _, r := range []backup.Repo{one, two, prepared} {
			require.NoError(t, tx.PutRepository(r))
			require.NoError(t, tx.PutSealed(r.ID, "sealed "+string(r.ID)))
		}
		require.NoError(t, tx.PutPolicy(policy))
		require.NoError(t, tx.PutBase(base))
		require.NoError(t, tx.PutAlarm(alarm))
		return tx.PutAllowance(groupA, volspec.Amounts{Sockets: 2, VMs: volspec.Unbounded, Volumes: 0, Storage: 7 << 40})
	})
	backups(t, c, func(tx backup.Tx) error {
		got, err := tx.RepositoryByName(groupA, "repo1")
		require.NoError(t, err)
		assert.Equal(t, one, got)
		all, err := tx.Repositories("")
		require.NoError(t, err)
		assert.Len(t, all, 3)
		mine, err := tx.Repositories(groupB)
		require.NoError(t, err)
		assert.Equal(t, []backup.Repo{two}, mine)
		sealed, err := tx.AllSealed()
		require.NoError(t, err)
		assert.Equal(t, "sealed r002", sealed[two.ID])
		p, err := tx.PolicyByName(groupA, "nightly")
		require.NoError(t, err)
		assert.Equal(t, policy, p)
		bases, err := tx.Bases("v1")
		require.NoError(t, err)
		assert.Equal(t, []backup.Base{base}, bases)
		alarms, err := tx.Alarms(groupA)
		require.NoError(t, err)
		assert.Equal(t, []backup.Alarm{alarm}, alarms)
		allowances, err := tx.Allowances()
		require.NoError(t, err)
		assert.Equal(t, map[volspec.VMGroupID]volspec.Amounts{groupA: {Sockets: 2, VMs: volspec.Unbounded, Volumes: 0, Storage: 7 << 40}}, allowances)

		require.NoError(t, tx.AddStored(one.ID, 11))
		sum, err := tx.StoredBy(groupA)
		require.NoError(t, err)
		assert.EqualValues(t, 1<<40+11, sum)
		none, err := tx.StoredBy("nobody")
		require.NoError(t, err)
		assert.Zero(t, none)

		twin := repoN(4, groupA)
		twin.Name = "repo1"
		assert.Equal(t, errkind.Exists, errkind.Of(tx.PutRepository(twin)), "a name is taken")
		twin = repoN(4, groupB)
		twin.Place = one.Place
		assert.Equal(t, errkind.Exists, errkind.Of(tx.PutRepository(twin)), "a place is taken, by whomever")
		again := policy
		again.ID = "other"
		assert.Equal(t, errkind.Exists, errkind.Of(tx.PutPolicy(again)))
		return nil
	})
	for name, absent := range map[string]func(tx backup.Tx) error{
		"repository": func(tx backup.Tx) error { _, err := tx.Repository("x"); return err },
		"name":       func(tx backup.Tx) error { _, err := tx.RepositoryByName(groupB, "repo1"); return err },
		"key":        func(tx backup.Tx) error { _, err := tx.Sealed("x"); return err },
		"policy":     func(tx backup.Tx) error { _, err := tx.Policy("x"); return err },
		"point":      func(tx backup.Tx) error { _, err := tx.Point("x"); return err },
	} {
		assert.Equal(t, errkind.NotFound, errkind.Of(c.Backup().View(context.Background(), absent)), name)
	}
}

// setsOfPoints: the points of a VM's disks are found by set, by VM and by
// name, and one of them stands for its set in pages.
func setsOfPoints(t *testing.T, b Backend) {
	c := open(t, b)
	one := repoN(1, groupA)
	backups(t, c, func(tx backup.Tx) error {
		require.NoError(t, tx.PutRepository(one))
		require.NoError(t, tx.PutSealed(one.ID, "x"))
		require.NoError(t, tx.PutPoint(pointN(2, one)))
		for n := 10; n < 16; n++ { // two sets of three disks
			p := pointN(n, one)
			p.Set, p.VMID, p.VM, p.VolumeID = volspec.PointID(fmt.Sprintf("set%d", (n-10)/3)), "vm-1", "web", volspec.VolumeID(fmt.Sprintf("d%d", n%3))
			p.Created = pointN(10*((n-10)/3+1), one).Created
			p.Deleting = n == 11
			require.NoError(t, tx.PutPoint(p))
		}
		return tx.PutPoint(pointN(30, one))
	})
	ids := func(q backup.PointQuery) (out []string) {
		backups(t, c, func(tx backup.Tx) error {
			all, err := tx.Points(q)
			for _, p := range all {
				out = append(out, string(p.ID))
			}
			return err
		})
		return out
	}
	assert.Equal(t, []string{"p030", "p013", "p010", "p002"}, ids(backup.PointQuery{Group: groupA, Heads: true}))
	assert.Equal(t, []string{"p010", "p002"}, ids(backup.PointQuery{Group: groupA, Heads: true, Before: pointN(20, one).Created, BeforeID: "p013"}))
	assert.Equal(t, []string{"p015", "p014", "p013"}, ids(backup.PointQuery{Set: "set1"}))
	assert.Equal(t, []string{"p013", "p010"}, ids(backup.PointQuery{Group: groupA, VM: "web", Heads: true}))
	assert.Len(t, ids(backup.PointQuery{VMID: "vm-1"}), 6)
	assert.Empty(t, ids(backup.PointQuery{Group: groupB, VM: "web"}))
	assert.Empty(t, ids(backup.PointQuery{Set: "set9"}))
	backups(t, c, func(tx backup.Tx) error {
		p, err := tx.Point("p011")
		require.NoError(t, err)
		assert.Equal(t, []any{volspec.PointID("set0"), volspec.VMID("vm-1"), "web"}, []any{p.Set, p.VMID, p.VM})
		return err
	})
}

// recoveryPoints: listed newest first, page by page, of what was asked for
// only; a repository takes its points, bases and key with it.
func recoveryPoints(t *testing.T, b Backend) {
	c := open(t, b)
	one, two := repoN(1, groupA), repoN(2, groupB)
	foreign := pointN(100, two)
	backups(t, c, func(tx backup.Tx) error {
		for _, r := range []backup.Repo{one, two} {
			require.NoError(t, tx.PutRepository(r))
			require.NoError(t, tx.PutSealed(r.ID, "x"))
		}
		for n := range 10 {
			p := pointN(n, one)
			p.Deleting = n == 3
			require.NoError(t, tx.PutPoint(p))
		}
		require.NoError(t, tx.PutBase(backup.Base{Volume: "v1", Repository: one.ID, Snapshot: "s", Point: "p009"}))
		return tx.PutPoint(foreign)
	})
	ids := func(q backup.PointQuery) (out []string) {
		backups(t, c, func(tx backup.Tx) error {
			all, err := tx.Points(q)
			for _, p := range all {
				out = append(out, string(p.ID))
			}
			return err
		})
		return out
	}
	assert.Equal(t, []string{"p009", "p008", "p007"}, ids(backup.PointQuery{Group: groupA, Limit: 3}))
	assert.Equal(t, []string{"p007", "p006", "p005"}, ids(backup.PointQuery{Group: groupA, Before: pointN(8, one).Created, BeforeID: "p008", Limit: 3}))
	assert.Equal(t, []string{"p003", "p002", "p001", "p000"}, ids(backup.PointQuery{Group: groupA, Volume: "db", Before: pointN(2, one).Created}), "not after a moment")
	assert.Equal(t, []string{"p003"}, ids(backup.PointQuery{Repository: one.ID, Deleting: true}))
	assert.Equal(t, []string{"p100"}, ids(backup.PointQuery{Group: groupB}))
	assert.Empty(t, ids(backup.PointQuery{Group: groupB, VolumeID: "v2"}))
	backups(t, c, func(tx backup.Tx) error {
		p, err := tx.Point("p100")
		require.NoError(t, err)
		assert.Equal(t, foreign, p)
		return tx.DeleteRepository(one.ID)
	})
	assert.Equal(t, []string{"p100"}, ids(backup.PointQuery{}))
	backups(t, c, func(tx backup.Tx) error {
		bases, err := tx.Bases("")
		assert.Empty(t, bases)
		return err
	})
	// A vmgroup with a repository stays; without, its policies go with it.
	del := func(id volspec.VMGroupID) error {
		return c.Tenancy().Update(context.Background(), func(tx tenancy.Tx) error { return tx.DeleteGroup(id) })
	}
	assert.Equal(t, errkind.InUse, errkind.Of(del(groupB)))
	backups(t, c, func(tx backup.Tx) error {
		return tx.PutPolicy(backup.Policy{ID: "pol", Group: groupA, Name: "nightly"})
	})
	require.NoError(t, del(groupA))
	backups(t, c, func(tx backup.Tx) error {
		left, err := tx.Policies("")
		assert.Empty(t, left)
		return err
	})
}
