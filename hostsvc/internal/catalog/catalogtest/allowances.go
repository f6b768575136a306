package catalogtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

// allowances: a pool is kept as it was put; what has a recovery point or an open
// backup is in use, once.
func allowances(t *testing.T, b Backend) {
	c := open(t, b)
	some := volspec.Amounts{Sockets: 4, VMs: 0, Volumes: volspec.Unbounded, Storage: 1 << 50}
	groups(t, c, func(tx tenancy.Tx) error {
		pool, err := tx.Pool()
		require.NoError(t, err)
		assert.Equal(t, volspec.NoBounds, pool)
		totals, err := tx.Totals()
		require.NoError(t, err)
		assert.Empty(t, totals)
		use, err := tx.Use(groupA)
		require.NoError(t, err)
		assert.Zero(t, use)
		require.NoError(t, tx.PutAllowance(groupB, volspec.NoBounds))
		require.NoError(t, tx.PutAllowance(groupB, some))
		return tx.PutPool(some)
	})
	backups(t, c, func(tx backup.Tx) error {
		for _, r := range []backup.Repo{{ID: "r1", Group: groupA, Name: "r1", Place: "1", Stored: 5}, {ID: "r2", Group: groupA, Name: "r2", Place: "2", Stored: 6}, {ID: "r3", Name: "r3", Place: "3", Stored: 7}} {
			require.NoError(t, tx.PutRepository(r))
			require.NoError(t, tx.PutSealed(r.ID, "sealed"))
		}
		for _, p := range []backup.Point{
			{ID: "1", Group: groupA, Repository: "r1", VolumeID: "v1"}, {ID: "2", Group: groupA, Repository: "r2", VolumeID: "v1"},
			{ID: "3", Group: groupA, Repository: "r1", VolumeID: "d1", VMID: "m1", Set: "s"}, {ID: "4", Group: groupA, Repository: "r1", VolumeID: "d2", VMID: "m1", Set: "s"},
			{ID: "5", Group: groupB, Repository: "r1", VolumeID: "v9"},
		} {
			require.NoError(t, tx.PutPoint(p))
		}
		return nil
	})
	jobs(t, c, func(tx job.Tx) error {
		for n, j := range []job.Job{
			{Kind: "backup", Object: "v1", State: job.Queued}, {Kind: "backup", Object: "v2", State: job.Running}, {Kind: "backup", Object: "v3", State: job.Failed},
			{Kind: "vm-backup", Object: "m2", State: job.Queued}, {Kind: "vm-backup", Object: "m3", State: job.Done}, {Kind: "verify", Object: "v4", State: job.Queued},
		} {
			with := jobN(n, groupA, j.State)
			with.Kind, with.Object = j.Kind, j.Object
			require.NoError(t, tx.PutJob(with))
		}
		return nil
	})
	groups(t, c, func(tx tenancy.Tx) error {
		pool, err := tx.Pool()
		require.NoError(t, err)
		assert.Equal(t, some, pool)
		all, err := tx.Allowances()
		require.NoError(t, err)
		assert.Equal(t, map[volspec.VMGroupID]volspec.Amounts{groupB: some}, all)
		one, err := tx.Allowances(groupA)
		require.NoError(t, err)
		assert.Empty(t, one)

		a, err := tx.Use(groupA)
		require.NoError(t, err)
		assert.ElementsMatch(t, []volspec.VMID{"m1", "m2"}, a.VMs)
		assert.ElementsMatch(t, []volspec.VolumeID{"v1", "v2"}, a.Volumes)
		assert.EqualValues(t, 11, a.Stored)
		b, err := tx.Use(groupB)
		require.NoError(t, err)
		assert.Equal(t, volspec.Use{Volumes: []volspec.VolumeID{"v9"}}, b)
		for _, of := range [][]volspec.VMGroupID{nil, {groupA}, {groupB}, {groupA, groupB}} {
			got, err := tx.Totals(of...)
			require.NoError(t, err)
			want := map[volspec.VMGroupID]volspec.Total{}
			for g, u := range map[volspec.VMGroupID]volspec.Use{groupA: a, groupB: b} {
				if len(of) == 0 || slices.Contains(of, g) {
					want[g] = volspec.Total{VMs: got[g].VMs, Volumes: int64(len(u.Volumes)), Stored: u.Stored}
					assert.ElementsMatch(t, u.VMs, got[g].VMs)
				}
			}
			assert.Equal(t, want, got, "of %q", of)
		}
		all, err = tx.Allowances(groupA, groupB)
		require.NoError(t, err)
		assert.Equal(t, map[volspec.VMGroupID]volspec.Amounts{groupB: some}, all)
		return nil
	})
}
