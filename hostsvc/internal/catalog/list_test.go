package catalog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// fleet is 10,000 volumes in 1000 vmgroups.
func fleet(tb testing.TB, c *catalog.Catalog) {
	tb.Helper()
	catalog.Fleet(tb, c, 1000)
}

func groupID(g int) volspec.VMGroupID { return volspec.VMGroupID(fmt.Sprintf("g%d", g)) }

// tenantView is what one tenant's docker volume ls asks.
func tenantView(tb testing.TB, c *catalog.Catalog, g volspec.VMGroupID) {
	require.NoError(tb, c.Volumes().View(context.Background(), func(tx volume.Tx) error {
		if _, err := tx.Rights(g); err != nil {
			return err
		}
		all, err := tx.Volumes(volume.Filter{Group: g, States: []volspec.State{volspec.Creating, volspec.Ready}, Limit: 1000})
		require.Len(tb, all, 9)
		return err
	}))
}

// One tenant's listing costs what the tenant has, not what the fleet has.
func TestTenantViewOfALargeFleet(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			c := openCatalog(t, o)
			fleet(t, c)
			require.NoError(t, c.Check(t.Context()))
			tenantView(t, c, groupID(0))
			best := time.Hour
			for g := range 20 {
				start := time.Now()
				tenantView(t, c, groupID(g*37))
				best = min(best, time.Since(start))
			}
			assert.Less(t, best, 50*time.Millisecond)
		})
	}
}

// No listing that is made often reads the whole table.
func TestListingsUseIndexes(t *testing.T) {
	c := openCatalog(t, sqliteOptions(t))
	for name, want := range map[string]struct {
		f     volume.Filter
		index string
	}{
		"tenant":         {volume.Filter{Group: "g"}, "volumes_in_order (group_id=?)"},
		"tenant, live":   {volume.Filter{Group: "g", States: []volspec.State{volspec.Ready}}, "volumes_in_order (group_id=?)"},
		"tenant's trash": {volume.Filter{Group: "g", States: []volspec.State{volspec.Trashed}}, "INDEX volumes_"},
		"next page":      {volume.Filter{Group: "g", After: volume.Cursor{Group: "g", Name: "n", Datastore: "d", ID: "i"}, Limit: 9}, "volumes_in_order (group_id=? AND (name,datastore,id)>"},
		"everything":     {volume.Filter{After: volume.Cursor{Group: "g", Name: "n", Datastore: "d", ID: "i"}, Limit: 9}, "volumes_in_order ((group_id,name,datastore,id)>"},
		"trash":          {volume.Filter{States: []volspec.State{volspec.Trashed}}, "volumes_unsettled (state=?)"},
		"unsettled":      {volume.Filter{States: []volspec.State{volspec.Creating, volspec.Deleting}}, "volumes_unsettled (state=?)"},
		"held":           {volume.Filter{Held: true}, "SCAN volumes USING INDEX volumes_held"},
		"of a VM":        {volume.Filter{Holder: "vm"}, "volumes_by_holder (holder_vm=?)"},
		"busy":           {volume.Filter{Busy: true}, "SCAN volumes USING INDEX volumes_busy"},
		"stale":          {volume.Filter{Stale: true}, "SCAN volumes USING INDEX volumes_stale"},
		"views":          {volume.Filter{Views: true}, "SCAN volumes USING INDEX volumes_views"},
		"datastore":      {volume.Filter{Datastore: "ds"}, "volumes_by_datastore (datastore=?)"},
	} {
		query, args := catalog.ListQuery(want.f)
		plan := catalog.Plan(t, c, "EXPLAIN QUERY PLAN", query, args...)
		assert.Contains(t, plan, want.index, name)
		if strings.Contains(name, "page") || name == "everything" || strings.HasPrefix(name, "tenant,") {
			assert.NotContains(t, plan, "TEMP B-TREE", "%s is read in order, not sorted", name)
		}
	}
}

func benchmarkBackends(b *testing.B, fn func(b *testing.B, c *catalog.Catalog)) {
	b.Run("sqlite", func(b *testing.B) { fn(b, openCatalog(b, sqliteOptions(b))) })
	b.Run("postgres", func(b *testing.B) { fn(b, openCatalog(b, postgresOptions(b))) })
}

func BenchmarkListGroup(b *testing.B) {
	benchmarkBackends(b, func(b *testing.B, c *catalog.Catalog) {
		fleet(b, c)
		n := 0
		for b.Loop() {
			tenantView(b, c, groupID(n%1000))
			n++
		}
	})
}

// BenchmarkCreateTx is the transaction of a volume create: rights, usage, the
// key, the record, the audit line.
func BenchmarkCreateTx(b *testing.B) {
	benchmarkBackends(b, func(b *testing.B, c *catalog.Catalog) {
		fleet(b, c)
		n := 0
		for b.Loop() {
			n++
			r := volume.Record{
				ID: volspec.VolumeID(fmt.Sprint("new", n)), Key: volume.Key{Group: groupID(n % 1000), Datastore: "ds0", Name: fmt.Sprint("new", n)},
				State: volspec.Creating, Size: volspec.GiB, Op: volume.Op{Kind: volume.OpCreate, Instance: "i"},
			}
			require.NoError(b, c.Volumes().Update(context.Background(), func(tx volume.Tx) error {
				if _, err := tx.Rights(r.Key.Group); err != nil {
					return err
				}
				if _, err := tx.Usage(r.Key.Group, r.Key.Datastore); err != nil {
					return err
				}
				if err := tx.PutVolume(r); err != nil {
					return err
				}
				return tx.AddAudit(volspec.Audit{Action: "create", Object: r.Key.Name})
			}))
		}
	})
}
