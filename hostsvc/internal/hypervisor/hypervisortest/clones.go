package hypervisortest

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var clones = []sentence{
	{"Clone", "Clone copies src, or its snapshot if snap is not empty, to dst.", cloneCopies},
	{"Clone", "The copy is of one moment even while src is written to; where that cannot be had it is unsupported, with the remedy.", cloneOneMoment},
	{"Clone", "Repeated: nil when dst is complete.", cloneRepeated},
	{"Clone", "A disk of another size at dst: exists.", cloneOtherSize},
	{"Clone", "No such disk or snapshot: not-found.", cloneAbsent},
	{"Clone", "No room: quota, with nothing left behind.", cloneNoRoom},
}

var snapshots = []sentence{
	{"Snapshotter", "Snapshots of a disk go with it.", deleteAll},
	{"Snapshot", "Snapshot freezes the disk's content under id.", snapshotFreezes},
	{"Snapshot", "Repeated: nil.", snapshotRepeated},
	{"Snapshot", "Where the storage cannot do it while the disk is attached: unsupported.", snapshotAttached},
	{"DeleteSnapshot", "DeleteSnapshot removes one.", snapshotDelete},
	{"DeleteSnapshot", "Absent: nil.", snapshotDeleteAbsent},
	{"Snapshots", "Snapshots lists the ids of one disk's complete snapshots.", snapshotsList},
}

func cloneCopies(t *testing.T, e *env) {
	src := e.disk(t)
	e.write(t, src, "one")
	require.NoError(t, e.snapshotter(t).Snapshot(e.ctx, src, "s1"))
	e.write(t, src, "two")
	require.NoError(t, e.h.PutMeta(e.ctx, src, []byte("of the source")))
	for _, f := range formats {
		for _, store := range []string{e.Datastore, e.Other} {
			for snap, want := range map[volspec.SnapshotID]string{"": "two", "s1": "one"} {
				dst := e.refOn(store)
				require.NoError(t, e.h.Clone(e.ctx, src, snap, dst, f))
				assert.Equal(t, want, e.content(t, dst, 3))
				d, err := e.h.Stat(e.ctx, dst)
				require.NoError(t, err)
				assert.Equal(t, size, d.Size)
				assert.Nil(t, d.Meta, "metadata belongs to one disk")
				if f != volspec.Thin {
					assert.GreaterOrEqual(t, d.Allocated, size, f)
				}
				e.write(t, dst, "new")
				require.NoError(t, e.h.Delete(e.ctx, dst))
			}
		}
	}
	assert.Equal(t, "two", e.content(t, src, 3), "the source is its own")
	requireKind(t, errkind.Invalid, e.h.Clone(e.ctx, src, "", e.ref(), "2gbsparse"))
	requireKind(t, errkind.Invalid, e.h.Clone(e.ctx, src, "", hypervisor.Ref{Datastore: e.Datastore, Group: e.group, Volume: "../x"}, volspec.Thin))
}

// cloneOneMoment has a program in the guest count upwards in two places, the
// first place first. In a copy of one moment the second is never ahead.
func cloneOneMoment(t *testing.T, e *env) {
	const second = 64 << 10
	src := e.disk(t)
	dev := e.attach(t, 0, src, false)
	stop, cancel := context.WithCancel(e.ctx)
	var wg sync.WaitGroup
	var writeErr error
	started := make(chan struct{})
	wg.Go(func() {
		for i := uint32(1); stop.Err() == nil && writeErr == nil; i++ {
			b := binary.BigEndian.AppendUint32(nil, i)
			if writeErr = e.Guest.Write(dev, 0, b); writeErr == nil {
				writeErr = e.Guest.Write(dev, second, b)
			}
			if i == 1 {
				close(started)
			}
		}
	})
	<-started
	var copies []hypervisor.Ref
	for _, f := range formats {
		dst := e.ref()
		err := e.h.Clone(e.ctx, src, "", dst, f)
		if e.store(t, e.Datastore).Reflink {
			require.NoError(t, err, "the datastore says that it can")
			copies = append(copies, dst)
			continue
		}
		requireKind(t, errkind.Unsupported, err)
		assert.Contains(t, errkind.Text(err), "detach", "the remedy")
		e.absent(t, dst)
	}
	cancel()
	wg.Wait()
	require.NoError(t, writeErr)
	e.detach(t, 0, src)
	for _, c := range copies {
		dev := e.attach(t, 1, c, true)
		a, err := e.Guest.Read(dev, 0, 4)
		require.NoError(t, err)
		b, err := e.Guest.Read(dev, second, 4)
		require.NoError(t, err)
		first, then := binary.BigEndian.Uint32(a), binary.BigEndian.Uint32(b)
		assert.NotZero(t, first)
		assert.True(t, first == then || first == then+1, "%d and %d are not of one moment", first, then)
		e.detach(t, 1, c)
	}
	require.NoError(t, e.h.Clone(e.ctx, src, "", e.ref(), volspec.Thin), "the remedy helps")
}

func cloneRepeated(t *testing.T, e *env) {
	src, dst := e.disk(t), e.ref()
	e.write(t, src, "one")
	require.NoError(t, e.h.Clone(e.ctx, src, "", dst, volspec.Thin))
	e.write(t, src, "two")
	e.attach(t, 0, src, false)
	require.NoError(t, e.h.Clone(e.ctx, src, "", dst, volspec.Thin))
	e.detach(t, 0, src)
	assert.Equal(t, "one", e.content(t, dst, 3), "a complete copy is left alone")
}

func cloneOtherSize(t *testing.T, e *env) {
	src, dst := e.disk(t), e.ref()
	require.NoError(t, e.h.Create(e.ctx, dst, 2*size, volspec.Thin))
	requireKind(t, errkind.Exists, e.h.Clone(e.ctx, src, "", dst, volspec.Thin))
}

func cloneAbsent(t *testing.T, e *env) {
	dst := e.ref()
	requireKind(t, errkind.NotFound, e.h.Clone(e.ctx, e.ref(), "", dst, volspec.Thin))
	requireKind(t, errkind.NotFound, e.h.Clone(e.ctx, e.disk(t), "s9", dst, volspec.Thin))
	e.absent(t, dst)
}

func cloneNoRoom(t *testing.T, e *env) {
	src, dst := e.ref(), e.ref()
	require.NoError(t, e.h.Create(e.ctx, src, e.tooMuch(t, e.Datastore), volspec.Thin))
	for _, f := range formats[1:] {
		requireKind(t, errkind.Quota, e.h.Clone(e.ctx, src, "", dst, f))
		e.absent(t, dst)
	}
}

func snapshotFreezes(t *testing.T, e *env) {
	s := e.snapshotter(t)
	r := e.disk(t)
	for _, word := range []string{"one", "two", "three"} {
		e.write(t, r, word)
		require.NoError(t, s.Snapshot(e.ctx, r, volspec.SnapshotID(word)))
	}
	e.grown(t, r)
	for _, word := range []string{"one", "two", "three"} {
		dst := e.ref()
		require.NoError(t, e.h.Clone(e.ctx, r, volspec.SnapshotID(word), dst, volspec.Thin))
		assert.Equal(t, word, e.content(t, dst, len(word)))
		d, err := e.h.Stat(e.ctx, dst)
		require.NoError(t, err)
		assert.Equal(t, size, d.Size, "the size is of that moment too")
	}
	found, errs := e.list(e.Datastore)
	require.Empty(t, errs)
	assert.Len(t, found, 4, "snapshots are no disks")
	requireKind(t, errkind.Invalid, s.Snapshot(e.ctx, r, "../x"))
	requireKind(t, errkind.NotFound, s.Snapshot(e.ctx, e.ref(), "s1"))
}

func snapshotRepeated(t *testing.T, e *env) {
	s := e.snapshotter(t)
	r := e.disk(t)
	e.write(t, r, "one")
	require.NoError(t, s.Snapshot(e.ctx, r, "s1"))
	e.write(t, r, "two")
	e.attach(t, 0, r, false)
	require.NoError(t, s.Snapshot(e.ctx, r, "s1"))
	e.detach(t, 0, r)
	dst := e.ref()
	require.NoError(t, e.h.Clone(e.ctx, r, "s1", dst, volspec.Thin))
	assert.Equal(t, "one", e.content(t, dst, 3), "a complete snapshot is left alone")
}

func snapshotAttached(t *testing.T, e *env) {
	s := e.snapshotter(t)
	r := e.disk(t)
	dev := e.attach(t, 0, r, false)
	require.NoError(t, e.Guest.Write(dev, 0, []byte("one")))
	err := s.Snapshot(e.ctx, r, "s1")
	if e.store(t, e.Datastore).Reflink {
		require.NoError(t, err)
		require.NoError(t, e.Guest.Write(dev, 0, []byte("two")))
		dst := e.ref()
		require.NoError(t, e.h.Clone(e.ctx, r, "s1", dst, volspec.Thin))
		assert.Equal(t, "one", e.content(t, dst, 3))
		e.detach(t, 0, r)
		return
	}
	requireKind(t, errkind.Unsupported, err)
	assert.Contains(t, errkind.Text(err), "detach", "the remedy")
	ids, err := s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Empty(t, ids)
	e.detach(t, 0, r)
	require.NoError(t, s.Snapshot(e.ctx, r, "s1"), "the remedy helps")
}

func snapshotDelete(t *testing.T, e *env) {
	s := e.snapshotter(t)
	r := e.disk(t)
	require.NoError(t, s.Snapshot(e.ctx, r, "s1"))
	require.NoError(t, s.Snapshot(e.ctx, r, "s2"))
	require.NoError(t, s.DeleteSnapshot(e.ctx, r, "s1"))
	ids, err := s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, []volspec.SnapshotID{"s2"}, ids)
	requireKind(t, errkind.NotFound, e.h.Clone(e.ctx, r, "s1", e.ref(), volspec.Thin))
	_, err = e.h.Stat(e.ctx, r)
	require.NoError(t, err)
}

func snapshotDeleteAbsent(t *testing.T, e *env) {
	s := e.snapshotter(t)
	require.NoError(t, s.DeleteSnapshot(e.ctx, e.disk(t), "s1"))
	require.NoError(t, s.DeleteSnapshot(e.ctx, e.ref(), "s1"))
	requireKind(t, errkind.Invalid, s.DeleteSnapshot(e.ctx, e.disk(t), ""))
}

func snapshotsList(t *testing.T, e *env) {
	s := e.snapshotter(t)
	r, other := e.disk(t), e.disk(t)
	ids, err := s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Empty(t, ids)
	long := volspec.SnapshotID(strings.Repeat("a", 36))
	for _, id := range []volspec.SnapshotID{"s1", long} {
		require.NoError(t, s.Snapshot(e.ctx, r, id))
	}
	require.NoError(t, s.Snapshot(e.ctx, other, "s3"))
	ids, err = s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.ElementsMatch(t, []volspec.SnapshotID{"s1", long}, ids)
	_, err = s.Snapshots(e.ctx, e.ref())
	requireKind(t, errkind.NotFound, err)
}
