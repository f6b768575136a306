package volume_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// written is a detached volume db with content, and a point p1 of another.
func written(t testing.TB, w *world) {
	attached(t, w)
	require.NoError(t, w.hv.Write(vm1.VM, w.serial(t, "db"), 0, []byte("old content")))
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	w.points.add(w.dev, "db", "p1", "new content")
}

func (w *world) serial(t testing.TB, name string) string {
	v, err := w.svc.Get(t.Context(), vm1, "", name)
	require.NoError(t, err)
	return v.Serial
}

func (w *world) id(t testing.TB, name string) volspec.VolumeID {
	v, err := w.svc.Get(t.Context(), vm1, "", name)
	require.NoError(t, err)
	return v.ID
}

// content is what vm2 reads at the beginning of a volume.
func (w *world) content(t testing.TB, name string, n int) string {
	a, err := w.attach(t, vm2, name)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.svc.Detach(t.Context(), vm2, name, wire.Detach{})) }()
	b, err := w.hv.Read(vm2.VM, a.Serial, 0, n)
	require.NoError(t, err)
	return string(b)
}

func takeSnapshot(ctx context.Context, w *world) error {
	v, err := w.svc.BackupTarget(ctx, vm1, "", "db")
	if err == nil {
		_, err = w.svc.TakeBackupSnapshot(ctx, v.ID, "snap-1", "job", "")
	}
	return err
}

func hasOwned(n int) func(testing.TB, *world) {
	return func(t testing.TB, w *world) {
		all, err := w.svc.BackupSnapshots(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, n)
	}
}

func copying(w *world) { w.hv.SetDatastore(hvStore("fast", false)) }

var backupScenarios = []scenario{
	{"restore to a new volume", func(_ testing.TB, w *world) {
		w.points.add(w.dev, "db", "p1", "new content")
	}, func(ctx context.Context, w *world) error {
		_, err := w.svc.CreateRestored(ctx, vm1, "", wire.CreateVolume{Name: "db", Options: map[string]string{"restore-from": "p1"}})
		return err
	}, func(t testing.TB, w *world) {
		assert.Equal(t, "new content", w.content(t, "db", 11))
	}},
	{"restore in place", written, func(ctx context.Context, w *world) error {
		p, err := w.points.Resolve(ctx, w.dev, "db", "p1")
		if err == nil {
			_, err = w.svc.RestoreInPlace(ctx, admin, "dev", "db", p, "before")
		}
		if errkind.Is(err, errkind.Exists) {
			return nil // what recovery finished is not done again
		}
		return err
	}, func(t testing.TB, w *world) {
		assert.Equal(t, "new content", w.content(t, "db", 11))
		list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db")
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "before", list[0].Name)
		w.mustCreate(t, vm1, "kept", "clone-from", "db", "from-snapshot", "before")
		assert.Equal(t, "old content", w.content(t, "kept", 11))
		v, err := w.svc.BackupTarget(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		assert.Equal(t, volspec.XFS, v.Spec.FSType)
		assert.Equal(t, "aaaaaaaa-0000-4000-8000-000000000001", v.FSUUID)
	}},
	{"snapshot for backup, attached", attached, takeSnapshot, hasOwned(1)},
	{"snapshot for backup, detached", withVolume, takeSnapshot, hasOwned(1)},
	{"snapshot for backup, copied under a freeze", func(t testing.TB, w *world) {
		attached(t, w)
		require.NoError(t, w.hv.Write(vm1.VM, w.serial(t, "db"), 0, []byte("data")))
		copying(w)
	}, takeSnapshot, hasOwned(1)},
	{"snapshot for backup, copied while detached", func(t testing.TB, w *world) {
		written(t, w)
		copying(w)
	}, takeSnapshot, hasOwned(1)},
	{"snapshot of backup dropped", func(t testing.TB, w *world) {
		attached(t, w)
		require.NoError(t, takeSnapshot(t.Context(), w))
	}, func(ctx context.Context, w *world) error {
		v, err := w.svc.BackupTarget(ctx, vm1, "", "db")
		if err == nil {
			err = w.svc.DropBackupSnapshot(ctx, v.ID, "snap-1")
		}
		return err
	}, hasOwned(0)},
	{"view", func(_ testing.TB, w *world) {
		w.points.add(w.dev, "db", "p1", "new content")
	}, func(ctx context.Context, w *world) error {
		return create(ctx, w, "db", map[string]string{"view-of": "latest"})
	}, func(t testing.TB, w *world) {
		a, err := w.attach(t, vm1, "db")
		require.NoError(t, err)
		assert.True(t, a.ReadOnly)
	}},
	{"view removed", func(t testing.TB, w *world) {
		w.points.add(w.dev, "db", "p1", "new content")
		w.mustCreate(t, vm1, "db", "view-of", "p1")
	}, func(ctx context.Context, w *world) error {
		return w.svc.Remove(ctx, vm1, "", "db", false)
	}, gone},
}

// TestEveryPointsCallFails fails call i that a use case makes about recovery
// points, for every i.
func TestEveryPointsCallFails(t *testing.T) {
	for _, s := range backupScenarios {
		t.Run(s.name, func(t *testing.T) {
			for i := 1; ; i++ {
				w := newWorld(t)
				s.prepare(t, w)
				w.points.calls, w.points.fail = 0, i
				err := s.op(t.Context(), w)
				met := w.points.calls >= i
				w.points.fail = 0
				if err != nil {
					require.True(t, met, "%v", err)
					requireKind(t, errkind.Unavailable, err)
				}
				w.svc.Round(t.Context()) // what could not be undone at once
				w.agree(t)
				require.NoError(t, s.op(t.Context(), w), "the retry after call %d failed", i)
				s.done(t, w)
				w.agree(t)
				if !met {
					return
				}
			}
		})
	}
}
