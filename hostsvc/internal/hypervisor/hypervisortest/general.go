package hypervisortest

import (
	"context"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var general = []sentence{
	{"package", "An implementation keeps no state that matters outside the hypervisor itself: after a restart of the service it finds the same disks and attachments again.", sameAfterRestart},
	{"package", "Every error has a kind of package errkind.", everyErrorHasAKind},
	{"package", "All methods are safe for concurrent use; callers serialise calls about one disk.", concurrentUse},
	{"package", "A datastore or VM that does not exist is not-found.", unknownDatastoreOrVM},
	{"Ref", "Disks of different groups never collide, and a volume's id is unique everywhere.", groupsNeverCollide},
}

func sameAfterRestart(t *testing.T, e *env) {
	r, held, ro := e.disk(t), e.disk(t), e.disk(t)
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("record")))
	require.NoError(t, e.snapshotter(t).Snapshot(e.ctx, r, "s1"))
	e.attach(t, 0, held, false)
	e.attach(t, 1, ro, true)
	before, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	disksBefore, errs := e.list(e.Datastore)
	require.Empty(t, errs)
	require.Len(t, disksBefore, 3)
	vmsBefore, err := e.h.VMs(e.ctx)
	require.NoError(t, err)
	storesBefore := e.store(t, e.Datastore).ID

	e.h = e.Reopen(t)
	after, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Len(t, after, 2)
	assert.ElementsMatch(t, before, after)
	disksAfter, errs := e.list(e.Datastore)
	require.Empty(t, errs)
	assert.Equal(t, disksBefore, disksAfter)
	vmsAfter, err := e.h.VMs(e.ctx)
	require.NoError(t, err)
	assert.Equal(t, vmsBefore, vmsAfter, "with the same boot ids")
	assert.Equal(t, storesBefore, e.store(t, e.Datastore).ID)
	ids, err := e.snapshotter(t).Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, []volspec.SnapshotID{"s1"}, ids)

	e.attach(t, 0, held, false) // the same device
	_, err = e.h.Attach(e.ctx, e.VMs[1].ID, held, false)
	requireKind(t, errkind.InUse, err)
	requireKind(t, errkind.InUse, e.h.Delete(e.ctx, held))
	e.detach(t, 0, held)
	e.detach(t, 1, ro)
	none, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, none)
}

// everyErrorHasAKind uses a context that has ended: the one failure that can
// be had everywhere. The other checks look at the kinds of their errors.
func everyErrorHasAKind(t *testing.T, e *env) {
	r := e.disk(t)
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	_, errStat := e.h.Stat(ended, r)
	var errList error
	for _, err := range e.h.List(ended, e.Datastore) {
		errList = err
	}
	_, errVMs := e.h.VMs(ended)
	_, errVM := e.h.VM(ended, e.VMs[0].ID)
	_, errAttach := e.h.Attach(ended, e.VMs[0].ID, r, false)
	_, errAttached := e.h.Attached(ended)
	_, errStores := e.h.Datastores(ended)
	for name, err := range map[string]error{
		"Create": e.h.Create(ended, e.ref(), size, volspec.Thin),
		"Delete": e.h.Delete(ended, r),
		"Stat":   errStat, "List": errList,
		"Grow":    e.h.Grow(ended, r, 2*size),
		"Clone":   e.h.Clone(ended, r, "", e.ref(), volspec.Thin),
		"PutMeta": e.h.PutMeta(ended, r, []byte("x")),
		"VMs":     errVMs, "VM": errVM, "Attach": errAttach, "Attached": errAttached, "Datastores": errStores,
		"Detach": e.h.Detach(ended, e.VMs[0].ID, r),
		"Fence":  e.h.Fence(ended, e.VMs[0].ID, r),
	} {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%s: %v", name, err)
	}
	_, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err, "nothing was done to the disk")
}

func concurrentUse(t *testing.T, e *env) {
	const workers = 6
	var wg sync.WaitGroup
	errs := make(chan error, workers*10)
	for i := range workers {
		wg.Go(func() {
			r := e.ref()
			vm := e.VMs[i%2].ID
			errs <- e.h.Create(e.ctx, r, size, volspec.Thin)
			errs <- e.h.PutMeta(e.ctx, r, []byte{byte(i)})
			dev, err := e.h.Attach(e.ctx, vm, r, false)
			errs <- err
			if err != nil {
				return
			}
			errs <- e.Guest.Write(dev, 0, []byte{byte(i)})
			_, err = e.h.Attached(e.ctx)
			errs <- err
			errs <- e.h.Detach(e.ctx, vm, r)
			for _, err := range e.h.List(e.ctx, e.Datastore) {
				errs <- err
			}
			errs <- e.h.Delete(e.ctx, r)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(errs); close(done) }()
	for err := range errs {
		assert.NoError(t, err)
	}
	<-done
	found, _ := e.list(e.Datastore)
	assert.Empty(t, found)
	att, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, att)
}

func unknownDatastoreOrVM(t *testing.T, e *env) {
	r := e.refOn("no-such-datastore")
	requireKind(t, errkind.NotFound, e.h.Create(e.ctx, r, size, volspec.Thin))
	requireKind(t, errkind.NotFound, e.h.Delete(e.ctx, r))
	requireKind(t, errkind.NotFound, e.h.PutMeta(e.ctx, r, nil))
	requireKind(t, errkind.NotFound, e.h.Grow(e.ctx, r, size))
	_, errs := e.list(r.Datastore)
	require.Len(t, errs, 1)
	requireKind(t, errkind.NotFound, errs[0])

	d, vm := e.disk(t), volspec.VMID(uuid.NewString())
	_, err := e.h.Attach(e.ctx, vm, d, false)
	requireKind(t, errkind.NotFound, err)
	requireKind(t, errkind.NotFound, e.h.Detach(e.ctx, vm, d))
	requireKind(t, errkind.NotFound, e.h.Fence(e.ctx, vm, d))
	requireKind(t, errkind.NotFound, e.h.Clone(e.ctx, d, "", r, volspec.Thin))
}

func groupsNeverCollide(t *testing.T, e *env) {
	r := e.disk(t)
	other := r
	other.Group = volspec.VMGroupID(uuid.NewString())
	e.absent(t, other)
	require.NoError(t, e.h.Delete(e.ctx, other))
	_, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)

	for _, bad := range []hypervisor.Ref{
		{Datastore: e.Datastore, Group: "../x", Volume: r.Volume},
		{Datastore: e.Datastore, Group: r.Group, Volume: "../../x"},
		{Datastore: e.Datastore, Group: "", Volume: r.Volume},
		{Datastore: e.Datastore, Group: r.Group, Volume: ""},
	} {
		requireKind(t, errkind.Invalid, e.h.Create(e.ctx, bad, size, volspec.Thin))
		requireKind(t, errkind.Invalid, e.h.Delete(e.ctx, bad))
	}
}
