package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	quotaVolume = 16 << 20
	quotaCount  = 100
)

// 200 volumes created at the same moment by two guests, against a quota that
// has room for 100: exactly 100 of them exist afterwards.
func TestQuotaIsExact(t *testing.T) {
	r := newRig(t, "quota", lab.Folder(t, own("quota")), plains(t, "p1", "p2"), lab.Bin, nil)
	exactly(t, r, r.guests)
}

// The same with each guest behind a mooringd of its own: the two share one
// PostgreSQL and one datastore.
func TestQuotaIsExactAcrossServices(t *testing.T) {
	a, b := twoServices(t)
	exactly(t, a, slices.Concat(a.guests, b.guests))
}

// Two services on one catalog: each sees what the other makes, a volume is
// with one guest at a time, and neither takes the other's for orphaned. One
// dies: what its guests hold stays theirs.
func TestTwoServicesOneCatalog(t *testing.T) {
	a, b := twoServices(t)
	g, h := a.guests[0], b.guests[0]
	create(t, g.Guest, "shared", "size=16mb")
	require.Equal(t, []string{"shared@" + a.ds.Name}, listed(t, h.Guest))
	keep(t, g.Guest, "user", "shared")
	sh(t, h.Guest, "shared", "true").Fails(t, "attached to VM p1")
	h.Docker(t.Context(), "volume", "rm", "shared").Fails(t, "in use")
	time.Sleep(4 * time.Second) // several reconciliations of both
	require.Equal(t, "p1", b.volume(t, "shared").AttachedTo)
	require.NoError(t, a.agree(t.Context()))

	a.Kill(t)
	time.Sleep(3 * time.Second)
	require.Equal(t, "p1", b.volume(t, "shared").AttachedTo, "its guest runs on without the service")
	g.Docker(t.Context(), "exec", "user", "sh", "-c", "echo on >/vol/on").OK(t)
	a.Start(t)
	drop(t, g.Guest, "user")
	a.detached(t, "shared")
	require.Equal(t, "on", sh(t, h.Guest, "shared", "cat /vol/on").OK(t).Stdout)
	b.detached(t, "shared")
	remove(t, h.Guest, "shared")
}

// twoServices are two rigs, with guests p1 and p2, on one catalog and one
// datastore.
func twoServices(t *testing.T) (a, b *rig) {
	t.Helper()
	dsn, ds := lab.Postgres(t), lab.Folder(t, own(strings.ToLower(t.Name())))
	catalog := func(c *harness.Config) {
		c.Catalog.Driver, c.Catalog.DSNFile = "postgres", dsn
		c.Volume.AttachWait = "1s"
	}
	a = newRig(t, filepath.Base(ds.Path)+"-a", ds, plains(t, "p1"), lab.Bin, catalog)
	b = newRig(t, filepath.Base(ds.Path)+"-b", ds, plains(t, "p2"), lab.Bin, func(c *harness.Config) {
		catalog(c)
		c.Backup = map[string]any{"master_key_file": filepath.Join(a.Config.StateDir, "master.key")}
	})
	return a, b
}

// exactly lets the guests, which are of one vmgroup, race for its quota.
func exactly(t *testing.T, r *rig, guests []*plain) {
	t.Helper()
	limit := volspec.Size(quotaCount * quotaVolume)
	require.NoError(t, r.admin.SetAccess(t.Context(), team, r.ds.Name, wire.SetAccess{TotalSize: &limit}))
	var made atomic.Int32
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range 2 * quotaCount {
		g := guests[i%len(guests)]
		wg.Go(func() {
			res := g.API(t.Context(), http.MethodPost, "/volumes/create", map[string]any{
				"Name": fmt.Sprintf("race-%03d", i), "Driver": harness.Driver, "DriverOpts": map[string]string{"size": fmt.Sprint(quotaVolume, "b")},
			})
			switch {
			case res.Code == 0:
				made.Add(1)
			case !strings.Contains(res.Stderr, overQuota):
				t.Errorf("refused for another reason: %s", res)
			}
		})
	}
	wg.Wait()
	t.Logf("%d creates took %s", 2*quotaCount, time.Since(begin).Round(time.Millisecond))
	require.EqualValues(t, quotaCount, made.Load())
	all, err := r.admin.Volumes(t.Context(), hostclient.VolumesQuery{VMGroup: team, State: "all"})
	require.NoError(t, err)
	require.Len(t, all.Volumes, quotaCount)
	require.NoError(t, r.agree(t.Context()))

	// Full to the last byte; what is given back can be used again, once.
	tryCreate(t, guests[0].Guest, "more", "size=16mb").Fails(t, overQuota)
	remove(t, guests[0].Guest, all.Volumes[0].Name)
	create(t, guests[len(guests)-1].Guest, "more", "size=16mb")
	tryCreate(t, guests[0].Guest, "evenmore", "size=16mb").Fails(t, overQuota)
}
