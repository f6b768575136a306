package volume_test

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// loseCatalog replaces the catalog by an empty one.
func (w *world) loseCatalog(t testing.TB) {
	t.Helper()
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "new.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })
	w.store, w.groups = cat.Volumes(), cat.Tenancy()
	w.opts.Store = w.store
	w.opts.RestoreGroup = tenancy.New(tenancy.Options{Store: w.groups, Machines: w.hv, Datastores: w.hv}).RestoreGroup
	w.start(t)
}

func (w *world) join(t testing.TB, vm volspec.VMID, group string) {
	t.Helper()
	require.NoError(t, w.groups.Update(t.Context(), func(tx tenancy.Tx) error {
		g, err := tx.GroupByName(group)
		if err != nil {
			return err
		}
		if err := tx.PutAccess(volspec.Access{Group: g.ID, Datastore: "fast", AllowCreate: true}); err != nil {
			return err
		}
		g.DefaultDatastore = "fast"
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		return tx.PutMember(volspec.Member{VM: vm, Name: string(vm), Group: g.ID})
	}))
}

func TestLostCatalogIsRebuiltFromTheDatastore(t *testing.T) {
	w := newWorld(t)
	db := w.mustCreate(t, vm1, "db", "size", "1gb", "access", "read-only", "uid", "7")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.format(t, vm1, a)
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("data")))
	_, err = w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "s"})
	require.NoError(t, err)
	w.mustCreate(t, vm2, "blank")
	old := w.mustCreate(t, vm2, "old")
	require.NoError(t, w.svc.Remove(t.Context(), vm2, "", "old", false))
	other := w.mustCreate(t, vm3, "db")
	w.hv.SetBusy(w.ref(db), true)

	w.loseCatalog(t)
	dry, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{})
	require.NoError(t, err)
	assert.Len(t, dry.Items, 4)
	list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "all"})
	require.NoError(t, err)
	assert.Empty(t, list.Volumes, "a scan without adopt changes nothing")

	for range 2 {
		res, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{Adopt: true})
		require.NoError(t, err)
		assert.Len(t, res.Items, 4)
		for _, i := range res.Items {
			assert.Contains(t, []string{"adopted", "known"}, i.Action, "%+v", i)
		}
	}
	w.join(t, vm1.VM, "dev")
	w.join(t, vm3.VM, "test")
	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, db.ID, got.ID)
	assert.Equal(t, volspec.ReadOnly, got.Spec.Access)
	assert.Equal(t, 7, *got.Spec.UID)
	assert.Equal(t, volspec.Formatted, got.Format, "never formatted again")
	assert.Equal(t, 1, got.Snapshots)
	w.svc.Round(t.Context())
	got, err = w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, "vm1", got.AttachedTo, "the hypervisor knows who has it")
	assert.Greater(t, got.Epoch, a.Epoch)

	blank, err := w.svc.Get(t.Context(), vm1, "", "blank")
	require.NoError(t, err)
	assert.Equal(t, volspec.Blank, blank.Format)
	back, err := w.svc.Undelete(t.Context(), admin, "dev", string(old.ID), wire.Undelete{})
	require.NoError(t, err)
	assert.Equal(t, "old@fast", back.Name)
	mine, err := w.svc.Get(t.Context(), vm3, "", "db")
	require.NoError(t, err)
	assert.Equal(t, other.ID, mine.ID)
	w.agree(t)
}

func TestScanTellsWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	lost := w.mustCreate(t, vm1, "lost")
	w.hv.Vanish(w.ref(lost))
	stranger := hypervisor.Ref{Datastore: "fast", Group: w.dev, Volume: volspec.VolumeID(uuid.NewString())}
	require.NoError(t, w.hv.Create(t.Context(), stranger, volspec.GiB, volspec.Thin))
	liar := hypervisor.Ref{Datastore: "fast", Group: w.dev, Volume: volspec.VolumeID(uuid.NewString())}
	require.NoError(t, w.hv.PutMeta(t.Context(), liar, []byte(`{"version":1,"id":"`+string(stranger.Volume)+`","name":"x","vmgroup_id":"g","vmgroup":"dev","state":"ready","size":1,"spec":{}}`)))
	require.NoError(t, w.hv.Create(t.Context(), liar, volspec.GiB, volspec.Thin))

	res, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{Adopt: true})
	require.NoError(t, err)
	actions := map[volspec.VolumeID]string{}
	for _, i := range res.Items {
		actions[i.ID] = i.Action
	}
	assert.Equal(t, map[volspec.VolumeID]string{lost.ID: "missing", stranger.Volume: "corrupt", liar.Volume: "corrupt"}, actions)
	_, err = w.hv.Stat(t.Context(), stranger)
	require.NoError(t, err, "nothing is ever deleted")

	_, err = w.svc.Scan(t.Context(), admin, "nowhere", wire.Scan{})
	requireKind(t, errkind.NotFound, err)
	w.hv.SetDatastore(offline("fast"))
	_, err = w.svc.Scan(t.Context(), admin, "fast", wire.Scan{})
	requireKind(t, errkind.Unavailable, err)
}

func TestAnotherDiskAtADatastoresPlaceIsRefused(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	w.hv.SetDatastore(hypervisor.Datastore{Name: "fast", ID: "somebody else", State: hypervisor.Online})
	_, err := w.create(t, vm1, "new")
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, err.Error(), "is another disk mounted there?")
	_, err = w.attach(t, vm1, "db")
	requireKind(t, errkind.Unavailable, err)
	requireKind(t, errkind.Unavailable, w.svc.Remove(t.Context(), vm1, "", "db", false))
}
