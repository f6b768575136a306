package hypervisortest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var images = []sentence{
	{"OpenSnapshot", "OpenSnapshot opens a snapshot for reading.", openReads},
	{"OpenSnapshot", "No such disk or snapshot: not-found.", openAbsent},
	{"OpenSnapshot", "Deleting the snapshot meanwhile does not disturb the reader.", openDeleted},
	{"Changed", "Changed yields the ranges in which snapshot id may differ from the older snapshot base of the same disk: perhaps too much, never too little.", changedTells},
	{"Changed", "What lies beyond the end of the smaller one is a difference unless it is a hole.", changedBeyond},
	{"Changed", "A storage that cannot tell, or snapshots between which it would have to guess: unsupported with the reason, as the only element.", changedUnsupported},
	{"Changed", "No such snapshot: not-found.", changedAbsent},
	{"SnapshotCost", "SnapshotCost is how many bytes Snapshot would have to copy now: 0 where the storage shares blocks.", costTells},
	{"SnapshotFrozen", "SnapshotFrozen is Snapshotter.Snapshot of a disk to which nobody writes until ctx ends, attached or not, even by copying.", frozenCopies},
	{"SnapshotFrozen", "Where the storage lets nobody read what a VM has: unsupported, with the remedy.", frozenCopies},
	{"SnapshotFrozen", "If ctx ends first: unavailable, with nothing left behind.", frozenTooLate},
}

func (e *env) imager(t *testing.T) hypervisor.Imager {
	i, ok := hypervisor.As[hypervisor.Imager](e.h)
	require.True(t, ok, "the implementation under test has no images")
	return i
}

func (e *env) frozen(t *testing.T) hypervisor.FrozenSnapshotter {
	f, ok := hypervisor.As[hypervisor.FrozenSnapshotter](e.h)
	require.True(t, ok, "the implementation under test takes no snapshots of what is frozen")
	return f
}

// put writes data anywhere on a disk that is not attached.
func (e *env) put(t *testing.T, r hypervisor.Ref, off int64, data []byte) {
	dev := e.attach(t, 0, r, false)
	require.NoError(t, e.Guest.Write(dev, off, data))
	e.detach(t, 0, r)
}

func (e *env) snapshot(t *testing.T, r hypervisor.Ref, id volspec.SnapshotID) {
	require.NoError(t, e.snapshotter(t).Snapshot(e.ctx, r, id))
}

func (e *env) openSnapshot(t *testing.T, r hypervisor.Ref, id volspec.SnapshotID) image.Image {
	img, err := e.imager(t).OpenSnapshot(e.ctx, r, id)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, img.Close()) })
	return img
}

// whole is all the content of an image. It is read by its data extents alone,
// and compared with what reading all of it gives.
func (e *env) whole(t *testing.T, img image.Image) []byte {
	all := make([]byte, img.Size())
	n, err := img.ReadAt(all, 0)
	require.Equal(t, len(all), n, "ReadAt reads all or returns an error: %v", err)
	data := make([]byte, img.Size())
	for _, x := range extents(t, img.Data(e.ctx), img.Size()) {
		_, err := img.ReadAt(data[x.Offset:x.End()], x.Offset)
		require.NoError(t, errNotEOF(err))
	}
	require.True(t, bytes.Equal(all, data), "everything outside of the data reads as zeros")
	return all
}

func errNotEOF(err error) error {
	if err == io.EOF { //nolint:errorlint // io.ReaderAt's word, which is not wrapped
		return nil
	}
	return err
}

// extents gathers extents and checks that they are what they are said to be.
func extents(t *testing.T, seq image.Extents, size int64) (all []image.Extent) {
	t.Helper()
	end := int64(0)
	for x, err := range seq {
		require.NoError(t, err)
		require.GreaterOrEqual(t, x.Offset, end, "in order, not overlapping")
		require.Positive(t, x.Length)
		require.LessOrEqual(t, x.End(), size)
		end = x.End()
		all = append(all, x)
	}
	return all
}

// refused is the error of extents that there are none of.
func refused(t *testing.T, seq image.Extents) error {
	t.Helper()
	var all []error
	for x, err := range seq {
		require.Error(t, err, "%v", x)
		all = append(all, err)
	}
	require.Len(t, all, 1, "the error is the only element")
	return all[0]
}

func openReads(t *testing.T, e *env) {
	r := e.disk(t)
	const far = int64(size) - 8192
	e.put(t, r, 0, []byte("one"))
	e.put(t, r, far, []byte("far"))
	e.snapshot(t, r, "s1")
	e.put(t, r, 0, []byte("two"))
	e.grown(t, r)
	img := e.openSnapshot(t, r, "s1")
	assert.EqualValues(t, size, img.Size(), "of that moment")
	want := make([]byte, size)
	copy(want, "one")
	copy(want[far:], "far")
	assert.True(t, bytes.Equal(want, e.whole(t, img)))
	var sum int64
	for _, x := range extents(t, img.Data(e.ctx), img.Size()) {
		sum += x.Length
	}
	assert.Less(t, sum, int64(size)/4, "a hole is none")

	e.put(t, r, far, []byte("new"))
	assert.True(t, bytes.Equal(want, e.whole(t, img)), "the content never changes, and Data may be called again")
	n, err := img.ReadAt(make([]byte, 10), int64(size)-4)
	assert.Equal(t, 4, n)
	require.ErrorIs(t, err, io.EOF)
	_, err = img.ReadAt(make([]byte, 1), int64(size))
	require.ErrorIs(t, err, io.EOF)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			b := make([]byte, 3)
			_, err := img.ReadAt(b, far)
			assert.NoError(t, err)
			assert.Equal(t, "far", string(b))
		})
	}
	wg.Wait()
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	requireKind(t, errkind.Unavailable, refused(t, img.Data(ended)))
	require.NoError(t, img.Close())
	require.NoError(t, img.Close(), "again is nil")
}

func openAbsent(t *testing.T, e *env) {
	i := e.imager(t)
	_, err := i.OpenSnapshot(e.ctx, e.ref(), "s1")
	requireKind(t, errkind.NotFound, err)
	_, err = i.OpenSnapshot(e.ctx, e.disk(t), "s1")
	requireKind(t, errkind.NotFound, err)
	_, err = i.OpenSnapshot(e.ctx, e.disk(t), "../x")
	requireKind(t, errkind.Invalid, err)
}

func openDeleted(t *testing.T, e *env) {
	r := e.disk(t)
	e.put(t, r, 0, []byte("one"))
	e.snapshot(t, r, "s1")
	img := e.openSnapshot(t, r, "s1")
	require.NoError(t, e.snapshotter(t).DeleteSnapshot(e.ctx, r, "s1"))
	assert.Equal(t, "one", string(e.whole(t, img)[:3]))
	require.NoError(t, e.h.Delete(e.ctx, r))
	assert.Equal(t, "one", string(e.whole(t, img)[:3]))
}

// apply is what an incremental backup does: old content and what changed.
func (e *env) apply(t *testing.T, r hypervisor.Ref, base, id volspec.SnapshotID) (same bool, changed int64) {
	old, now := e.openSnapshot(t, r, base), e.openSnapshot(t, r, id)
	got := make([]byte, max(old.Size(), now.Size()))
	copy(got, e.whole(t, old))
	want := make([]byte, len(got))
	copy(want, e.whole(t, now))
	for _, x := range extents(t, e.imager(t).Changed(e.ctx, r, base, id), int64(len(got))) {
		copy(got[x.Offset:x.End()], want[x.Offset:])
		changed += x.Length
	}
	return bytes.Equal(got, want), changed
}

func changedTells(t *testing.T, e *env) {
	if !e.store(t, e.Datastore).Reflink {
		changedUnsupported(t, e)
		return
	}
	r := e.disk(t)
	e.put(t, r, 0, bytes.Repeat([]byte("a"), 1<<20))
	e.snapshot(t, r, "s1")
	e.snapshot(t, r, "s2")
	same, n := e.apply(t, r, "s1", "s2")
	assert.True(t, same)
	assert.Zero(t, n, "what is not changed is not listed")
	e.put(t, r, 64<<10, []byte("inside"))
	e.put(t, r, 8<<20, []byte("new"))
	e.snapshot(t, r, "s3")
	e.put(t, r, 0, []byte("later"))
	for _, base := range []volspec.SnapshotID{"s1", "s2"} {
		same, n = e.apply(t, r, base, "s3")
		assert.True(t, same)
		assert.Positive(t, n)
		assert.LessOrEqual(t, n, int64(256<<10), "it costs what changed")
	}
	for _, err := range e.imager(t).Changed(e.ctx, r, "s1", "s3") {
		assert.NoError(t, err)
		break // no more are wanted
	}
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	requireKind(t, errkind.Unavailable, refused(t, e.imager(t).Changed(ended, r, "s1", "s3")))
}

func changedBeyond(t *testing.T, e *env) {
	if !e.store(t, e.Datastore).Reflink {
		changedUnsupported(t, e)
		return
	}
	r := e.disk(t)
	e.put(t, r, 0, []byte("one"))
	e.snapshot(t, r, "s1")
	if !e.grown(t, r) {
		return
	}
	e.snapshot(t, r, "s2")
	same, n := e.apply(t, r, "s1", "s2")
	assert.True(t, same)
	assert.Zero(t, n, "a hole")
	e.put(t, r, int64(size)+4096, []byte("beyond"))
	e.snapshot(t, r, "s3")
	for _, pair := range [][2]volspec.SnapshotID{{"s1", "s3"}, {"s3", "s1"}} {
		same, n = e.apply(t, r, pair[0], pair[1])
		assert.True(t, same)
		assert.Positive(t, n)
	}
}

func changedUnsupported(t *testing.T, e *env) {
	if e.store(t, e.Datastore).Reflink {
		return // it can tell, see there
	}
	r := e.disk(t)
	e.snapshot(t, r, "s1")
	e.snapshot(t, r, "s2")
	err := refused(t, e.imager(t).Changed(e.ctx, r, "s1", "s2"))
	requireKind(t, errkind.Unsupported, err)
	assert.Contains(t, errkind.Text(err), e.Datastore, "the reason")
}

func changedAbsent(t *testing.T, e *env) {
	r := e.disk(t)
	e.snapshot(t, r, "s1")
	for _, pair := range [][2]volspec.SnapshotID{{"s1", "s9"}, {"s9", "s1"}} {
		requireKind(t, errkind.NotFound, refused(t, e.imager(t).Changed(e.ctx, r, pair[0], pair[1])))
	}
	requireKind(t, errkind.NotFound, refused(t, e.imager(t).Changed(e.ctx, e.ref(), "s1", "s2")))
}

func costTells(t *testing.T, e *env) {
	r := e.disk(t)
	f := e.frozen(t)
	e.put(t, r, 1<<20, bytes.Repeat([]byte("a"), 1<<20))
	cost, err := f.SnapshotCost(e.ctx, r)
	require.NoError(t, err)
	if e.store(t, e.Datastore).Reflink {
		assert.Zero(t, cost)
	} else {
		assert.GreaterOrEqual(t, cost, volspec.MiB)
		assert.Less(t, cost, 2*volspec.MiB, "holes cost nothing")
	}
	_, err = f.SnapshotCost(e.ctx, e.ref())
	requireKind(t, errkind.NotFound, err)
}

func frozenCopies(t *testing.T, e *env) {
	f := e.frozen(t)
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	if err := f.SnapshotFrozen(e.ctx, r, "locked"); errkind.Is(err, errkind.Unsupported) {
		assert.Contains(t, errkind.Text(err), "detach", "the remedy")
		e.detach(t, 0, r)
		require.NoError(t, f.SnapshotFrozen(e.ctx, r, "locked"), "the remedy helps")
		return
	}
	for _, word := range []string{"one", "two"} {
		require.NoError(t, e.Guest.Write(dev, 4096, []byte(word)))
		require.NoError(t, f.SnapshotFrozen(e.ctx, r, volspec.SnapshotID(word)))
	}
	require.NoError(t, e.Guest.Write(dev, 4096, []byte("new")))
	require.NoError(t, f.SnapshotFrozen(e.ctx, r, "two"), "repeated: nil")
	e.detach(t, 0, r)
	for _, word := range []string{"one", "two"} {
		assert.Equal(t, word, string(e.whole(t, e.openSnapshot(t, r, volspec.SnapshotID(word)))[4096:4099]))
	}
	require.NoError(t, f.SnapshotFrozen(e.ctx, r, "detached"))
	requireKind(t, errkind.NotFound, f.SnapshotFrozen(e.ctx, e.ref(), "s1"))
	requireKind(t, errkind.Invalid, f.SnapshotFrozen(e.ctx, r, "../x"))
}

func frozenTooLate(t *testing.T, e *env) {
	r := e.disk(t)
	e.put(t, r, 0, []byte(strings.Repeat("a", 1<<20)))
	e.attach(t, 0, r, false)
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	requireKind(t, errkind.Unavailable, e.frozen(t).SnapshotFrozen(ended, r, "s1"))
	ids, err := e.snapshotter(t).Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Empty(t, ids)
	e.detach(t, 0, r)
}
