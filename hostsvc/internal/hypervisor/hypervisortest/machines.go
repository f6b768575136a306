package hypervisortest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var machines = []sentence{
	{"VMs", "VMs lists all VMs, by name.", vmsByName},
	{"VM", "VM describes one.", vmDescribes},
	{"VM", "Unknown: not-found.", vmUnknown},
}

var datastores = []sentence{
	{"Datastores", "Datastores lists all, by name, reachable or not.", datastoresByName},
	{"DatastoreState", "Every call about a disk on an offline datastore is unavailable, except Detach and Fence; on a read-only one those that change anything there are, attaching read-write among them.", datastoreStates},
}

var watching = []sentence{
	{"Watch", "Watch sends events until ctx ends, which is no error.", watchSends},
}

func vmsByName(t *testing.T, e *env) {
	all, err := e.h.VMs(e.ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(all), 2)
	names := map[string]bool{}
	for _, v := range all {
		names[v.Name] = true
		assert.NotEmpty(t, v.ID)
	}
	assert.Len(t, names, len(all))
	assert.True(t, slices.IsSortedFunc(all, func(a, b hypervisor.VM) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	}))
}

func vmDescribes(t *testing.T, e *env) {
	for _, want := range e.VMs {
		v, err := e.h.VM(e.ctx, want.ID)
		require.NoError(t, err)
		assert.Equal(t, want.Name, v.Name)
		assert.Equal(t, want.Datastore, v.Datastore)
		assert.Equal(t, hypervisor.On, v.Power)
		assert.NotEmpty(t, v.BootID)
	}
	vm := e.VMs[0].ID
	before, err := e.h.VM(e.ctx, vm)
	require.NoError(t, err)
	e.SetPower(t, vm, false)
	off, err := e.h.VM(e.ctx, vm)
	require.NoError(t, err)
	assert.Equal(t, hypervisor.Off, off.Power)
	e.SetPower(t, vm, true)
	after, err := e.h.VM(e.ctx, vm)
	require.NoError(t, err)
	assert.Equal(t, hypervisor.On, after.Power)
	assert.NotEqual(t, before.BootID, after.BootID, "changes with every boot")
}

func vmUnknown(t *testing.T, e *env) {
	_, err := e.h.VM(e.ctx, "5ecfd4a0-0000-4000-8000-000000000000")
	requireKind(t, errkind.NotFound, err)
}

func datastoresByName(t *testing.T, e *env) {
	check := func() map[string]hypervisor.Datastore {
		all, err := e.h.Datastores(e.ctx)
		require.NoError(t, err)
		m := map[string]hypervisor.Datastore{}
		last := ""
		for _, d := range all {
			assert.Less(t, last, d.Name)
			last = d.Name
			m[d.Name] = d
		}
		return m
	}
	all := check()
	for _, name := range []string{e.Datastore, e.Other} {
		d := all[name]
		assert.Equal(t, hypervisor.Online, d.State, d.Detail)
		assert.NotEmpty(t, d.ID)
		assert.NotEmpty(t, d.Type)
		assert.GreaterOrEqual(t, d.Free, 100*volspec.MiB)
		assert.Empty(t, d.Detail)
	}
	assert.NotEqual(t, all[e.Datastore].ID, all[e.Other].ID)
	e.SetState(t, e.Other, hypervisor.Offline)
	later := check()
	assert.Len(t, later, len(all))
	assert.Equal(t, hypervisor.Offline, later[e.Other].State)
	assert.NotEmpty(t, later[e.Other].Detail)
	assert.Equal(t, hypervisor.Online, later[e.Datastore].State)
}

func datastoreStates(t *testing.T, e *env) {
	r, snap := e.disk(t), volspec.SnapshotID("s1")
	held, lost := e.disk(t), e.disk(t)
	want := []hypervisor.Device{e.attach(t, 0, held, true), e.attach(t, 1, lost, false)}
	s := e.snapshotter(t)
	require.NoError(t, s.Snapshot(e.ctx, r, snap))
	changes := func() map[string]error {
		_, errAttach := e.h.Attach(e.ctx, e.VMs[0].ID, r, false)
		return map[string]error{
			"Create":         e.h.Create(e.ctx, e.ref(), size, volspec.Thin),
			"Create again":   e.h.Create(e.ctx, r, size, volspec.Thin),
			"Delete":         e.h.Delete(e.ctx, r),
			"Delete absent":  e.h.Delete(e.ctx, e.ref()),
			"Grow":           e.h.Grow(e.ctx, r, 2*size),
			"Clone":          e.h.Clone(e.ctx, r, "", e.ref(), volspec.Thin),
			"PutMeta":        e.h.PutMeta(e.ctx, r, []byte("x")),
			"Snapshot":       s.Snapshot(e.ctx, r, "s2"),
			"DeleteSnapshot": s.DeleteSnapshot(e.ctx, r, snap),
			"Attach":         errAttach,
		}
	}
	e.SetState(t, e.Datastore, hypervisor.ReadOnlyStore)
	assert.Equal(t, hypervisor.ReadOnlyStore, e.store(t, e.Datastore).State)
	for name, err := range changes() {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%s on a read-only datastore: %v", name, err)
	}
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, size, d.Size)
	found, errs := e.list(e.Datastore)
	require.Empty(t, errs)
	assert.Len(t, found, 3)
	ids, err := s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, []volspec.SnapshotID{snap}, ids)
	require.NoError(t, e.h.Clone(e.ctx, r, "", e.refOn(e.Other), volspec.Thin), "it can be copied away")
	dev := e.attach(t, 0, r, true)
	_, err = e.Guest.Read(dev, 0, 512)
	require.NoError(t, err)
	e.detach(t, 0, r)

	e.SetState(t, e.Datastore, hypervisor.Offline)
	for name, err := range changes() {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%s on an offline datastore: %v", name, err)
	}
	_, err = e.h.Stat(e.ctx, r)
	requireKind(t, errkind.Unavailable, err)
	_, errs = e.list(e.Datastore)
	require.Len(t, errs, 1)
	requireKind(t, errkind.Unavailable, errs[0])
	all, err := e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.ElementsMatch(t, want, all, "attachments are known without the datastore")
	e.detach(t, 0, held)
	require.NoError(t, e.h.Fence(e.ctx, e.VMs[1].ID, lost))
	all, err = e.h.Attached(e.ctx)
	require.NoError(t, err)
	assert.Empty(t, all)

	e.SetState(t, e.Datastore, hypervisor.Online)
	d, err = e.h.Stat(e.ctx, r)
	require.NoError(t, err, "and is back")
	assert.Equal(t, size, d.Size)
}

func watchSends(t *testing.T, e *env) {
	w, ok := hypervisor.As[hypervisor.Watcher](e.h)
	require.True(t, ok, "the implementation under test has no watcher")
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	events, ended := make(chan hypervisor.Event), make(chan error, 1)
	go func() { ended <- w.Watch(ctx, events) }()
	vm := e.VMs[0].ID
	comes := func(kind string, patience <-chan time.Time) bool {
		for {
			select {
			case ev := <-events:
				if ev.VM == vm && ev.Kind == kind {
					assert.False(t, ev.Time.IsZero())
					return true
				}
			case <-patience:
				return false
			case <-ctx.Done():
				require.Fail(t, "no event", kind)
			}
		}
	}
	next := func(kind string) { comes(kind, nil) }
	e.SetPower(t, vm, false)
	for !comes("power-off", time.After(time.Second)) { // a watcher that has not begun misses events, as the contract says
		e.SetPower(t, vm, true)
		e.SetPower(t, vm, false)
	}
	e.SetPower(t, vm, true)
	next("power-on")
	e.SetPower(t, vm, false) // an event nobody takes must not keep it
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		require.Fail(t, "Watch goes on after its context has ended")
	}
}
