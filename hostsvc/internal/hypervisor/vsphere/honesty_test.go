package vsphere

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// told are the changes between two snapshots, or why they cannot be told.
func (w *world) told(t *testing.T, base, id volspec.SnapshotID) (all []image.Extent, err error) {
	t.Helper()
	for e, err := range w.v.Changed(t.Context(), w.src, base, id) {
		if err != nil {
			require.Empty(t, all, "the error is the only element")
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// content is all of a snapshot, read as a backup does: its data alone.
func (w *world) content(t *testing.T, id volspec.SnapshotID) []byte {
	t.Helper()
	img, err := w.v.OpenSnapshot(t.Context(), w.src, id)
	require.NoError(t, err)
	defer img.Close()
	all := make([]byte, img.Size())
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		_, err = img.ReadAt(all[e.Offset:e.End()], e.Offset)
		if err != io.EOF { //nolint:errorlint // io.ReaderAt's word, which is not wrapped
			require.NoError(t, err)
		}
	}
	return all
}

func (w *world) class(t *testing.T) firstClass {
	t.Helper()
	d, err := w.v.firstClass(t.Context(), w.src, layout.Name{Volume: w.src.Volume})
	require.NoError(t, err)
	return d
}

func TestWhereTrackingCannotBeBelievedItSaysSo(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	for _, c := range []struct {
		what   string
		spoil  func(t *testing.T, w *world)
		reason string
	}{
		{"tracking was reset", func(t *testing.T, w *world) {
			require.NoError(t, w.sim.ResetCBT(t.Context(), w.class(t).id.Id))
		}, "begun anew"},
		{"the disk was put back to an earlier state", func(t *testing.T, w *world) {
			d := w.class(t)
			all, err := w.v.snapshotsOf(t.Context(), d)
			require.NoError(t, err)
			s1, ok := labelled(all, snapshotLabel+"s1")
			require.True(t, ok)
			require.NoError(t, w.v.globalTask(t.Context(), "reverting", func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
				return m.Revert(ctx, d.id, s1.id)
			}))
		}, "begun anew"},
		{"tracking was off and on again", func(t *testing.T, w *world) {
			d := w.class(t)
			require.NoError(t, w.v.global(t.Context(), "clearing", func(ctx context.Context, m *vslm.GlobalObjectManager) error {
				return m.ClearControlFlags(ctx, d.id)
			}))
			require.NoError(t, w.v.mark(t.Context(), w.src, d.id, keepFlag, trackFlag))
		}, "begun anew"},
	} {
		t.Run(c.what, func(t *testing.T) {
			w := s.world(t)
			t.Cleanup(func() { s.clean(t) })
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
			c.spoil(t, w)
			w.write(t, w.src, "two")
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
			_, err := w.told(t, "s1", "s2")
			require.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", err)
			assert.Contains(t, errkind.Text(err), c.reason)
			assert.Contains(t, errkind.Text(err), w.src.Datastore)
			// What is read instead is right, and from here on changes are told again.
			assert.Equal(t, "two", string(w.content(t, "s2")[:3]))
			w.write(t, w.src, "new")
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s3"))
			all, err := w.told(t, "s2", "s3")
			require.NoError(t, err)
			assert.NotEmpty(t, all)
		})
	}
}

func TestADiskWhoseChangesWereNotTrackedIsReadWhole(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	d := w.class(t)
	require.NoError(t, w.v.takeSnapshot(t.Context(), d, "of somebody else"))
	require.NoError(t, w.v.global(t.Context(), "clearing", func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		return m.ClearControlFlags(ctx, d.id)
	}))
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"), "with a snapshot there tracking is not begun")
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
	_, err := w.told(t, "s1", "s2")
	require.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", err)
	assert.Contains(t, errkind.Text(err), "not tracked")
	got := w.content(t, "s2")
	assert.Equal(t, "one", string(got[:3]))
	assert.True(t, bytes.Equal(make([]byte, len(got)-3), got[3:]))
}

// TestFullAndIncrementalsAreTheSnapshot writes at random between snapshots, and
// while they are read.
func TestFullAndIncrementalsAreTheSnapshot(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, w.src, false)
	require.NoError(t, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	scribble := func(n int) {
		for range n {
			b := make([]byte, 1+rnd.IntN(20<<10))
			for i := range b {
				b[i] = byte(rnd.Uint32())
			}
			require.NoError(t, guest{s}.Write(dev, rnd.Int64N(int64(small)-int64(len(b))), b))
		}
	}
	scribble(30)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s0"))
	scribble(5)
	point := w.content(t, "s0")
	for i, id := range []volspec.SnapshotID{"s1", "s2", "s3"} {
		base := volspec.SnapshotID([]string{"s0", "s1", "s2"}[i])
		require.NoError(t, w.v.Snapshot(t.Context(), w.src, id))
		scribble(5)
		changed, err := w.told(t, base, id)
		require.NoError(t, err)
		img, err := w.v.OpenSnapshot(t.Context(), w.src, id)
		require.NoError(t, err)
		var sum int64
		for _, e := range changed {
			_, err := img.ReadAt(point[e.Offset:e.End()], e.Offset)
			if err != io.EOF { //nolint:errorlint // io.ReaderAt's word, which is not wrapped
				require.NoError(t, err)
			}
			sum += e.Length
		}
		require.NoError(t, img.Close())
		assert.Less(t, sum, int64(small)/2, "it costs what changed")
		assert.Equal(t, sha256.Sum256(w.content(t, id)), sha256.Sum256(point), "%s", id)
		require.NoError(t, w.v.DeleteSnapshot(t.Context(), w.src, base))
	}
	require.NoError(t, w.v.Detach(t.Context(), dev.VM, w.src))
}

// TestALargeSparseDiskCostsWhatItHolds is about 1 TiB with 5 MiB in it.
func TestALargeSparseDiskCostsWhatItHolds(t *testing.T) {
	s := newSite(t, FCD, control.Options{Capacity: 4 << 40})
	v := s.open(t)
	t.Cleanup(func() { s.clean(t) })
	r := hypervisor.Ref{Datastore: "ds-0", Group: "g", Volume: "large"}
	const size = volspec.TiB
	require.NoError(t, v.Create(t.Context(), r, size, volspec.Thin))
	flat := filepath.Join(s.sim.Dir, "ds-0", layout.Folder("g"), "large-flat.vmdk")
	put := func(off int64) {
		f, err := os.OpenFile(flat, os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt(bytes.Repeat([]byte("x"), 1<<20), off)
		require.NoError(t, err)
	}
	for i := range int64(5) {
		put(i * 200 << 30)
	}
	begun := time.Now()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, v.Snapshot(t.Context(), r, "s1"))
	img, err := v.OpenSnapshot(t.Context(), r, "s1")
	require.NoError(t, err)
	defer img.Close()
	require.EqualValues(t, size, img.Size())
	n := &tally{}
	require.NoError(t, image.Copy(t.Context(), n, img, image.CopyOptions{Streams: 2}))
	assert.EqualValues(t, 5<<20, n.wrote.Load())
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	assert.Less(t, after.HeapSys-min(before.HeapSys, after.HeapSys), uint64(64<<20), "memory does not grow with the disk")
	took := time.Since(begun)
	assert.Less(t, took, 30*time.Second)
	t.Logf("full read of 1 TiB with 5 MiB: %s, %d MiB of heap", took, (after.HeapSys-min(before.HeapSys, after.HeapSys))>>20)
}

// tally is a target that counts.
type tally struct {
	image.Target
	wrote atomic.Int64
}

func (n *tally) WriteAt(p []byte, _ int64) (int, error) {
	n.wrote.Add(int64(len(p)))
	return len(p), nil
}
