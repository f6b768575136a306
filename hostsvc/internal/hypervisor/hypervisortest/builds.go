package hypervisortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var builds = []sentence{
	{"Build", "Build makes the content of disk r anew: fill writes it, and when fill returns nil the disk is there, whole, in that size and format, and durable.", buildMakes},
	{"Build", "Until then, and after an error, everything is as it was.", buildUntilThen},
	{"Build", `keep "" is for a disk that does not exist yet; one that does is exists.`, buildExisting},
	{"Build", "Otherwise the disk that is there is replaced and its old content stays as snapshot keep; an attached one is in-use, an absent one not-found.", buildReplaces},
	{"Build", "A snapshot keep that is there already: exists.", buildKeepTaken},
	{"Build", "No room: quota.", buildNoRoom},
}

type filler = func(context.Context, image.Target) error

// word fills a disk with a word at its beginning.
func word(s string) filler {
	return func(_ context.Context, t image.Target) error {
		_, err := t.WriteAt([]byte(s), 0)
		return err
	}
}

func neverFilled(t *testing.T) filler {
	return func(context.Context, image.Target) error {
		assert.Fail(t, "there was nothing to fill")
		return nil
	}
}

func (e *env) build(r hypervisor.Ref, keep volspec.SnapshotID, fill filler) error {
	i, _ := hypervisor.As[hypervisor.Imager](e.h)
	return i.Build(e.ctx, r, size, volspec.Thin, keep, fill)
}

// fillAll uses a target in every way, and checks what it says of itself.
func fillAll(t *testing.T, want []byte) filler {
	return func(ctx context.Context, to image.Target) error {
		require.EqualValues(t, len(want), to.Size())
		b := bytes.Repeat([]byte("x"), 4096)
		_, err := to.ReadAt(b, 1<<20)
		require.NoError(t, err)
		require.Equal(t, make([]byte, 4096), b, "it begins as zeros")
		var wg sync.WaitGroup
		for part := range 4 { // ranges that do not overlap, at a time
			wg.Go(func() {
				n := len(want) / 4
				_, err := to.WriteAt(want[part*n:(part+1)*n], int64(part*n))
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		hole := image.Extent{Offset: 5 << 20, Length: 1<<20 + 512}
		require.NoError(t, to.Discard(ctx, hole))
		clear(want[hole.Offset:hole.End()])
		got := make([]byte, len(want))
		n, err := to.ReadAt(got, 0)
		require.Equal(t, len(want), n, "%v", err)
		require.True(t, bytes.Equal(want, got))

		n, err = to.ReadAt(make([]byte, 10), to.Size()-4)
		assert.Equal(t, 4, n)
		require.ErrorIs(t, err, io.EOF)
		_, err = to.WriteAt([]byte("beyond"), to.Size()-3)
		requireKind(t, errkind.Invalid, err)
		requireKind(t, errkind.Invalid, to.Discard(ctx, image.Extent{Offset: to.Size() - 512, Length: 1024}))
		return nil
	}
}

func buildMakes(t *testing.T, e *env) {
	for _, format := range formats {
		r := e.ref()
		want := bytes.Repeat([]byte("0123456789abcdef"), int(size)/16)
		var kept image.Target
		require.NoError(t, e.imager(t).Build(e.ctx, r, size, format, "", func(ctx context.Context, to image.Target) error {
			kept = to
			return fillAll(t, want)(ctx, to)
		}))
		_, err := kept.WriteAt([]byte("late"), 0)
		require.Error(t, err, "a writer that was forgotten")
		d, err := e.h.Stat(e.ctx, r)
		require.NoError(t, err)
		assert.Equal(t, size, d.Size)
		if format == volspec.Thin {
			assert.Less(t, d.Allocated, size, "the hole")
		} else {
			assert.GreaterOrEqual(t, d.Allocated, size, format)
		}
		e.snapshot(t, r, "s1")
		assert.True(t, bytes.Equal(want, e.whole(t, e.openSnapshot(t, r, "s1"))))
		require.NoError(t, e.h.Delete(e.ctx, r))
	}
	i := e.imager(t)
	requireKind(t, errkind.Invalid, i.Build(e.ctx, e.ref(), 0, volspec.Thin, "", neverFilled(t)))
	requireKind(t, errkind.Invalid, i.Build(e.ctx, e.ref(), size, "2gbsparse", "", neverFilled(t)))
	requireKind(t, errkind.Invalid, i.Build(e.ctx, e.disk(t), size, volspec.Thin, "../x", neverFilled(t)))
}

func buildUntilThen(t *testing.T, e *env) {
	boom := errors.New("boom")
	r := e.ref()
	err := e.build(r, "", func(ctx context.Context, to image.Target) error {
		require.NoError(t, word("half")(ctx, to))
		e.absent(t, r)
		return boom
	})
	require.ErrorIs(t, err, boom)
	e.absent(t, r)

	require.NoError(t, e.h.Create(e.ctx, r, 2*size, volspec.Thin))
	e.write(t, r, "old")
	for _, failure := range []error{boom, fs.ErrNotExist, fs.ErrExist} { // that are the filler's, not ours
		filled := 0
		err = e.build(r, "s1", func(ctx context.Context, to image.Target) error {
			if filled++; failure == boom { //nolint:errorlint // which of the three it is
				require.NoError(t, word("half")(ctx, to))
				_, err := e.h.Attach(e.ctx, e.VMs[0].ID, r, false)
				requireKind(t, errkind.InUse, err)
			}
			return failure
		})
		require.ErrorIs(t, err, failure)
		assert.Equal(t, 1, filled)
	}
	ids, err := e.snapshotter(t).Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.Empty(t, ids)
	assert.Equal(t, "old", e.content(t, r, 3))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, 2*size, d.Size)
	err = e.build(e.ref(), "", func(context.Context, image.Target) error { return errkind.New(errkind.Corrupt, "a bad block") })
	requireKind(t, errkind.Corrupt, err)
}

func buildExisting(t *testing.T, e *env) {
	r := e.disk(t)
	e.write(t, r, "old")
	requireKind(t, errkind.Exists, e.build(r, "", neverFilled(t)))
	assert.Equal(t, "old", e.content(t, r, 3))
}

func buildReplaces(t *testing.T, e *env) {
	r := e.ref()
	requireKind(t, errkind.NotFound, e.build(r, "s1", neverFilled(t)))
	require.NoError(t, e.h.Create(e.ctx, r, 2*size, volspec.Thin))
	require.NoError(t, e.h.PutMeta(e.ctx, r, []byte("record")))
	e.write(t, r, "old")
	e.snapshot(t, r, "s0")
	e.attach(t, 1, r, true)
	requireKind(t, errkind.InUse, e.build(r, "s1", neverFilled(t)))
	e.detach(t, 1, r)

	require.NoError(t, e.build(r, "s1", word("new")))
	assert.Equal(t, "new", e.content(t, r, 3))
	d, err := e.h.Stat(e.ctx, r)
	require.NoError(t, err)
	assert.Equal(t, size, d.Size)
	assert.Equal(t, "record", string(d.Meta))
	ids, err := e.snapshotter(t).Snapshots(e.ctx, r)
	require.NoError(t, err)
	assert.ElementsMatch(t, []volspec.SnapshotID{"s0", "s1"}, ids)
	for _, id := range ids {
		img := e.openSnapshot(t, r, id)
		assert.EqualValues(t, 2*size, img.Size())
		assert.Equal(t, "old", string(e.whole(t, img)[:3]), id)
	}
	e.write(t, r, "two")
	assert.Equal(t, "old", string(e.whole(t, e.openSnapshot(t, r, "s1"))[:3]), "the old content is its own")
	if e.store(t, e.Datastore).Reflink {
		e.snapshot(t, r, "s2")
		same, _ := e.apply(t, r, "s1", "s2")
		assert.True(t, same, "what changed can be told across the replacement")
	}
	require.NoError(t, e.snapshotter(t).DeleteSnapshot(e.ctx, r, "s1"))
	assert.Equal(t, "two", e.content(t, r, 3))
}

func buildKeepTaken(t *testing.T, e *env) {
	r := e.disk(t)
	e.write(t, r, "old")
	e.snapshot(t, r, "s1")
	e.write(t, r, "new")
	requireKind(t, errkind.Exists, e.build(r, "s1", neverFilled(t)))
	assert.Equal(t, "new", e.content(t, r, 3))
	assert.Equal(t, "old", string(e.whole(t, e.openSnapshot(t, r, "s1"))[:3]))
}

func buildNoRoom(t *testing.T, e *env) {
	r := e.disk(t)
	e.write(t, r, "old")
	for _, format := range formats[1:] {
		requireKind(t, errkind.Quota, e.imager(t).Build(e.ctx, r, e.tooMuch(t, e.Datastore), format, "s1", neverFilled(t)))
		fresh := e.ref()
		requireKind(t, errkind.Quota, e.imager(t).Build(e.ctx, fresh, e.tooMuch(t, e.Datastore), format, "", neverFilled(t)))
		e.absent(t, fresh)
	}
	assert.Equal(t, "old", e.content(t, r, 3))
}
