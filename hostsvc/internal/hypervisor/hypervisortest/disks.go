package hypervisortest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var formats = []string{volspec.Thin, volspec.ZeroedThick, volspec.EagerZeroedThick}

var disks = []sentence{
	{"Create", "Create makes a disk that reads as zeros.", createReadsZeros},
	{"Create", "A size that is no multiple of the datastore's unit is rounded up to one.", createRounds},
	{"Create", "The format decides what is allocated now: thin nothing, zeroedthick all of it, eagerzeroedthick all of it and written.", createFormats},
	{"Create", "Repeated with the same size and format: nil.", createRepeated},
	{"Create", "A disk of another size: exists.", createOtherSize},
	{"Create", "No room: quota, with nothing left behind.", createNoRoom},
	{"Delete", "Delete removes a disk, its snapshots and its metadata.", deleteAll},
	{"Delete", "Absent: nil.", deleteAbsent},
	{"Delete", "Attached to a VM: in-use.", deleteAttached},
	{"Stat", "Stat describes one disk.", statDescribes},
	{"Stat", "Absent: not-found.", statAbsent},
	{"Stat", "Unreadable: corrupt.", statUnreadable},
	{"List", "List yields every disk of one datastore, in no order.", listAll},
	{"List", "An unreadable entry is yielded with its error; the listing goes on.", listUnreadable},
	{"Grow", "Grow enlarges a disk, rounding as Create does; what is attached sees the new size.", growSeen},
	{"Grow", "Already that large: nil.", growAlready},
	{"Grow", "Never shrinks: smaller is invalid.", growNeverShrinks},
	{"Grow", "No room: quota, with the disk as it was.", growNoRoom},
	{"Grow", "Where its snapshots keep a disk from growing: in-use, with the remedy.", growPinned},
	{"PutMeta", "PutMeta replaces the record, atomically and durably.", metaReplaces},
	{"PutMeta", "It may be called before the disk exists.", metaBeforeDisk},
	{"PutMeta", "Alone it is no disk.", metaIsNoDisk},
}

func createReadsZeros(t *testing.T, e *env) {
	for _, f := range formats {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, size, f), f)
		assert.Equal(t, strings.Repeat("\x00", 4096), e.content(t, r, 4096), f)
	}
	// not what an earlier disk of the same name held
	r := e.disk(t)
	e.write(t, r, "secret")
	require.NoError(t, e.h.Delete(e.ctx, r))
	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin))
	assert.Equal(t, strings.Repeat("\x00", 6), e.content(t, r, 6))
}

func createRounds(t *testing.T, e *env) {
	unit := e.store(t, e.Datastore).Unit
	require.GreaterOrEqual(t, unit, volspec.Size(512))
	require.Zero(t, unit&(unit-1), "a power of two")
	for _, asked := range []volspec.Size{size - unit + 1, size - 1, size} {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, asked, volspec.Thin))
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.Equal(t, size, d.Size, "%d asked", asked)
		require.NoError(t, e.h.Create(e.ctx, r, asked, volspec.Thin), "repeated")
		assert.Equal(t, size, e.attach(t, 0, r, false).Size)
		e.detach(t, 0, r)
	}
}

func createFormats(t *testing.T, e *env) {
	for _, f := range formats {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, size, f), f)
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.Equal(t, size, d.Size, f)
		if f == volspec.Thin {
			assert.Less(t, d.Allocated, volspec.MiB, f)
		} else {
			assert.GreaterOrEqual(t, d.Allocated, size, f)
		}
	}
	r := e.ref()
	requireKind(t, errkind.Invalid, e.h.Create(e.ctx, r, size, "2gbsparse"))
	requireKind(t, errkind.Invalid, e.h.Create(e.ctx, r, 0, volspec.Thin))
	requireKind(t, errkind.Invalid, e.h.Create(e.ctx, r, -1, volspec.Thin))
	e.absent(t, r)
}

func createRepeated(t *testing.T, e *env) {
	for _, f := range formats {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, size, f), f)
		e.write(t, r, "data")
		require.NoError(t, e.h.Create(e.ctx, r, size, f), f)
		assert.Equal(t, "data", e.content(t, r, 4), "%s: the disk is left as it was", f)
	}
}

func createOtherSize(t *testing.T, e *env) {
	r := e.disk(t)
	requireKind(t, errkind.Exists, e.h.Create(e.ctx, r, 2*size, volspec.Thin))
	requireKind(t, errkind.Exists, e.h.Create(e.ctx, r, size/2, volspec.Thin))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, size, d.Size)
}

// tooMuch is more than a datastore has room for.
func (e *env) tooMuch(t *testing.T, datastore string) volspec.Size {
	return min(2*e.store(t, datastore).Free, volspec.MaxSize)
}

func createNoRoom(t *testing.T, e *env) {
	for _, f := range formats[1:] {
		r := e.ref()
		requireKind(t, errkind.Quota, e.h.Create(e.ctx, r, e.tooMuch(t, e.Datastore), f))
		e.absent(t, r)
	}
	r := e.ref()
	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin), "and there is room again")
}

func deleteAll(t *testing.T, e *env) {
	r, other := e.disk(t), e.disk(t)
	s := e.snapshotter(t)
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("old")))
	require.NoError(t, s.Snapshot(e.ctx, r, "s1"))
	require.NoError(t, e.h.Delete(e.ctx, r))
	e.absent(t, r)

	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Nil(t, d.Meta)
	ids, err := s.Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Empty(t, ids)
	_, err = e.h.Stat(e.ctx, other)
	require.NoError(t, err, "others stay")

	e.Corrupt(t, r)
	require.NoError(t, e.h.Delete(e.ctx, r), "what is unreadable can be removed")
	e.absent(t, r)
}

func deleteAbsent(t *testing.T, e *env) {
	r := e.ref()
	require.NoError(t, e.h.Delete(e.ctx, r))
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("left over")))
	require.NoError(t, e.h.Delete(e.ctx, r))
	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Nil(t, d.Meta, "metadata without a disk is removed too")
}

func deleteAttached(t *testing.T, e *env) {
	for _, readOnly := range []bool{false, true} {
		r := e.disk(t)
		dev := e.attach(t, 0, r, readOnly)
		err := e.h.Delete(e.ctx, r)
		requireKind(t, errkind.InUse, err)
		assert.Contains(t, errkind.Text(err), e.VMs[0].Name, "the sentence names who has it")
		_, err = e.Guest.Read(dev, 0, 512)
		require.NoError(t, err, "the disk is untouched")
		e.detach(t, 0, r)
		require.NoError(t, e.h.Delete(e.ctx, r))
	}
}

func statDescribes(t *testing.T, e *env) {
	r := e.ref()
	odd := 10*volspec.MiB + e.store(t, e.Datastore).Unit
	require.NoError(t, e.h.Create(e.ctx, r, odd, volspec.Thin))
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("record")))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, r, d.Ref)
	assert.Equal(t, odd, d.Size, "to the byte")
	assert.Equal(t, []byte("record"), d.Meta)
	e.write(t, r, strings.Repeat("x", 1<<20))
	d, err = e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, d.Allocated, volspec.MiB)
	assert.Less(t, d.Allocated, 3*volspec.MiB)
}

func statAbsent(t *testing.T, e *env) { e.absent(t, e.ref()) }

func statUnreadable(t *testing.T, e *env) {
	r := e.disk(t)
	e.Corrupt(t, r)
	_, err := e.h.Stat(e.ctx, r)
	requireKind(t, errkind.Corrupt, err)
	requireKind(t, errkind.Corrupt, e.h.Create(e.ctx, r, size, volspec.Thin))
	requireKind(t, errkind.Corrupt, e.h.Grow(e.ctx, r, 2*size))
	requireKind(t, errkind.Corrupt, e.h.Clone(e.ctx, r, "", e.ref(), volspec.Thin))
	_, err = e.h.Attach(e.ctx, e.VMs[0].ID, r, false)
	requireKind(t, errkind.Corrupt, err)
}

func listAll(t *testing.T, e *env) {
	found, errs := e.list(e.Datastore)
	require.Empty(t, errs)
	require.Empty(t, found)
	here, attached, away := e.disk(t), e.disk(t), e.refOn(e.Other)
	require.NoError(t, e.h.Create(e.ctx, away, size, volspec.Thin))
	require.NoError(t, e.h.PutMeta(e.ctx, here, []byte("record")))
	e.attach(t, 0, attached, false)
	found, errs = e.list(e.Datastore)
	require.Empty(t, errs)
	require.Len(t, found, 2)
	assert.Equal(t, []byte("record"), found[here].Meta)
	assert.Equal(t, size, found[attached].Size)
	assert.Nil(t, found[attached].Meta)
	e.detach(t, 0, attached)
	for _, err := range e.h.List(e.ctx, e.Datastore) {
		require.NoError(t, err)
		break // a caller may stop
	}
}

func listUnreadable(t *testing.T, e *env) {
	a, bad, b := e.disk(t), e.disk(t), e.disk(t)
	e.Corrupt(t, bad)
	found, errs := e.list(e.Datastore)
	require.Len(t, errs, 1)
	requireKind(t, errkind.Corrupt, errs[0])
	assert.Len(t, found, 2)
	assert.Contains(t, found, a)
	assert.Contains(t, found, b)
	for d, err := range e.h.List(e.ctx, e.Datastore) {
		if err != nil {
			assert.Equal(t, bad, d.Ref, "which one is known")
		}
	}
}

func growSeen(t *testing.T, e *env) {
	for _, f := range formats {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, size, f))
		dev := e.attach(t, 0, r, false)
		require.NoError(t, e.Guest.Write(dev, 0, []byte("data")))
		require.NoError(t, e.h.Grow(e.ctx, r, 2*size), f)
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.Equal(t, 2*size, d.Size)
		if f != volspec.Thin {
			assert.GreaterOrEqual(t, d.Allocated, 2*size, "%s stays %s", f, f)
		}
		seen, err := e.Guest.Size(dev)
		require.NoError(t, err)
		assert.Equal(t, 2*size, seen)
		all, err := e.h.Attached(e.ctx)
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Equal(t, 2*size, all[0].Size)
		b, err := e.Guest.Read(dev, 0, 4)
		require.NoError(t, err)
		assert.Equal(t, "data", string(b))
		require.NoError(t, e.Guest.Write(dev, int64(2*size)-4, []byte("tail")))
		e.detach(t, 0, r)
		assert.Equal(t, "data", e.content(t, r, 4))
	}
	requireKind(t, errkind.NotFound, e.h.Grow(e.ctx, e.ref(), size))
}

func growAlready(t *testing.T, e *env) {
	r := e.disk(t)
	require.NoError(t, e.h.Grow(e.ctx, r, size))
	require.NoError(t, e.h.Grow(e.ctx, r, 2*size))
	require.NoError(t, e.h.Grow(e.ctx, r, 2*size))
}

func growNeverShrinks(t *testing.T, e *env) {
	r := e.disk(t)
	for _, s := range []volspec.Size{size - 512, 0, -1} {
		requireKind(t, errkind.Invalid, e.h.Grow(e.ctx, r, s))
	}
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, size, d.Size)
}

func growNoRoom(t *testing.T, e *env) {
	for _, f := range formats[1:] {
		r := e.ref()
		require.NoError(t, e.h.Create(e.ctx, r, size, f))
		requireKind(t, errkind.Quota, e.h.Grow(e.ctx, r, e.tooMuch(t, e.Datastore)))
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.Equal(t, size, d.Size)
		assert.Less(t, d.Allocated, 2*size)
	}
}

// grown doubles a disk that has snapshots, unless they keep it from that.
func (e *env) grown(t *testing.T, r hypervisor.Ref) bool {
	err := e.h.Grow(e.ctx, r, 2*size)
	if !errkind.Is(err, errkind.InUse) {
		require.NoError(t, err)
		return true
	}
	assert.Contains(t, errkind.Text(err), "snapshot", "the remedy")
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, size, d.Size)
	return false
}

func growPinned(t *testing.T, e *env) {
	r := e.disk(t)
	e.snapshot(t, r, "s1")
	if e.grown(t, r) {
		return
	}
	require.NoError(t, e.snapshotter(t).DeleteSnapshot(e.ctx, r, "s1"))
	assert.True(t, e.grown(t, r), "the remedy helps")
}

func metaReplaces(t *testing.T, e *env) {
	r := e.disk(t)
	for _, m := range []string{"first, the longer one", "second", ""} {
		require.NoError(t, e.h.PutMeta(e.ctx, r, []byte(m)))
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.NotNil(t, d.Meta)
		assert.Equal(t, m, string(d.Meta))
	}
	e.attach(t, 0, r, false)
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("while attached")))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, "while attached", string(d.Meta))
	e.detach(t, 0, r)
}

func metaBeforeDisk(t *testing.T, e *env) {
	r := e.ref()
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("early")))
	require.NoError(t, e.h.Create(e.ctx, r, size, volspec.Thin))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, "early", string(d.Meta))
}

func metaIsNoDisk(t *testing.T, e *env) {
	r := e.ref()
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("early")))
	e.absent(t, r)
	_, err := e.h.Attach(e.ctx, e.VMs[0].ID, r, false)
	requireKind(t, errkind.NotFound, err)
}
