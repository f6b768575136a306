package catalog_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// onBoth runs fn with two processes on one catalog, of each kind.
func onBoth(t *testing.T, fn func(t *testing.T, cats [2]*catalog.Catalog)) {
	t.Run("sqlite", func(t *testing.T) {
		o := sqliteOptions(t)
		fn(t, [2]*catalog.Catalog{openCatalog(t, o), openCatalog(t, o)})
	})
	t.Run("postgres", func(t *testing.T) {
		o := postgresOptions(t)
		fn(t, [2]*catalog.Catalog{openCatalog(t, o), openCatalog(t, o)})
	})
}

// However many edit allowances and the pool at once, what is delegated is never
// more than the pool, and what was refused changed nothing.
func TestDelegatedNeverExceedsThePool(t *testing.T) {
	root := volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}
	onBoth(t, func(t *testing.T, cats [2]*catalog.Catalog) {
		var services []*tenancy.Service
		for _, c := range cats {
			services = append(services, tenancy.New(tenancy.Options{Store: c.Tenancy()}))
		}
		const groups, size = 5, 30
		require.NoError(t, cats[0].Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
			for n := range groups {
				require.NoError(t, tx.PutGroup(volspec.VMGroup{ID: volspec.VMGroupID(fmt.Sprint("id", n)), Name: fmt.Sprint("g", n)}))
			}
			return nil
		}))
		require.NoError(t, cats[0].Backup().Update(t.Context(), func(tx backup.Tx) error {
			require.NoError(t, tx.PutRepository(backup.Repo{ID: "r", Group: "id0", Name: "r", Place: "p", Stored: 7}))
			for n := range 4 {
				require.NoError(t, tx.PutPoint(backup.Point{ID: volspec.PointID(fmt.Sprint(n)), Group: "id0", Repository: "r", VolumeID: volspec.VolumeID(fmt.Sprint("v", n))}))
			}
			return nil
		}))
		some := func(r *rand.Rand, below int64) wire.Amounts {
			return wire.Amounts{VMs: new(r.Int64N(below)), Volumes: new(r.Int64N(below)), Storage: new(r.Int64N(below))}
		}
		_, err := services[0].SetPool(t.Context(), root, wire.Amounts{VMs: new(int64(size)), Volumes: new(int64(size)), Storage: new(int64(size))})
		require.NoError(t, err)

		check := func(p wire.Pool) {
			for kind, s := range map[string]wire.PoolShare{"VMs": p.VMs, "volumes": p.Volumes, "storage": p.Storage} {
				assert.True(t, s.Bounded)
				assert.LessOrEqual(t, s.Delegated, s.Size, kind)
			}
			assert.False(t, p.Sockets.Bounded)
		}
		var done, refused atomic.Int64
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(worker), 1))
				s := services[worker%2]
				for range 25 {
					var err error
					if r.IntN(5) == 0 {
						_, err = s.SetPool(t.Context(), root, wire.Amounts{VMs: new(size/2 + r.Int64N(size)), Volumes: new(size/2 + r.Int64N(size)), Storage: new(size/2 + r.Int64N(size))})
					} else {
						_, err = s.SetAllowance(t.Context(), root, fmt.Sprint("g", r.IntN(groups)), some(r, 12))
					}
					switch {
					case err == nil:
						done.Add(1)
					case assert.Equal(t, errkind.Quota, errkind.Of(err), err):
						refused.Add(1)
					}
					p, err := s.Pool(t.Context())
					if assert.NoError(t, err) {
						check(p)
					}
				}
			})
		}
		all.Wait()
		assert.Positive(t, done.Load())
		assert.Positive(t, refused.Load())
		used, err := services[0].Allowance(t.Context(), "g0")
		require.NoError(t, err)
		assert.EqualValues(t, 4, used.Volumes.Used)
		assert.EqualValues(t, 7, used.Storage.Used)
		assert.Equal(t, max(used.Volumes.Desired, 4), used.Volumes.Effective, "what is used counts even if less is allowed")
	})
}

// Fifty first backups at once, with room for ten, are exactly ten; each further
// backup of what is protected is let through.
func TestAdmissionIsExact(t *testing.T) {
	root := volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}
	onBoth(t, func(t *testing.T, cats [2]*catalog.Catalog) {
		g := volspec.VMGroup{ID: "id", Name: "g"}
		require.NoError(t, cats[0].Tenancy().Update(t.Context(), func(tx tenancy.Tx) error { return tx.PutGroup(g) }))
		services := [2]*tenancy.Service{tenancy.New(tenancy.Options{Store: cats[0].Tenancy()}), tenancy.New(tenancy.Options{Store: cats[1].Tenancy()})}
		_, err := services[0].SetAllowance(t.Context(), root, "g", wire.Amounts{VMs: new(int64(10))})
		require.NoError(t, err)
		runners := [2]*job.Runner{}
		for i, c := range cats {
			runners[i] = job.New(job.Options{Store: c.Jobs(), Kinds: map[string]job.Handler{"vm-backup": {}}})
		}
		protect := func(process, vm int) error {
			admit := services[process].Admission(t.Context())
			id := volspec.VMID(fmt.Sprint("vm", vm))
			return cats[process].Backup().Update(t.Context(), func(tx backup.Tx) error {
				if err := admit(tx, g, tenancy.Newcomer{Name: string(id), VM: id}); err != nil {
					return err
				}
				_, _, err := runners[process].Put(tx, job.Job{Group: g.ID, Kind: "vm-backup", Object: string(id)})
				return err
			})
		}
		var admitted sync.Map
		var all sync.WaitGroup
		for n := range 50 {
			all.Go(func() {
				err := protect(n%2, n)
				if err == nil {
					admitted.Store(n, true)
					return
				}
				assert.Equal(t, errkind.Quota, errkind.Of(err))
				assert.Equal(t, fmt.Sprintf("VM vm%d cannot be protected: vmgroup g uses 10 of the 10 protected VMs that were delegated to it; remove all recovery points of another one, or ask the administrator to raise the allowance with `mooring vmgroup allowance set --name=g --vms=…`", n), errkind.Text(err))
			})
		}
		all.Wait()
		count := 0
		admitted.Range(func(n, _ any) bool {
			count++
			assert.NoError(t, protect(0, n.(int)), "it is protected already")
			return true
		})
		assert.Equal(t, 10, count)
		open, err := runners[0].List(t.Context(), job.Query{Open: true})
		require.NoError(t, err)
		assert.Len(t, open, 20)
	})
}
