package volume_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestSnapshotsOfBackupAreNoUsers(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db", "size", "10gb") // all of the quota
	id := w.id(t, "db")
	got, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", "")
	require.NoError(t, err, "it counts in no quota")
	assert.Equal(t, 10*volspec.GiB, got.Size)
	w.agree(t)

	list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db")
	require.NoError(t, err)
	assert.Empty(t, list)
	v, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Zero(t, v.Snapshots)
	for _, name := range []string{"snap-1", "backup/filesystem/snap-1"} {
		requireKind(t, errkind.NotFound, w.svc.DeleteSnapshot(t.Context(), admin, "dev", "db", name))
	}
	_, err = w.create(t, vm1, "stolen", "clone-from", "db", "from-snapshot", "snap-1")
	requireKind(t, errkind.NotFound, err)

	_, err = w.svc.TakeBackupSnapshot(t.Context(), id, "snap-2", "", "")
	require.Error(t, err, "without an owner it would be a user's")
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
	hasOwned(1)(t, w)
	require.NoError(t, w.svc.DropBackupSnapshot(t.Context(), id, "snap-1"), "in the trash too")
	require.NoError(t, w.svc.DropBackupSnapshot(t.Context(), id, "snap-1"), "twice")
	require.NoError(t, w.svc.DropBackupSnapshot(t.Context(), "none", "snap-1"), "of no volume")
	hasOwned(0)(t, w)
	w.agree(t)
}

func TestAUsersSnapshotIsNotDroppedByBackup(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	sn, err := w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "mine"})
	require.NoError(t, err)
	requireKind(t, errkind.Invalid, w.svc.DropBackupSnapshot(t.Context(), w.id(t, "db"), sn.ID))
	w.agree(t)
}

func TestSnapshotsOfBackupGoWithTheirVolume(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	_, err := w.svc.TakeBackupSnapshot(t.Context(), w.id(t, "db"), "snap-1", "job", "")
	require.NoError(t, err)
	require.NoError(t, w.svc.Remove(t.Context(), admin, "dev", "db", true))
	hasOwned(0)(t, w)
	w.agree(t)
}

func TestSnapshotsAreReadAndCompared(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "one", "job", "")
	require.NoError(t, err)
	require.NoError(t, w.hv.Write(vm1.VM, w.serial(t, "db"), 1<<20, []byte("more")))
	_, err = w.svc.TakeBackupSnapshot(t.Context(), id, "two", "job", "")
	require.NoError(t, err)
	img, err := w.svc.OpenSnapshot(t.Context(), id, "one")
	require.NoError(t, err)
	defer img.Close()
	b := make([]byte, 4)
	_, err = img.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, "data", string(b))
	found := false
	for e, err := range w.svc.ChangedSince(t.Context(), id, "one", "two") {
		require.NoError(t, err)
		found = found || e.Offset <= 1<<20 && 1<<20 < e.End()
		assert.Positive(t, e.Offset, "the beginning did not change")
	}
	assert.True(t, found)
	for _, err := range w.svc.ChangedSince(t.Context(), "none", "one", "two") {
		requireKind(t, errkind.NotFound, err)
	}
	_, err = w.svc.OpenSnapshot(t.Context(), id, "none")
	requireKind(t, errkind.NotFound, err)
}

// Where the hypervisor remembers changes a snapshot need not be kept to tell
// what was written since.
func TestChangesAreToldSinceAMoment(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "one", "job", "")
	require.NoError(t, err)
	moment, err := w.svc.Moment(t.Context(), id, "one")
	require.NoError(t, err)
	require.NotEmpty(t, moment)
	require.NoError(t, w.svc.DropBackupSnapshot(t.Context(), id, "one"))
	require.NoError(t, w.hv.Write(vm1.VM, w.serial(t, "db"), 1<<20, []byte("more")))
	_, err = w.svc.TakeBackupSnapshot(t.Context(), id, "two", "job", "")
	require.NoError(t, err)
	found := false
	for e, err := range w.svc.ChangedSinceMoment(t.Context(), id, moment, "two") {
		require.NoError(t, err)
		found = found || e.Offset <= 1<<20 && 1<<20 < e.End()
		assert.Positive(t, e.Offset, "the beginning did not change")
	}
	assert.True(t, found)
	_, err = w.svc.Moment(t.Context(), id, "one")
	requireKind(t, errkind.NotFound, err)
	_, err = w.svc.Moment(t.Context(), "none", "one")
	requireKind(t, errkind.NotFound, err)

	w.front = forgetful{w.hv}
	w.start(t)
	none, err := w.svc.Moment(t.Context(), id, "two")
	require.NoError(t, err)
	assert.Empty(t, none, "this hypervisor remembers nothing")
	for _, err := range w.svc.ChangedSinceMoment(t.Context(), id, moment, "two") {
		requireKind(t, errkind.Unsupported, err)
	}
}

// forgetful has none of the optional abilities.
type forgetful struct{ hypervisor.Hypervisor }

// A rebuilt catalog knows whose snapshots there are, and not those that are
// gone.
func TestAdoptionKeepsSnapshotsOfBackup(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	for _, id := range []volspec.SnapshotID{"snap-1", "snap-2"} {
		_, err := w.svc.TakeBackupSnapshot(t.Context(), v.ID, id, "job", "")
		require.NoError(t, err)
	}
	require.NoError(t, w.hv.DeleteSnapshot(t.Context(), w.ref(v), "snap-2"))
	w.loseCatalog(t)
	_, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{Adopt: true})
	require.NoError(t, err)
	all, err := w.svc.BackupSnapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, volspec.SnapshotID("snap-1"), all[0].ID)
	assert.Equal(t, "job", all[0].Owner)
	w.agree(t)
}

func TestWhatBackupIsToldOfVolumes(t *testing.T) {
	w := newWorld(t)
	w.points.policies[string(w.dev)+"/nightly"] = true
	w.points.add(w.dev, "db", "p1", "x")
	w.mustCreate(t, vm1, "db", "size", "1gb", "backup-policy", "nightly")
	w.mustCreate(t, vm1, "past", "view-of", "p1")
	w.mustCreate(t, vm3, "db")
	_, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	mine, err := w.svc.BackupVolumes(t.Context(), w.dev)
	require.NoError(t, err)
	require.Len(t, mine, 1, "a view is none")
	v := mine[0]
	assert.Equal(t, "dev", v.Group.Name)
	assert.Equal(t, volspec.Name{Volume: "db", Datastore: "fast"}, v.Name)
	assert.Equal(t, "vm1", v.AttachedTo)
	assert.Equal(t, "nightly", v.Policy)
	assert.Equal(t, volspec.GiB, v.Size)
	assert.Equal(t, volspec.Ready, v.State)
	all, err := w.svc.BackupVolumes(t.Context(), "")
	require.NoError(t, err)
	assert.Len(t, all, 2)
	one, err := w.svc.BackupVolume(t.Context(), v.ID)
	require.NoError(t, err)
	assert.Equal(t, v, one)
	_, err = w.svc.BackupVolume(t.Context(), w.id(t, "past"))
	requireKind(t, errkind.NotFound, err)

	target, err := w.svc.BackupTarget(t.Context(), admin, "dev", "db@FAST")
	require.NoError(t, err)
	assert.Equal(t, v, target)
	_, err = w.svc.BackupTarget(t.Context(), vm1, "", "past")
	requireKind(t, errkind.Invalid, err)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
	_, absent := w.svc.BackupTarget(t.Context(), vm1, "", "none")
	_, foreign := w.svc.BackupTarget(t.Context(), vm1, "", "db") // another vmgroup has one
	requireKind(t, errkind.NotFound, foreign)
	assert.Equal(t, "Volume none not found", errkind.Text(absent))
	assert.Equal(t, "Volume db not found", errkind.Text(foreign))
	trashed, err := w.svc.BackupVolume(t.Context(), v.ID)
	require.NoError(t, err)
	assert.Equal(t, volspec.Trashed, trashed.State)
}

// The datastore of recovery points is nobody's.
func TestTheDatastoreOfPointsIsHidden(t *testing.T) {
	w := newWorld(t)
	for _, c := range []volspec.Caller{vm1, admin} {
		_, err := w.svc.Create(t.Context(), c, "dev", wire.CreateVolume{Name: "v@" + volspec.PointsDatastore})
		requireKind(t, errkind.Invalid, err)
		assert.Contains(t, err.Error(), "Invalid datastore 'recovery-points'.\nKnown datastores: fast")
		assert.NotContains(t, err.Error()[len("Invalid datastore 'recovery-points'"):], volspec.PointsDatastore)
	}
	stores, err := w.svc.Datastores(t.Context())
	require.NoError(t, err)
	assert.Len(t, stores, 2)
	_, err = w.svc.Scan(t.Context(), admin, volspec.PointsDatastore, wire.Scan{})
	requireKind(t, errkind.NotFound, err)
	require.NoError(t, w.store.View(t.Context(), func(tx volume.Tx) error {
		id, err := tx.Datastore(volspec.PointsDatastore)
		assert.Empty(t, id, "its identity is not recorded")
		return err
	}))
	_, err = w.hv.Stat(t.Context(), hypervisor.Ref{Datastore: volspec.PointsDatastore, Group: w.dev, Volume: "v"})
	requireKind(t, errkind.NotFound, err)
}
