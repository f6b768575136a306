package catalogtest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func tenantDetails(t *testing.T, b Backend) {
	c := open(t, b)
	d := tenancy.Details{
		Profile:     wire.Profile{Email: "Ops@Acme.example", Phone: "1", Website: "https://acme.example", Address: "x", Labels: []string{"eu", "gold"}},
		GuestAccess: true, GuestFiles: true, WithData: true, Deleted: time.Unix(7, 0).UTC(),
	}
	groups(t, c, func(tx tenancy.Tx) error {
		none, err := tx.Details(groupA)
		require.NoError(t, err)
		assert.Zero(t, none)
		require.Equal(t, errkind.NotFound, errkind.Of(tx.PutDetails("nobody", d)))
		return tx.PutDetails(groupA, d)
	})
	groups(t, c, func(tx tenancy.Tx) error {
		got, err := tx.Details(groupA)
		assert.Equal(t, d, got)
		require.NoError(t, err)
		require.NoError(t, tx.PutGroup(volspec.VMGroup{ID: groupA, Name: "A", State: volspec.GroupDeleted}))
		got, err = tx.Details(groupA)
		assert.Equal(t, d, got, "PutGroup leaves them")
		require.NoError(t, err)
		for until, want := range map[int64]int{6: 0, 7: 1} {
			all, err := tx.Deleted(time.Unix(until, 0))
			require.NoError(t, err)
			assert.Len(t, all, want)
		}
		require.NoError(t, tx.PutGroup(volspec.VMGroup{ID: groupA, Name: "A", State: volspec.GroupDeleted, Removing: true}))
		all, err := tx.Deleted(time.Unix(0, 0))
		assert.Len(t, all, 1, "its removal has begun")
		return err
	})
	groups(t, c, func(tx tenancy.Tx) error { return tx.DeleteGroup(groupA) })
}

// tenantFacts: what is counted for a page is what its lists are sorted and
// filtered by.
func tenantFacts(t *testing.T, b Backend) {
	c := open(t, b)
	groups(t, c, func(tx tenancy.Tx) error {
		require.NoError(t, tx.PutMember(volspec.Member{VM: "vm", Name: "vm", Group: groupA}))
		return tx.PutFolder(volspec.FolderGrant{Group: groupA, Folder: "/dc/vm/x"})
	})
	volumes(t, c, func(tx volume.Tx) error {
		require.NoError(t, tx.PutVolume(record(1, groupA, "ds", "v")))
		trash := record(2, groupA, "ds", "w")
		trash.State = volspec.Trashed
		return tx.PutVolume(trash)
	})
	require.NoError(t, c.Backup().Update(t.Context(), func(tx backup.Tx) error {
		for i, kind := range []string{"rpo-missed", "backup-quota", "job-failed", "a kind of tomorrow"} {
			require.NoError(t, tx.PutAlarm(backup.Alarm{ID: fmt.Sprint(i), Group: groupA, Kind: kind}))
		}
		require.NoError(t, tx.PutAlarm(backup.Alarm{ID: "b", Group: groupB, Kind: "rpo-missed"}))
		for i, stored := range []int64{5, 6} {
			id := volspec.RepositoryID(fmt.Sprint("r", i))
			require.NoError(t, tx.PutRepository(backup.Repo{ID: id, Group: groupA, Name: string(id), Place: string(id), Stored: stored}))
			require.NoError(t, tx.PutSealed(id, "sealed"))
		}
		return nil
	}))
	groups(t, c, func(tx tenancy.Tx) error {
		facts, err := tx.Facts([]volspec.VMGroupID{groupA, groupB, "nobody"})
		require.NoError(t, err)
		assert.Equal(t, tenancy.Facts{Alarms: 2, Notices: 2, VMs: 1, Folders: 1, Volumes: 1, Repositories: 2, Transporters: 1}, facts[groupA])
		assert.Equal(t, tenancy.Facts{Notices: 1, Transporters: 1}, facts[groupB])
		assert.Zero(t, facts["nobody"])
		for what, q := range map[string]tenancy.TenantFilter{
			"health": {Health: p(2)}, "words": {Words: "a"}, "first by storage": {Sort: tenancy.SortStorage, Desc: true, Limit: 1},
			"first by health": {Sort: tenancy.SortHealth, Desc: true, Limit: 1},
		} {
			if q.Sort == "" {
				q.Sort, q.Limit = tenancy.SortName, 10
			}
			page, _, _, err := tx.TenantPage(q)
			require.NoError(t, err, what)
			require.Len(t, page, 1, what)
			assert.Equal(t, groupA, page[0].ID, what)
		}
		return nil
	})
}

func p[T any](v T) *T { return &v }

// tenantPages: whatever is made and removed between two pages, a tenant that is
// there all the time is listed once, in every order.
func tenantPages(t *testing.T, b Backend) {
	c := b.Open(t)
	const stay = 23
	r := rand.New(rand.NewPCG(1, 2))
	put := func(tx tenancy.Tx, name, mail string, state volspec.GroupState) error {
		id := volspec.VMGroupID(fmt.Sprintf("%08x-%s", r.Uint32(), name))
		if err := tx.PutGroup(volspec.VMGroup{ID: id, Name: name, Description: "Österreich 100%_" + name, State: state}); err != nil {
			return err
		}
		if err := tx.PutDetails(id, tenancy.Details{Profile: wire.Profile{Email: mail, Labels: []string{"all", name}}}); err != nil {
			return err
		}
		if r.IntN(2) == 0 {
			return tx.Bind(id, nil) // not configured either way
		}
		return nil
	}
	groups(t, c, func(tx tenancy.Tx) error {
		for i := range stay {
			require.NoError(t, put(tx, fmt.Sprintf("stay%02d", i), fmt.Sprintf("Ops%d@example.com", i), []volspec.GroupState{volspec.GroupEnabled, volspec.GroupDisabled}[i%2]))
		}
		return nil
	})
	for _, q := range []tenancy.TenantFilter{
		{Sort: tenancy.SortName}, {Sort: tenancy.SortName, Desc: true}, {Sort: tenancy.SortHealth}, {Sort: tenancy.SortHealth, Desc: true},
		{Sort: tenancy.SortStorage}, {Sort: tenancy.SortUsers, Desc: true}, {Sort: tenancy.SortName, Words: "österreich 100%_"}, {Sort: tenancy.SortName, Label: "all"},
	} {
		q.Limit = 4
		seen := map[string]int{}
		for n := 0; ; n++ {
			require.Less(t, n, 100)
			var page []tenancy.Tenant
			groups(t, c, func(tx tenancy.Tx) (err error) {
				var places []tenancy.TenantPlace
				var total int
				page, places, total, err = tx.TenantPage(q)
				require.NoError(t, err)
				require.GreaterOrEqual(t, total, stay)
				require.LessOrEqual(t, len(page), q.Limit)
				if len(page) > 0 {
					q.After = &places[len(places)-1]
				}
				all, err := tx.Groups()
				for _, g := range all {
					if g.Name[0] != 's' && r.IntN(2) == 0 {
						require.NoError(t, tx.DeleteGroup(g.ID))
					}
				}
				for range r.IntN(3) {
					require.NoError(t, put(tx, fmt.Sprintf("%c%x", "atz"[r.IntN(3)], r.Uint32()), "x@example.com", volspec.GroupEnabled))
				}
				return err
			})
			for _, g := range page {
				seen[g.Name]++
			}
			if len(page) < q.Limit {
				break
			}
		}
		for i := range stay {
			assert.Equal(t, 1, seen[fmt.Sprintf("stay%02d", i)], "%+v", q)
		}
		for name, n := range seen {
			assert.Equal(t, 1, n, name)
		}
	}
	groups(t, c, func(tx tenancy.Tx) error {
		for what, x := range map[string]struct {
			f    tenancy.TenantFilter
			want int
		}{
			"words of a name": {tenancy.TenantFilter{Words: "stay1"}, 10}, "an e-mail": {tenancy.TenantFilter{Words: "ops22@"}, 1},
			"no wildcard": {tenancy.TenantFilter{Words: "stay%1"}, 0}, "one label": {tenancy.TenantFilter{Label: "stay07"}, 1},
			"a state": {tenancy.TenantFilter{State: p(volspec.GroupDisabled)}, stay / 2}, "none is good": {tenancy.TenantFilter{Health: p(0)}, 0},
			"no such state": {tenancy.TenantFilter{State: p(volspec.GroupDeleted)}, 0},
		} {
			x.f.Sort, x.f.Limit = tenancy.SortName, 100
			page, _, total, err := tx.TenantPage(x.f)
			require.NoError(t, err, what)
			assert.Len(t, page, x.want, what)
			assert.Equal(t, x.want, total, what)
		}
		return nil
	})
}
