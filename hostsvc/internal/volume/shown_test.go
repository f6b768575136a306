package volume_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestAViewIsAReadOnlyVolumeWithoutRoom(t *testing.T) {
	w := newWorld(t)
	p := w.points.add(w.dev, "db", "p1", "new content")
	w.mustCreate(t, vm1, "full", "size", "10gb") // all of the quota
	v := w.mustCreate(t, vm1, "past", "view-of", "db@latest")
	assert.Equal(t, volspec.Ready, v.State)
	assert.Equal(t, volspec.Formatted, v.Format)
	assert.Equal(t, volspec.ReadOnly, v.Spec.Access)
	assert.Equal(t, volspec.PointID("p1"), v.ViewOf)
	assert.Equal(t, "past@fast", v.Name)
	assert.Equal(t, int64(volspec.GiB), v.SizeBytes)
	assert.Zero(t, v.UsedBytes)
	require.NoError(t, w.store.View(t.Context(), func(tx volume.Tx) error {
		u, err := tx.Usage(w.dev, "fast")
		assert.Equal(t, volspec.Usage{Volumes: 2, Bytes: 10 * volspec.GiB}, u)
		return err
	}))
	for _, ref := range []string{"db@latest", "p1"} {
		assert.Equal(t, v.ID, w.mustCreate(t, vm1, "past", "view-of", ref).ID)
	}
	_, err := w.create(t, vm1, "past", "view-of", "p0")
	requireKind(t, errkind.Exists, err)
	_, err = w.create(t, vm1, "past", "restore-from", "p1")
	requireKind(t, errkind.Exists, err)
	_, err = w.create(t, vm1, "full", "view-of", "p1")
	requireKind(t, errkind.Exists, err)

	a, err := w.attach(t, vm1, "past")
	require.NoError(t, err)
	assert.True(t, a.ReadOnly)
	assert.NotEqual(t, p.FSUUID, a.FSUUID, "the guest can tell it from the original")
	require.Error(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("x")))
	requireKind(t, errkind.InUse, w.svc.Remove(t.Context(), vm1, "", "past", false))
	w.svc.Round(t.Context())
	w.agree(t)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "past", wire.Detach{}))

	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "past", false))
	list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "trashed"})
	require.NoError(t, err)
	assert.Empty(t, list.Volumes, "never in the trash")
	w.agree(t)
}

func TestWhatCannotBeDoneToAView(t *testing.T) {
	w := newWorld(t)
	p := w.points.add(w.dev, "db", "p1", "x")
	w.points.policies[string(w.dev)+"/nightly"] = true
	w.mustCreate(t, vm1, "past", "view-of", "p1")
	rw, ro, policy := volspec.ReadWrite, volspec.ReadOnly, "nightly"
	for what, err := range map[string]error{
		"resize":   second(w.svc.Resize(t.Context(), admin, "dev", "past", wire.Resize{Size: 2 * volspec.GiB})),
		"snapshot": second(w.svc.CreateSnapshot(t.Context(), admin, "dev", "past", wire.CreateSnapshot{Name: "s"})),
		"clone":    second(w.create(t, vm1, "copy", "clone-from", "past")),
		"write":    second(w.svc.Set(t.Context(), admin, "dev", "past", wire.SetVolume{Access: &rw})),
		"policy":   second(w.svc.Set(t.Context(), admin, "dev", "past", wire.SetVolume{BackupPolicy: &policy})),
		"in place": second(w.svc.RestoreInPlace(t.Context(), admin, "dev", "past", p, "s")),
		"backup":   second(w.svc.TakeBackupSnapshot(t.Context(), w.id(t, "past"), "s", "job", "")),
	} {
		require.Equal(t, errkind.Invalid, errkind.Of(err), "%s: %v", what, err)
		assert.Contains(t, err.Error(), "volume past@fast shows a recovery point and cannot be ", what)
		assert.Contains(t, err.Error(), "make a copy of the point with -o restore-from=p1", what)
	}
	_, err := w.svc.Set(t.Context(), admin, "dev", "past", wire.SetVolume{Access: &ro, MountOpts: &[]string{"noatime"}})
	require.NoError(t, err, "what does no harm")
	w.points.change("p1", func(x *aPoint) { x.Format = volspec.Blank })
	_, err = w.create(t, vm1, "nothing", "view-of", "p1")
	requireKind(t, errkind.Invalid, err)
	assert.Contains(t, err.Error(), "was never formatted")
	_, err = w.create(t, vm1, "v@slow", "view-of", "p1")
	requireKind(t, errkind.Invalid, err)
	w.points.change("p1", func(x *aPoint) { x.Format = volspec.Formatted })
	_, err = w.create(t, vm1, "v@slow", "view-of", "p1")
	requireKind(t, errkind.Denied, err)
	w.agree(t)
}

func second[T any](_ T, err error) error { return err }

// A view depends on the datastore in its name for nothing but the name, and
// what is done for disks there does not touch it.
func TestViewsHaveNothingOnTheirDatastore(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	v := w.mustCreate(t, vm1, "past", "view-of", "p1")
	res, err := w.svc.Scan(t.Context(), admin, "fast", wire.Scan{Adopt: true})
	require.NoError(t, err)
	assert.Empty(t, res.Items, "neither missing nor adoptable")
	require.NoError(t, w.groups.Update(t.Context(), func(tx tenancy.Tx) error { return tx.StaleMeta(w.dev) }))
	w.hv.SetDatastore(offline("fast"))
	w.svc.Round(t.Context())
	require.NoError(t, w.store.View(t.Context(), func(tx volume.Tx) error {
		r, err := tx.Volume(v.ID)
		assert.False(t, r.MetaStale, "there is none to write")
		assert.Empty(t, r.Health)
		return err
	}))
	_, err = w.attach(t, vm1, "past")
	require.NoError(t, err)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "past", wire.Detach{}))
	require.NoError(t, w.svc.RemoveAll(t.Context(), admin, w.dev))
	w.hv.SetDatastore(hvStore("fast", true))
	w.agree(t)
}

func TestViewsAreOpenedAgain(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	v := w.mustCreate(t, vm1, "past", "view-of", "p1")
	w.mustCreate(t, vm1, "db")
	w.points.views = map[volspec.VolumeID]volspec.PointID{} // the process that had them is gone
	w.start(t)
	all, err := w.svc.Views(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []volume.View{{Group: w.dev, ID: v.ID, Point: "p1"}}, all)
	_, err = w.attach(t, vm1, "past")
	require.NoError(t, err, "the one that is needed is opened")
	w.agree(t)

	names, err := w.svc.ViewsOf(t.Context(), "p1")
	require.NoError(t, err)
	assert.Equal(t, []string{"past@fast"}, names)
	names, err = w.svc.ViewsOf(t.Context(), "p2")
	require.NoError(t, err)
	assert.Empty(t, names)

	// Backup was taken out of the configuration: the view can only be removed.
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "past", wire.Detach{}))
	w.opts.Points = nil
	w.svc = volume.New(w.opts)
	_, err = w.attach(t, vm1, "past")
	requireKind(t, errkind.Unsupported, err)
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "past", false))
	gone := w.points.views
	assert.Len(t, gone, 1, "nobody was asked to close it")
}
