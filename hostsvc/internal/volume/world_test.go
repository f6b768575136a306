package volume_test

import (
	"context"
	"flag"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) {
	// Each check of the model test starts a world with a database of its own.
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err)
	}
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// world is a hypervisor with two datastores and three VMs, a real SQLite
// catalog, and two vmgroups: dev has vm1 and vm2, test has vm3.
type world struct {
	hv     *memory.Memory
	front  hypervisor.Hypervisor // hv, or what decorates it
	store  volume.Store
	groups tenancy.Store
	svc    *volume.Service
	opts   volume.Options
	dev    volspec.VMGroupID
	test   volspec.VMGroupID
	points *points
	guests *guests
}

var (
	vm1   = volspec.Caller{VM: "vm-1", VMName: "vm1", VMDatastore: "fast", Actor: "vm:vm1"}
	vm2   = volspec.Caller{VM: "vm-2", VMName: "vm2", VMDatastore: "fast", Actor: "vm:vm2"}
	vm3   = volspec.Caller{VM: "vm-3", VMName: "vm3", VMDatastore: "slow", Actor: "vm:vm3"}
	stray = volspec.Caller{VM: "vm-9", VMName: "vm9", VMDatastore: "fast", Actor: "vm:vm9"}
	admin = volspec.Caller{Admin: true, Actor: "admin:0"}
)

// emptyCatalog is the file of a catalog that was made and never used. There are
// hundreds of worlds, and making the schema takes longer than most tests.
var emptyCatalog = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "catalog.db")
	cat, err := catalog.Open(context.Background(), catalog.Options{Driver: catalog.SQLite, Path: path})
	if err != nil {
		return nil, err
	}
	if err := cat.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func newWorld(t testing.TB) *world {
	t.Helper()
	hv := memory.New(memory.Options{
		Moments:    true,
		Datastores: []hypervisor.Datastore{{Name: "fast", Reflink: true}, {Name: "slow", Reflink: true}, pointsDatastore(hypervisor.ReadOnlyStore)},
		VMs: []hypervisor.VM{
			{ID: vm1.VM, Name: "vm1", Datastore: "fast"}, {ID: vm2.VM, Name: "vm2", Datastore: "fast"},
			{ID: vm3.VM, Name: "vm3", Datastore: "slow"}, {ID: stray.VM, Name: "vm9", Datastore: "fast"},
		},
	})
	fresh, err := emptyCatalog()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "catalog.db")
	require.NoError(t, os.WriteFile(path, fresh, 0o600))
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: path})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })
	w := &world{hv: hv, front: hv, store: cat.Volumes(), groups: cat.Tenancy(), dev: "d0000000-0000-4000-8000-000000000001", test: "d0000000-0000-4000-8000-000000000002"}
	require.NoError(t, cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		for id, name := range map[volspec.VMGroupID]string{w.dev: "dev", w.test: "test"} {
			if err := tx.PutGroup(volspec.VMGroup{ID: id, Name: name, DefaultDatastore: "fast"}); err != nil {
				return err
			}
			if err := tx.PutAccess(volspec.Access{Group: id, Datastore: "fast", AllowCreate: true, TotalSize: 10 * volspec.GiB}); err != nil {
				return err
			}
		}
		for vm, g := range map[volspec.VMID]volspec.VMGroupID{vm1.VM: w.dev, vm2.VM: w.dev, vm3.VM: w.test} {
			if err := tx.PutMember(volspec.Member{VM: vm, Name: string(vm), Group: g}); err != nil {
				return err
			}
		}
		return nil
	}))
	w.opts = volume.Options{
		Store: w.store, Check: tenancy.Check, Resolve: tenancy.Resolve,
		RestoreGroup: func(ctx context.Context, id volspec.VMGroupID, name string) (volspec.VMGroupID, error) {
			return id, cat.Tenancy().Update(ctx, func(tx tenancy.Tx) error {
				if g, err := tx.GroupByName(name); err == nil {
					id = g.ID
					return nil
				}
				return tx.PutGroup(volspec.VMGroup{ID: id, Name: name})
			})
		},
		Installation: "test", TrashKeep: time.Hour, AttachWait: time.Second, Reconcile: time.Minute,
		FreezeLease: 10 * time.Second, FreezeCopyLimit: 5 * time.Second,
	}
	w.points, w.guests = newPoints(w), &guests{held: true, stall: 7 * time.Millisecond}
	w.opts.Points, w.opts.Freezer = w.points, w.guests
	w.start(t)
	return w
}

// start is a new process on the same catalog and hypervisor.
func (w *world) start(t testing.TB) {
	t.Helper()
	w.opts.Instance, w.opts.Hypervisor = uuid.NewString(), w.front
	w.svc = volume.New(w.opts)
	require.NoError(t, w.svc.IdentifyDatastores(t.Context()))
	require.NoError(t, w.svc.Recover(t.Context()))
}

func (w *world) create(t testing.TB, c volspec.Caller, name string, opts ...string) (wire.Volume, error) {
	t.Helper()
	m := map[string]string{}
	for i := 0; i+1 < len(opts); i += 2 {
		m[opts[i]] = opts[i+1]
	}
	return w.svc.Create(t.Context(), c, "", wire.CreateVolume{Name: name, Options: m})
}

func (w *world) mustCreate(t testing.TB, c volspec.Caller, name string, opts ...string) wire.Volume {
	t.Helper()
	v, err := w.create(t, c, name, opts...)
	require.NoError(t, err)
	return v
}

func (w *world) attach(t testing.TB, c volspec.Caller, name string) (wire.Attachment, error) {
	t.Helper()
	return w.svc.Attach(t.Context(), c, name, wire.Attach{})
}

// format walks a blank attachment through its only mkfs.
func (w *world) format(t testing.TB, c volspec.Caller, a wire.Attachment) {
	t.Helper()
	for _, s := range []volspec.Format{volspec.Formatting, volspec.Formatted} {
		require.NoError(t, w.svc.SetFormat(t.Context(), c, a.Name, wire.SetFormat{Epoch: a.Epoch, State: s}))
	}
}

// agree checks that catalog, quota and hypervisor say the same, that nothing
// is left over, and that every volume can be used.
func (w *world) agree(t testing.TB) {
	t.Helper()
	disks := map[volspec.VolumeID]hypervisor.Disk{}
	for _, ds := range []string{"fast", "slow"} {
		for d, err := range w.hv.List(t.Context(), ds) {
			require.NoError(t, err)
			disks[d.Volume] = d
		}
	}
	devices, err := w.hv.Attached(t.Context())
	require.NoError(t, err)
	holder := map[volspec.VolumeID]volspec.VMID{}
	for _, d := range devices {
		holder[d.Volume] = d.VM
	}
	used, views := map[volume.Key]volspec.Size{}, w.points.shown()
	require.NoError(t, w.store.View(t.Context(), func(tx volume.Tx) error {
		all, err := tx.Volumes(volume.Filter{})
		require.NoError(t, err)
		for _, r := range all {
			assert.Empty(t, r.Op.Kind, "%s has an intent left", r.Name())
			assert.NotEqual(t, volspec.Creating, r.State)
			if r.ViewOf != "" {
				assert.Equal(t, holder[r.ID], r.Holder.VM, "holder of %s", r.Name())
				assert.Equal(t, r.ViewOf, views[r.ID], "view %s", r.Name())
				delete(views, r.ID)
				continue
			}
			assert.Equal(t, r.Size, disks[r.ID].Size, "size of %s", r.Name())
			assert.Equal(t, holder[r.ID], r.Holder.VM, "holder of %s", r.Name())
			delete(disks, r.ID)
			used[volume.Key{Group: r.Key.Group, Datastore: r.Key.Datastore}] += r.Size
			snaps, err := tx.Snapshots(r.ID)
			require.NoError(t, err)
			ids, err := w.hv.Snapshots(t.Context(), hypervisor.Ref{Datastore: r.Key.Datastore, Group: r.Key.Group, Volume: r.ID})
			require.NoError(t, err)
			assert.Len(t, ids, len(snaps), "snapshots of %s", r.Name())
			for _, s := range snaps {
				assert.Contains(t, ids, s.ID)
				if s.Owner != "" {
					continue
				}
				used[volume.Key{Group: r.Key.Group, Datastore: r.Key.Datastore}] += s.Size
			}
		}
		for _, g := range []volspec.VMGroupID{w.dev, w.test} {
			for _, ds := range []string{"fast", "slow"} {
				u, err := tx.Usage(g, ds)
				require.NoError(t, err)
				assert.Equal(t, used[volume.Key{Group: g, Datastore: ds}], u.Bytes, "usage of %s on %s", g, ds)
			}
		}
		return nil
	}))
	assert.Empty(t, disks, "disks without a volume")
	assert.Empty(t, views, "points that no volume shows")
}

func requireKind(t testing.TB, k errkind.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, k, errkind.Of(err), "%v", err)
}

// leave takes a VM out of its vmgroup.
func (w *world) leave(t testing.TB, vm volspec.VMID) {
	t.Helper()
	require.NoError(t, w.groups.Update(t.Context(), func(tx tenancy.Tx) error { return tx.DeleteMember(vm) }))
}

func hvStore(name string, reflink bool) hypervisor.Datastore {
	return hypervisor.Datastore{Name: name, ID: "memory-" + name, State: hypervisor.Online, Reflink: reflink}
}

func offline(name string) hypervisor.Datastore {
	return hypervisor.Datastore{Name: name, ID: "memory-" + name, State: hypervisor.Offline, Detail: "switched off by the test"}
}
