package volume_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestCreateIsIdempotentAndHonest(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db", "size", "1gb")
	assert.Equal(t, "db@fast", v.Name)
	assert.Equal(t, volspec.Ready, v.State)
	assert.Equal(t, int64(volspec.GiB), v.SizeBytes)

	again := w.mustCreate(t, vm1, "db", "size", "1gb")
	assert.Equal(t, v.ID, again.ID, "the same volume")
	again = w.mustCreate(t, vm2, "db@FAST")
	assert.Equal(t, v.ID, again.ID, "nothing different asked for, another VM of the group, another case")

	_, err := w.create(t, vm1, "db", "size", "2gb")
	requireKind(t, errkind.Exists, err)
	assert.EqualError(t, err, "volume db@fast already exists with other options: size=2gb (is 1gb); remove it first or choose another name")

	other := w.mustCreate(t, vm3, "db")
	assert.NotEqual(t, v.ID, other.ID, "another vmgroup is another namespace")
	w.agree(t)
}

func TestBadRequestsChangeNothing(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		caller volspec.Caller
		name   string
		opts   []string
		kind   errkind.Kind
	}{
		{vm1, "../x", nil, errkind.Invalid},
		{vm1, "v@nowhere", nil, errkind.Invalid},
		{vm1, "v", []string{"size", "0mb"}, errkind.Invalid},
		{vm1, "v", []string{"sizes", "1gb"}, errkind.Invalid},
		{vm1, "v@fast", []string{"datastore", "slow"}, errkind.Invalid},
		{vm1, "v", []string{"datastore", "slow"}, errkind.Invalid},
		{vm1, "v", []string{"vsan-policy-name", "gold"}, errkind.Unsupported},
		{vm1, "v", []string{"clone-from", "nothing"}, errkind.NotFound},
		{vm1, "v@slow", nil, errkind.Denied},
		{vm1, "v", []string{"size", "11gb"}, errkind.Quota},
		{stray, "v", nil, errkind.Denied},
	} {
		_, err := w.create(t, c.caller, c.name, c.opts...)
		requireKind(t, c.kind, err)
	}
	w.agree(t)
	list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "all"})
	require.NoError(t, err)
	assert.Empty(t, list.Volumes)
}

func TestLifeCycle(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, volspec.Blank, a.Format)
	assert.Empty(t, v.Serial, "no guest has seen it yet")
	seen, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, a.Serial, seen.Serial)
	w.format(t, vm1, a)
	again, err := w.attach(t, vm1, "db@fast")
	require.NoError(t, err)
	assert.Equal(t, a.Epoch, again.Epoch, "the same attachment")
	assert.Equal(t, volspec.Formatted, again.Format)

	err = w.svc.Remove(t.Context(), vm2, "", "db", false)
	requireKind(t, errkind.InUse, err)
	assert.EqualError(t, err, "Failed to remove volume db, in use by VM = vm1.")
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch + 1}), "a detach of another epoch changes nothing")
	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, "vm1", got.AttachedTo)

	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch}))
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch}), "twice")
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false), "a guest may repeat it")
	_, err = w.svc.Get(t.Context(), vm1, "", "db")
	requireKind(t, errkind.NotFound, err)
	w.agree(t)

	fresh := w.mustCreate(t, vm1, "db")
	assert.NotEqual(t, v.ID, fresh.ID, "the trash has no names")
	_, err = w.svc.Undelete(t.Context(), admin, "dev", "db", wire.Undelete{})
	requireKind(t, errkind.Exists, err)
	back, err := w.svc.Undelete(t.Context(), admin, "dev", string(v.ID), wire.Undelete{NewName: "db-old"})
	require.NoError(t, err)
	assert.Equal(t, v.ID, back.ID)
	require.NoError(t, w.svc.Remove(t.Context(), admin, "dev", "db-old", true))
	w.agree(t)
	_, err = w.hv.Stat(t.Context(), hypervisor.Ref{Datastore: "fast", Group: w.dev, Volume: v.ID})
	requireKind(t, errkind.NotFound, err)
}

func TestTrashIsEmptiedWhenItsTimeHasCome(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
	w.svc.Round(t.Context())
	list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "trashed"})
	require.NoError(t, err)
	assert.Len(t, list.Volumes, 1)
	w.opts.TrashKeep = time.Nanosecond
	w.start(t)
	w.svc.Round(t.Context())
	list, err = w.svc.List(t.Context(), admin, volume.ListFilter{State: "all"})
	require.NoError(t, err)
	assert.Empty(t, list.Volumes)
	w.agree(t)
}

func TestProtectedVolumeStays(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db", "protect", "true")
	requireKind(t, errkind.Denied, w.svc.Remove(t.Context(), vm1, "", "db", false))
	requireKind(t, errkind.Denied, w.svc.RemoveAll(t.Context(), admin, w.dev))
	off := false
	_, err := w.svc.Set(t.Context(), admin, "dev", "db", wire.SetVolume{Protect: &off})
	require.NoError(t, err)
	require.NoError(t, w.svc.RemoveAll(t.Context(), admin, w.dev))
	w.agree(t)
}

func TestParallelCreatesMeetTheQuotaExactly(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	var ok, refused atomic.Int64
	for i := range 200 {
		wg.Go(func() {
			name := "v" + string(rune('a'+i%26)) + time.Duration(i).String()
			_, err := w.create(t, vm1, name, "size", "102mb") // 100 × 102 MiB ≤ 10 GiB < 101 × 102 MiB
			switch {
			case err == nil:
				ok.Add(1)
			case errkind.Is(err, errkind.Quota):
				refused.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int64(100), ok.Load())
	assert.Equal(t, int64(100), refused.Load())
	w.agree(t)
}

func TestCloneAndSnapshot(t *testing.T) {
	w := newWorld(t)
	src := w.mustCreate(t, vm1, "db", "size", "1gb", "fstype", "xfs")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.format(t, vm1, a)
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("one")))
	_, err = w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "before"})
	require.NoError(t, err)
	_, err = w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "before"})
	requireKind(t, errkind.Exists, err)
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("two")))

	for name, want := range map[string]string{"now": "two", "then": "one"} {
		opts := []string{"clone-from", "db"}
		if name == "then" {
			opts = append(opts, "from-snapshot", "before")
		}
		c := w.mustCreate(t, vm2, name, opts...)
		assert.Equal(t, src.SizeBytes, c.SizeBytes)
		assert.Equal(t, volspec.XFS, c.Spec.FSType)
		assert.Equal(t, volspec.Formatted, c.Format)
		ca, err := w.attach(t, vm2, name)
		require.NoError(t, err)
		assert.NotEqual(t, a.FSUUID, ca.FSUUID, "the filesystem of a clone gets a UUID of its own")
		got, err := w.hv.Read(vm2.VM, ca.Serial, 0, 3)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
	_, err = w.create(t, vm3, "stolen", "clone-from", "db")
	requireKind(t, errkind.NotFound, err)
	w.agree(t) // clones and the snapshot are in the quota

	require.NoError(t, w.svc.DeleteSnapshot(t.Context(), admin, "dev", "db", "before"))
	requireKind(t, errkind.NotFound, w.svc.DeleteSnapshot(t.Context(), admin, "dev", "db", "before"))
	w.agree(t)
}

func TestResize(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db", "size", "1gb")
	_, err := w.svc.Resize(t.Context(), admin, "dev", "db", wire.Resize{Size: 512 * volspec.MiB})
	requireKind(t, errkind.Invalid, err)
	_, err = w.svc.Resize(t.Context(), admin, "dev", "db", wire.Resize{Size: 11 * volspec.GiB})
	requireKind(t, errkind.Quota, err)
	for range 2 {
		v, err := w.svc.Resize(t.Context(), admin, "dev", "db", wire.Resize{Size: 10 * volspec.GiB})
		require.NoError(t, err)
		assert.Equal(t, int64(10*volspec.GiB), v.SizeBytes)
	}
	w.agree(t)
}

func TestHeartbeatReportsFilesystemAndHoldings(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	reply, err := w.svc.Heartbeat(t.Context(), vm1, wire.Heartbeat{Plugin: "1.0", Uses: []wire.VolumeUse{
		{ID: v.ID, Epoch: a.Epoch, Mounted: true, FSBytes: 77},
	}})
	require.NoError(t, err)
	require.Len(t, reply.Attachments, 1)
	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, int64(77), got.FSBytes)
	reply, err = w.svc.Heartbeat(t.Context(), vm3, wire.Heartbeat{Uses: []wire.VolumeUse{{ID: v.ID, Epoch: a.Epoch, Mounted: true, FSBytes: 1}}})
	require.NoError(t, err)
	assert.Empty(t, reply.Attachments)
	got, err = w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, int64(77), got.FSBytes, "another tenant's word does not count")
	vms, err := w.svc.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range vms {
		if m.Name == "vm1" {
			assert.Equal(t, "1.0", m.Plugin)
			assert.Equal(t, 1, m.Attached)
			assert.Equal(t, "dev", m.VMGroup)
		}
	}
}
