package local

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// endsAfter is a context that ends when it was looked at so often.
type endsAfter struct {
	context.Context
	looks atomic.Int64
}

func (c *endsAfter) Err() error {
	if c.looks.Add(-1) < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// The freeze ends at any moment of the copy, also after its last byte: no
// snapshot comes of it.
func TestFreezeEndsDuringTheCopy(t *testing.T) {
	w := newWorld(t, mounted(t, "ext4", 600))
	r := w.disk(t, 16*volspec.MiB)
	w.attach(t, w.a, r, false)
	require.NoError(t, os.WriteFile(w.path(r), bytes.Repeat([]byte("a"), 8<<20), 0o600))
	require.NoError(t, os.Truncate(w.path(r), 16<<20))
	failed := 0
	for looks := int64(0); ; looks++ {
		ctx := &endsAfter{Context: t.Context()}
		ctx.looks.Store(looks)
		err := w.SnapshotFrozen(ctx, r, "s1")
		if err == nil {
			break
		}
		failed++
		requireKind(t, errkind.Unavailable, err)
		ids, err := w.Snapshots(t.Context(), r)
		require.NoError(t, err)
		require.Empty(t, ids)
		require.Equal(t, []string{imgName(r)}, w.left(t, r))
	}
	assert.Greater(t, failed, 8, "it is looked at throughout the copy")
	assert.Equal(t, bytes.Repeat([]byte("a"), 8<<20), w.content(t, r, "s1")[:8<<20])
}

// endsWhen is a context that ends when something is so.
type endsWhen struct {
	context.Context
	so func() bool
}

func (c endsWhen) Err() error {
	if c.so() {
		return context.DeadlineExceeded
	}
	return nil
}

// The freeze has ended when the last byte was copied: whether it was read in
// time cannot be known.
func TestFreezeEndsWithTheLastByte(t *testing.T) {
	w := newWorld(t, mounted(t, "ext4", 600))
	r := w.disk(t, 2*volspec.MiB)
	w.attach(t, w.a, r, false)
	require.NoError(t, os.WriteFile(w.path(r), bytes.Repeat([]byte("a"), 2<<20), 0o600))
	tmp := filepath.Join(filepath.Dir(w.path(r)), snapName(r, "s1")+tmpExt)
	copied := func() bool {
		b, err := os.ReadFile(tmp)
		return err == nil && bytes.HasSuffix(b, []byte("a"))
	}
	requireKind(t, errkind.Unavailable, w.SnapshotFrozen(endsWhen{t.Context(), copied}, r, "s1"))
	assert.Equal(t, []string{imgName(r)}, w.left(t, r))
}

// The datastore fills up while a disk is built: the writer is told, and
// everything is as it was.
func TestBuildFillsTheDatastore(t *testing.T) {
	for _, fstype := range []string{"ext4", "xfs", "btrfs"} {
		w := newWorld(t, mounted(t, fstype, 320))
		r := w.disk(t, 16*volspec.MiB)
		w.overwrite(t, r, "old")
		fill := func(_ context.Context, to image.Target) error {
			for off := int64(0); off < to.Size(); off += chunk {
				if _, err := to.WriteAt(bytes.Repeat([]byte("a"), chunk), off); err != nil {
					requireKind(t, errkind.Quota, err)
					return err
				}
			}
			return nil
		}
		requireKind(t, errkind.Quota, w.Build(t.Context(), r, volspec.GiB, volspec.Thin, "s1", fill))
		assert.Equal(t, []string{imgName(r)}, w.left(t, r))
		fresh := newRef()
		requireKind(t, errkind.Quota, w.Build(t.Context(), fresh, volspec.GiB, volspec.Thin, "", fill))
		assert.Empty(t, w.left(t, fresh))
		require.Eventually(t, func() bool { return store(t, w.Local, "one").Free >= 100*volspec.MiB }, 20*time.Second, 50*time.Millisecond, "the room is free again")
	}
}

// A disk need not end at a sector; an image does.
func TestImageOfAnOddSize(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, volspec.MiB+7)
	require.NoError(t, os.WriteFile(w.path(r), bytes.Repeat([]byte("a"), 1<<20+7), 0o600))
	require.NoError(t, w.Snapshot(t.Context(), r, "s1"))
	img, err := w.OpenSnapshot(t.Context(), r, "s1")
	require.NoError(t, err)
	defer img.Close()
	assert.EqualValues(t, 1<<20+512, img.Size())
	b := bytes.Repeat([]byte("x"), 512)
	_, err = img.ReadAt(b, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, append(bytes.Repeat([]byte("a"), 7), make([]byte, 505)...), b)
	var last image.Extent
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		last = e
	}
	assert.EqualValues(t, 1<<20+7, last.End())
}
