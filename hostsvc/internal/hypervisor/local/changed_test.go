package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// tb is what *testing.T and *rapid.T have.
type tb interface {
	require.TestingT
	Context() context.Context
}

// content is all of a snapshot.
func (w *world) content(t tb, r hypervisor.Ref, id volspec.SnapshotID) []byte {
	img, err := w.OpenSnapshot(t.Context(), r, id)
	require.NoError(t, err)
	defer img.Close()
	all := make([]byte, img.Size())
	_, err = img.ReadAt(all, 0)
	require.NoError(t, err)
	return all
}

func (w *world) changes(t tb, r hypervisor.Ref, base, id volspec.SnapshotID) (all []image.Extent) {
	for e, err := range w.Changed(t.Context(), r, base, id) {
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}

const block = 4096

// work is what happens to an image between two snapshots, and which blocks it
// touches.
type work struct {
	f       *os.File
	size    int64
	touched map[int64]bool
}

func (k *work) touch(off, n int64) {
	for b := off / block; b <= (off+n-1)/block; b++ {
		k.touched[b] = true
	}
}

func (k *work) step(t *rapid.T) {
	off := rapid.Int64Range(0, k.size/512-1).Draw(t, "sector") * 512
	n := min(rapid.Int64Range(1, 200).Draw(t, "sectors")*512, k.size-off)
	fd := int(k.f.Fd())
	what := rapid.SampledFrom([]string{"write", "write", "write", "again", "zeros", "discard", "reserve", "zero range", "truncate", "sync"}).Draw(t, "what")
	switch what {
	case "write":
		_, err := k.f.WriteAt(bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, int(n)), off)
		require.NoError(t, err)
	case "again": // the same bytes once more
		b := make([]byte, n)
		_, err := k.f.ReadAt(b, off)
		require.NoError(t, err)
		_, err = k.f.WriteAt(b, off)
		require.NoError(t, err)
	case "zeros":
		_, err := k.f.WriteAt(make([]byte, n), off)
		require.NoError(t, err)
	case "discard":
		require.NoError(t, unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n))
	case "reserve":
		require.NoError(t, unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n))
	case "zero range":
		err := unix.Fallocate(fd, unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		require.NoError(t, err)
	case "truncate": // as after Grow, or Build of a smaller disk
		size := rapid.Int64Range(1, 4096).Draw(t, "size") * 512
		require.NoError(t, k.f.Truncate(size))
		k.touch(min(k.size, size), max(k.size, size)-min(k.size, size)+1)
		k.size = size
		return
	case "sync":
		require.NoError(t, k.f.Sync())
		return
	}
	k.touch(off, n)
}

// Whatever happens to a disk between two snapshots: the old content with what
// changed of the new one is the new content, and what nobody touched is not
// listed.
func TestChangedAgainstContent(t *testing.T) {
	for _, fstype := range []string{"xfs", "btrfs"} {
		t.Run(fstype, func(t *testing.T) {
			w := newWorld(t, mounted(t, fstype, 600))
			rapid.Check(t, func(rt *rapid.T) { w.compareSnapshots(t, rt, fstype == "xfs") })
		})
	}
}

// exact: no more is listed than was touched. btrfs keeps very small files
// within its own records, where they have no place.
func (w *world) compareSnapshots(t *testing.T, rt *rapid.T, exact bool) {
	const size = 2 << 20
	r := newRef()
	format := rapid.SampledFrom([]string{volspec.Thin, volspec.Thin, volspec.ZeroedThick}).Draw(rt, "format")
	require.NoError(t, w.Create(t.Context(), r, size, format))
	defer func() { require.NoError(t, w.Delete(t.Context(), r)) }()
	f, err := os.OpenFile(w.path(r), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	k := &work{f: f, size: size}
	var last volspec.SnapshotID
	for i := range rapid.IntRange(2, 4).Draw(rt, "snapshots") {
		k.touched = map[int64]bool{}
		for range rapid.IntRange(0, 12).Draw(rt, "steps") {
			k.step(rt)
		}
		id := volspec.SnapshotID(fmt.Sprintf("s%d", i))
		require.NoError(t, w.Snapshot(t.Context(), r, id))
		if !exact {
			k.touched = nil
		}
		if last != "" {
			w.verifyChanged(rt, r, last, id, k.touched)
		}
		last = id
	}
	if last != "s1" { // over more than one step, and backwards
		w.verifyChanged(rt, r, "s0", last, nil)
		w.verifyChanged(rt, r, last, "s0", nil)
	}
}

func (w *world) verifyChanged(t tb, r hypervisor.Ref, base, id volspec.SnapshotID, touched map[int64]bool) {
	old, now := w.content(t, r, base), w.content(t, r, id)
	got := make([]byte, max(len(old), len(now)))
	want := make([]byte, len(got))
	copy(got, old)
	copy(want, now)
	end := int64(-1)
	for _, e := range w.changes(t, r, base, id) {
		require.Greater(t, e.Offset, end, "in order, neighbours are one")
		require.Positive(t, e.Length)
		end = e.End()
		require.LessOrEqual(t, end, int64(len(got)))
		copy(got[e.Offset:end], want[e.Offset:])
		for b := e.Offset / block; touched != nil && b <= (end-1)/block; b++ {
			require.True(t, touched[b], "block %d is listed and nobody touched it", b)
		}
	}
	require.True(t, bytes.Equal(got, want), "%s and what changed is not %s", base, id)
}

// More extents than one batch holds, written through the disk's device.
func TestChangedOfManyExtents(t *testing.T) {
	for _, fstype := range []string{"xfs", "btrfs"} {
		w := newWorld(t, mounted(t, fstype, 600))
		r := w.disk(t, 64*volspec.MiB)
		dev := w.attach(t, w.a, r, false)
		g := guest{w}
		fill := func(from, step int64, b byte) {
			f, err := os.OpenFile(g.node(dev), os.O_RDWR, 0)
			require.NoError(t, err)
			for off := from; off < 64<<20; off += step {
				_, err := f.WriteAt(bytes.Repeat([]byte{b}, block), off)
				require.NoError(t, err)
			}
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
		}
		fill(0, 4*block, 1)
		require.NoError(t, w.Snapshot(t.Context(), r, "s1"))
		fill(8*block, 16*block, 2) // over what is there
		fill(3*block, 64*block, 3) // into holes
		require.NoError(t, w.Snapshot(t.Context(), r, "s2"))
		fill(0, block, 4)
		var sum int64
		all := w.changes(t, r, "s1", "s2")
		for _, e := range all {
			sum += e.Length
		}
		assert.Len(t, all, 1024+256, fstype)
		assert.EqualValues(t, (1024+256)*block, sum, "exactly what was written")
		w.verifyChanged(t, r, "s1", "s2", nil)
		m, err := mapOf(w.snapshotFile(t, r, "s1"))
		require.NoError(t, err)
		_, _, err = m.next(t.Context())
		require.NoError(t, err)
		assert.LessOrEqual(t, len(m.batch), fiemapBatch)
		assert.False(t, m.last, "it takes several batches")
		require.NoError(t, w.Detach(t.Context(), w.a.id, r))
	}
}

func (w *world) snapshotFile(t *testing.T, r hypervisor.Ref, id volspec.SnapshotID) *os.File {
	f, err := os.Open(filepath.Join(filepath.Dir(w.path(r)), snapName(r, id)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// btrfs says of compressed data where the whole of it lies, not which part is
// meant.
func TestChangedWhereDataIsCompressed(t *testing.T) {
	base := mounted(t, "btrfs", 600)
	run(t, "mount", "-o", "remount,compress-force=zstd", base)
	w := newWorld(t, base)
	r := w.disk(t, 16*volspec.MiB)
	f, err := os.OpenFile(w.path(r), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte("compressible "), 100_000), 0)
	require.NoError(t, err)
	require.NoError(t, w.Snapshot(t.Context(), r, "s1"))
	require.NoError(t, w.Snapshot(t.Context(), r, "s2"))
	n := 0
	for _, err := range w.Changed(t.Context(), r, "s1", "s2") {
		n++
		requireKind(t, errkind.Unsupported, err)
		assert.Contains(t, errkind.Text(err), "compresses")
	}
	assert.Equal(t, 1, n)
}

// A file system can answer without a place; then nothing is taken for equal.
func TestUnknownPlacesDiffer(t *testing.T) {
	m := &extentMap{size: 10 * block, request: new(fiemapRequest)}
	for i, flags := range []uint32{0, extentShared | extentMerged, 0x2, 0x4, 0x100, 0x200, 0x400, extentUnwrit, extentLast} {
		m.add(fiemapExtent{logical: uint64(i * block), physical: uint64(i * block), length: block, flags: flags})
	}
	var known []int64
	for _, p := range m.batch {
		if p.known {
			known = append(known, p.from/block)
		} else {
			_, _, same := firstStep(p, true, p, true)
			assert.False(t, same)
		}
	}
	assert.Equal(t, []int64{0, 1, 8}, known)
	assert.Len(t, m.batch, 8, "what was never written is a hole")
}

// A defragmentation moves blocks: too much is listed then, never too little.
func TestChangedAfterDefragmentation(t *testing.T) {
	w := newWorld(t, mounted(t, "btrfs", 600))
	r := w.disk(t, 16*volspec.MiB)
	f, err := os.OpenFile(w.path(r), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	for i := range int64(200) {
		_, err := f.WriteAt(bytes.Repeat([]byte{byte(i)}, block), i*7%200*2*block)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
	}
	require.NoError(t, w.Snapshot(t.Context(), r, "s1"))
	_, err = f.WriteAt([]byte("new"), 8<<20)
	require.NoError(t, err)
	run(t, "btrfs", "filesystem", "defragment", "-f", w.path(r))
	require.NoError(t, w.Snapshot(t.Context(), r, "s2"))
	w.verifyChanged(t, r, "s1", "s2", nil)
}
