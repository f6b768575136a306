package driver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// A plugin that lost its ledger counts what the engine runs before it serves
// anything, and gives the disk back when the container has gone.
func TestLostLedgerIsRebuiltFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		w.set(func() { w.containers["c1"] = &simContainer{volume: "v", id: "c1", disk: v.disk} })
		p = p.restart(t, false)
		defer func() { p.stop() }()
		held, _ := p.o.Ledger.Volume(v.ID)
		require.Equal(t, 1, held.Count())
		p.beat(t.Context())
		held, _ = p.o.Ledger.Volume(v.ID)
		assert.EqualValues(t, 1, held.Epoch, "and learns which attachment it is")
		assert.Equal(t, "v@ds1", held.Name)

		// A second container comes and goes: the first keeps the mount.
		_, err = p.Mount(t.Context(), "v", "m2")
		require.NoError(t, err)
		require.NoError(t, p.Unmount(t.Context(), "v", "m2"))
		assert.Len(t, w.mounts, 1)
		w.set(func() { delete(w.containers, "c1") })
		require.NoError(t, p.Unmount(t.Context(), "v", "m1"), "an ID it never saw")
		p.passed(t)
		assert.False(t, v.attached)
		w.sane(t)
	})
}

// While the engine is away no disk whose use may still go on is given back.
func TestNoEvidenceReleasesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer func() { p.stop() }()
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		w.set(func() { w.engineDown = true })
		p.passed(t)
		assert.True(t, v.attached, "counted")
		p = p.restart(t, false)
		p.passed(t)
		assert.True(t, v.attached, "not counted any more, but nobody says it is unused")
		w.set(func() { w.engineDown = false })
		p.passed(t)
		assert.False(t, v.attached)
		w.sane(t)
	})
}

// Unmount came, but the host service was away: it is told later.
func TestDetachIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		w.set(func() { w.onDetach = func() error { return errAway } })
		require.NoError(t, p.Unmount(t.Context(), "v", "m1"))
		assert.True(t, v.attached)
		assert.Empty(t, w.mounts)
		w.set(func() { w.onDetach = nil })
		time.Sleep(soon + time.Second) // a poke is enough to begin, no long wait
		p.reconcile(context.Background())
		time.Sleep(pendingGrace)
		p.reconcile(context.Background())
		assert.False(t, v.attached)
		w.sane(t)
	})
}

// An attachment that changed hands behind a mount that still looks alive, as
// when a disk is taken out and plugged in again under the same device name.
func TestMountOfAnEndedAttachmentIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		path, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		old := &simDisk{name: "old", content: "fs"}
		w.set(func() { w.mounts[path], v.attached = old, false })
		_, err = p.Mount(t.Context(), "v", "m2")
		require.NoError(t, err)
		assert.Same(t, v.disk, w.mounts[path])
		w.sane(t)
	})
}

func TestRemoveWithStaleUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		v := w.volumes["v@ds1"]
		w.set(func() { w.containers["c"] = &simContainer{volume: "v", id: "c", disk: v.disk} })
		err = p.Remove(t.Context(), "v")
		require.True(t, errkind.Is(err, errkind.InUse), "%v", err)
		assert.EqualError(t, err, "Remove failure - volume is still mounted.  volume=v@ds1, refcount=1")
		w.set(func() { delete(w.containers, "c"); w.engineDown = true })
		assert.True(t, errkind.Is(p.Remove(t.Context(), "v"), errkind.InUse), "no evidence")
		w.set(func() { w.engineDown = false })
		require.NoError(t, p.Remove(t.Context(), "v"))
		assert.Empty(t, w.volumes)
		assert.Empty(t, w.mounts)
		require.NoError(t, p.Remove(t.Context(), "v"), "absent is a success")
		w.sane(t)
	})
}

func TestDiskGrowsWhileMounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		w.set(func() { v.SizeBytes *= 2 }) // the service says so before the kernel does
		p.beat(t.Context())
		held, _ := p.o.Ledger.Volume(v.ID)
		assert.Equal(t, v.SizeBytes/2, held.FSBytes)
		w.set(func() { v.disk.size = v.SizeBytes })
		p.beat(t.Context())
		held, _ = p.o.Ledger.Volume(v.ID)
		assert.Equal(t, v.SizeBytes, held.FSBytes)
		assert.Equal(t, v.SizeBytes, held.Size)
	})
}

// Ids come from the host service; one that is no id names no folder.
func TestIDsAreChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		w.set(func() { v.ID = "../../etc" })
		_, err := p.Mount(t.Context(), "v", "m1")
		assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)
		assert.Empty(t, w.mounts)
	})
}
