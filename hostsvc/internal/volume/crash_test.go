package volume_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/faulty"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// scenario is one use case to be interrupted: op can be repeated until it
// succeeds, then done must hold.
type scenario struct {
	name    string
	prepare func(testing.TB, *world)
	op      func(context.Context, *world) error
	done    func(testing.TB, *world)
}

func create(ctx context.Context, w *world, name string, opts map[string]string) error {
	_, err := w.svc.Create(ctx, vm1, "", wire.CreateVolume{Name: name, Options: opts})
	return err
}

func withVolume(t testing.TB, w *world) { w.mustCreate(t, vm1, "db", "size", "1gb") }

func attached(t testing.TB, w *world) {
	withVolume(t, w)
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.format(t, vm1, a)
}

func state(want string) func(testing.TB, *world) {
	return func(t testing.TB, w *world) {
		v, err := w.svc.Get(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		assert.Equal(t, want, v.AttachState)
	}
}

func gone(t testing.TB, w *world) {
	list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "all"})
	require.NoError(t, err)
	assert.Empty(t, list.Volumes)
}

var scenarios = slices.Concat(volumeScenarios, backupScenarios)

var volumeScenarios = []scenario{
	{"create", func(testing.TB, *world) {}, func(ctx context.Context, w *world) error {
		return create(ctx, w, "db", map[string]string{"size": "1gb"})
	}, state("detached")},
	{"clone", withVolume, func(ctx context.Context, w *world) error {
		return create(ctx, w, "copy", map[string]string{"clone-from": "db"})
	}, func(t testing.TB, w *world) {
		v, err := w.svc.Get(t.Context(), vm1, "", "copy")
		require.NoError(t, err)
		assert.Equal(t, int64(volspec.GiB), v.SizeBytes)
	}},
	{"attach", withVolume, func(ctx context.Context, w *world) error {
		_, err := w.svc.Attach(ctx, vm1, "db", wire.Attach{})
		return err
	}, state("attached")},
	{"format", func(t testing.TB, w *world) {
		withVolume(t, w)
		_, err := w.attach(t, vm1, "db")
		require.NoError(t, err)
	}, func(ctx context.Context, w *world) error {
		a, err := w.svc.Attach(ctx, vm1, "db", wire.Attach{}) // as a guest does: from the start
		if err != nil || a.Format == volspec.Formatted {
			return err
		}
		for _, s := range []volspec.Format{volspec.Formatting, volspec.Formatted} {
			if err := w.svc.SetFormat(ctx, vm1, "db", wire.SetFormat{Epoch: a.Epoch, State: s}); err != nil {
				return err
			}
		}
		return nil
	}, func(t testing.TB, w *world) {
		v, err := w.svc.Get(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		assert.Equal(t, volspec.Formatted, v.Format)
	}},
	{"detach", attached, func(ctx context.Context, w *world) error {
		return w.svc.Detach(ctx, vm1, "db", wire.Detach{})
	}, state("detached")},
	{"fence", func(t testing.TB, w *world) {
		attached(t, w)
		v, err := w.svc.Get(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		w.hv.SetBusy(w.ref(v), true)
	}, func(ctx context.Context, w *world) error {
		return w.svc.ForceDetach(ctx, admin, "dev", "db", wire.DetachVolume{Force: true})
	}, state("detached")},
	{"trash", withVolume, func(ctx context.Context, w *world) error {
		return w.svc.Remove(ctx, vm1, "", "db", false)
	}, func(t testing.TB, w *world) {
		list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "trashed"})
		require.NoError(t, err)
		assert.Len(t, list.Volumes, 1)
	}},
	{"delete", withVolume, func(ctx context.Context, w *world) error {
		err := w.svc.Remove(ctx, admin, "dev", "db", true)
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		return err
	}, gone},
	{"remove all", func(t testing.TB, w *world) {
		withVolume(t, w)
		w.mustCreate(t, vm2, "other")
		require.NoError(t, w.svc.Remove(t.Context(), vm2, "", "other", false))
	}, func(ctx context.Context, w *world) error {
		return w.svc.RemoveAll(ctx, admin, w.dev)
	}, gone},
	{"resize", attached, func(ctx context.Context, w *world) error {
		_, err := w.svc.Resize(ctx, admin, "dev", "db", wire.Resize{Size: 2 * volspec.GiB})
		return err
	}, func(t testing.TB, w *world) {
		v, err := w.svc.Get(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		assert.Equal(t, int64(2*volspec.GiB), v.SizeBytes)
	}},
	{"snapshot", attached, func(ctx context.Context, w *world) error {
		_, err := w.svc.CreateSnapshot(ctx, admin, "dev", "db", wire.CreateSnapshot{Name: "s"})
		if errkind.Is(err, errkind.Exists) {
			return nil
		}
		return err
	}, func(t testing.TB, w *world) {
		list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db")
		require.NoError(t, err)
		assert.Len(t, list, 1)
	}},
	{"unsnapshot", func(t testing.TB, w *world) {
		attached(t, w)
		_, err := w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "s"})
		require.NoError(t, err)
	}, func(ctx context.Context, w *world) error {
		err := w.svc.DeleteSnapshot(ctx, admin, "dev", "db", "s")
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		return err
	}, func(t testing.TB, w *world) {
		list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db")
		require.NoError(t, err)
		assert.Empty(t, list)
	}},
}

// crashPoints are the crash points that a scenario passes, in order.
func crashPoints(t *testing.T, s scenario) []string {
	w := newWorld(t)
	s.prepare(t, w)
	var mu sync.Mutex
	var passed []string
	crashpoint.Set(func(p string) { mu.Lock(); passed = append(passed, p); mu.Unlock() })
	defer crashpoint.Set(nil)
	require.NoError(t, s.op(t.Context(), w))
	return slices.Compact(passed)
}

// TestCrashAtEveryPoint stops the process at each recorded step of each use
// case, starts a new one, and expects that all agree and a retry succeeds.
func TestCrashAtEveryPoint(t *testing.T) {
	for _, s := range scenarios {
		for _, point := range crashPoints(t, s) {
			t.Run(s.name+" at "+point, func(t *testing.T) { crashAt(t, s, point) })
		}
	}
}

func crashAt(t *testing.T, s scenario, point string) {
	w := newWorld(t)
	s.prepare(t, w)

	dead, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	crashpoint.Set(func(p string) {
		if p != point {
			return
		}
		stop := false
		once.Do(func() { stop = true; close(dead) })
		if stop {
			<-end // a killed process does nothing more
			runtime.Goexit()
		}
	})
	old := *w
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.op(ctx, &old) })
	select {
	case <-dead:
	case <-time.After(10 * time.Second):
		t.Fatal("the point was not reached")
	}

	w.start(t)
	w.agree(t)
	require.NoError(t, s.op(t.Context(), w), "the retry")
	s.done(t, w)
	w.svc.Round(t.Context())
	w.agree(t)

	// Let the dead goroutine go, without its undo reaching the world.
	cancel()
	w.hv.SetDatastore(offline("fast"))
	close(end)
	wg.Wait()
	require.NoError(t, old.svc.Close(context.WithoutCancel(t.Context())))
	crashpoint.Set(nil)
}

// TestEveryHypervisorCallFails fails call i of each use case, before or after
// it was carried out, for every i, until a run meets no fault.
func TestEveryHypervisorCallFails(t *testing.T) {
	for _, s := range scenarios {
		for _, when := range []faulty.When{faulty.Before, faulty.After} {
			name := map[faulty.When]string{faulty.Before: "not sent", faulty.After: "reply lost"}[when]
			t.Run(s.name+", "+name, func(t *testing.T) {
				for i := 0; ; i++ {
					if failCall(t, s, i, when) {
						return
					}
					require.Less(t, i, 60, "the use case never came through")
				}
			})
		}
	}
}

// failCall reports whether the use case came through without the fault.
func failCall(t *testing.T, s scenario, i int, when faulty.When) bool {
	w := newWorld(t)
	s.prepare(t, w)
	f := faulty.New(w.hv, faulty.Plan{Faults: []faulty.Fault{{Call: i, When: when}}})
	w.opts.Hypervisor = f
	w.svc = volume.New(w.opts) // the same instance goes on
	err := s.op(t.Context(), w)
	clean := f.VerifyHit() != nil
	if clean {
		require.NoError(t, err)
	} else if err != nil {
		require.True(t, errkind.Of(err).Known(), "call %d: %v", i, err)
		require.NotEqual(t, errkind.Internal, errkind.Of(err), "call %d: %v", i, err)
	}
	w.opts.Hypervisor = w.hv
	w.svc = volume.New(w.opts)
	require.NoError(t, s.op(t.Context(), w), "the retry after call %d failed", i)
	s.done(t, w)
	w.svc.Round(t.Context())
	w.agree(t)
	return clean
}

func TestIntentOfALivingProcessIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	require.NoError(t, w.store.Update(t.Context(), func(tx volume.Tx) error {
		if err := tx.Renew("other", "elsewhere", time.Minute); err != nil {
			return err
		}
		r, err := tx.Volume(v.ID)
		if err != nil {
			return err
		}
		r.Op = volume.Op{Kind: volume.OpDetach, Instance: "other", VM: vm2.VM, Started: time.Now()}
		return tx.PutVolume(r)
	}))
	require.NoError(t, w.svc.Recover(t.Context()))
	_, err := w.attach(t, vm1, "db")
	requireKind(t, errkind.InUse, err)
	require.NoError(t, w.store.Update(t.Context(), func(tx volume.Tx) error { return tx.Renew("other", "elsewhere", -time.Second) }))
	_, err = w.attach(t, vm1, "db")
	require.NoError(t, err, "it died: its intent is settled")
	w.agree(t)
}
