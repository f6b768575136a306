package local

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// left are the names of all files below the folder of r's vmgroup.
func (w *world) left(t *testing.T, r hypervisor.Ref) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(w.path(r)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// written is how much of the image is data and not hole or reserved space.
func (w *world) written(t *testing.T, r hypervisor.Ref) (sum int64) {
	t.Helper()
	f, err := os.Open(w.path(r))
	require.NoError(t, err)
	defer f.Close()
	for at := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return sum
		}
		require.NoError(t, err)
		at, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		require.NoError(t, err)
		sum += at - start
	}
}

func TestWhatTheFormatsWrite(t *testing.T) {
	for _, store := range []string{"ext4", "xfs", "btrfs"} {
		w := newWorld(t, mounted(t, store, 400))
		for format, want := range map[string]int64{volspec.Thin: 0, volspec.ZeroedThick: 0, volspec.EagerZeroedThick: 8 << 20} {
			r := newRef()
			require.NoError(t, w.Create(t.Context(), r, 8*volspec.MiB, format))
			assert.Equal(t, want, w.written(t, r), "%s on %s", format, store)
			require.NoError(t, w.Grow(t.Context(), r, 16*volspec.MiB))
			assert.Equal(t, 2*want, w.written(t, r), "%s grown on %s", format, store)
			copied := newRef()
			require.NoError(t, w.Clone(t.Context(), r, "", copied, volspec.EagerZeroedThick))
			assert.EqualValues(t, 16<<20, w.written(t, copied), "copied to eagerzeroedthick on %s", store)
		}
	}
}

func TestCopyKeepsHoles(t *testing.T) {
	w := newWorld(t, mounted(t, "ext4", 400))
	src, dst := w.disk(t, 300*volspec.MiB), newRef()
	f, err := os.OpenFile(w.path(src), os.O_WRONLY, 0)
	require.NoError(t, err)
	block := make([]byte, 64<<10)
	_, _ = rand.Read(block)
	for _, at := range []int64{0, 100 << 20, 300<<20 - 64<<10} {
		_, err = f.WriteAt(block, at)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	require.NoError(t, w.Clone(t.Context(), src, "", dst, volspec.Thin))
	assert.Equal(t, w.hash(t, src), w.hash(t, dst))
	d, err := w.Stat(t.Context(), dst)
	require.NoError(t, err)
	assert.Less(t, d.Allocated, volspec.MiB)
}

// The room runs out in the middle of the work, where no look at the free
// space could have told.
func TestNoRoomInTheMiddle(t *testing.T) {
	store1 := func(t *testing.T, w *world) hypervisor.Datastore { return store(t, w.Local, "one") }
	for _, store := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, mounted(t, store, 350))
			reserved := filepath.Join(w.storePath("one"), "reserved")
			f, err := os.Create(reserved)
			require.NoError(t, err)
			require.NoError(t, unix.Fallocate(int(f.Fd()), 0, 0, int64(store1(t, w).Free-100*volspec.MiB)))
			require.NoError(t, f.Close())
			far := newWorld(t, t.TempDir())
			src := far.disk(t, 200*volspec.MiB)
			f, err = os.OpenFile(far.path(src), os.O_WRONLY, 0)
			require.NoError(t, err)
			block := make([]byte, 1<<20)
			_, _ = rand.Read(block)
			for i := range int64(190) {
				_, err = f.WriteAt(block, i<<20)
				require.NoError(t, err)
			}
			require.NoError(t, f.Close())

			o := w.o
			o.Datastores = append(o.Datastores, Datastore{"far", far.storePath("one")})
			l, err := New(o)
			require.NoError(t, err)
			dst := newRef()
			src.Datastore = "far"
			requireKind(t, errkind.Quota, l.Clone(t.Context(), src, "", dst, volspec.Thin))
			assert.Empty(t, w.left(t, dst), "nothing is left behind")
			_, err = os.Stat(filepath.Dir(w.path(dst)))
			assert.ErrorIs(t, err, os.ErrNotExist, "not even the folder")

			r := newRef()
			require.NoError(t, w.Create(t.Context(), r, 16*volspec.MiB, volspec.ZeroedThick))
			require.NoError(t, w.PutMeta(t.Context(), r, []byte("record")))
			hog := filepath.Join(w.storePath("one"), "hog")
			fill(t, hog)
			requireKind(t, errkind.Quota, w.PutMeta(t.Context(), r, bytes.Repeat([]byte("x"), 500<<10)))
			d, err := w.Stat(t.Context(), r)
			require.NoError(t, err)
			assert.Equal(t, "record", string(d.Meta), "the old one is whole")
			assert.ElementsMatch(t, []string{imgName(r), metaName(r)}, w.left(t, r))
			requireKind(t, errkind.Quota, w.Create(t.Context(), newRef(), 16*volspec.MiB, volspec.ZeroedThick))
			requireKind(t, errkind.Quota, w.Grow(t.Context(), r, 64*volspec.MiB))
			all, err := w.Datastores(t.Context())
			require.NoError(t, err)
			assert.Equal(t, hypervisor.Online, all[0].State, "full is not offline: %s", all[0].Detail)
			require.NoError(t, os.Remove(hog))
			require.NoError(t, w.Grow(t.Context(), r, 64*volspec.MiB))
			require.NoError(t, w.Delete(t.Context(), r))
		})
	}
}

// fill takes all the room that there is.
func fill(t *testing.T, file string) {
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	for size := 1 << 20; size >= 4096; size /= 4 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		require.ErrorIs(t, err, unix.ENOSPC)
		_ = f.Sync()
	}
}

// A caller that goes away in the middle of long work stops it, and nothing is
// left; on the next try it is done.
func TestCancelledInTheMiddle(t *testing.T) {
	w := newWorld(t, t.TempDir())
	const size = 256 * volspec.MiB
	src := newRef()
	require.NoError(t, w.Create(t.Context(), src, size, volspec.EagerZeroedThick))
	for name, work := range map[string]func(context.Context, hypervisor.Ref) error{
		"Create": func(ctx context.Context, r hypervisor.Ref) error {
			return w.Create(ctx, r, size, volspec.EagerZeroedThick)
		},
		"Clone": func(ctx context.Context, r hypervisor.Ref) error {
			return w.Clone(ctx, src, "", r, volspec.EagerZeroedThick)
		},
	} {
		r := newRef()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		requireKind(t, errkind.Unavailable, work(ctx, r))
		cancel()
		assert.Less(t, time.Since(start), 5*time.Second, name)
		assert.Empty(t, w.left(t, r), name)
		require.NoError(t, work(t.Context(), r), name)
		require.NoError(t, w.Delete(t.Context(), r))
	}
}

// What a crash in the middle leaves is seen by nobody, and replaced.
func TestLeftovers(t *testing.T) {
	w := newWorld(t, t.TempDir())
	s := w.Local
	for name, make := range map[string]func(path string){
		"a file":   func(p string) { require.NoError(t, os.WriteFile(p, []byte("half"), 0o600)) },
		"a folder": func(p string) { require.NoError(t, os.MkdirAll(filepath.Join(p, "sub"), 0o700)) },
		"a link":   func(p string) { require.NoError(t, os.Symlink("/etc/hostname", p)) },
	} {
		r := newRef()
		require.NoError(t, w.PutMeta(t.Context(), r, []byte("record")))
		stem := filepath.Join(filepath.Dir(w.path(r)), string(r.Volume))
		for _, half := range []string{".img.tmp", ".json.tmp", ".s1.snap.tmp"} {
			make(stem + half)
		}
		_, err := w.Stat(t.Context(), r)
		requireKind(t, errkind.NotFound, err)
		for d, err := range w.List(t.Context(), "one") {
			assert.Fail(t, "listed", "%s: %v %v", name, d, err)
		}
		require.NoError(t, w.Create(t.Context(), r, volspec.MiB, volspec.Thin), name)
		require.NoError(t, w.PutMeta(t.Context(), r, []byte("new")), name)
		ids, err := s.Snapshots(t.Context(), r)
		require.NoError(t, err)
		assert.Empty(t, ids)
		require.NoError(t, s.Snapshot(t.Context(), r, "s1"), name)
		assert.ElementsMatch(t, []string{imgName(r), metaName(r), snapName(r, "s1")}, w.left(t, r), name)

		make(stem + ".img.tmp")
		make(stem + ".s2.snap.tmp")
		require.NoError(t, s.DeleteSnapshot(t.Context(), r, "s2"))
		require.NoError(t, w.Delete(t.Context(), r))
		assert.Empty(t, w.left(t, r), name)
	}
	host, err := os.ReadFile("/etc/hostname")
	require.NoError(t, err)
	assert.NotContains(t, string(host), "half")
}

// Whoever can write to the datastore cannot lead the service out of it.
func TestLinksOnTheDatastoreLeadNowhere(t *testing.T) {
	w := newWorld(t, t.TempDir())
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, make([]byte, 1<<20), 0o600))
	r := w.disk(t, volspec.MiB)
	require.NoError(t, os.Remove(w.path(r)))
	require.NoError(t, os.Symlink(secret, w.path(r)))
	_, err := w.Stat(t.Context(), r)
	requireKind(t, errkind.Corrupt, err)
	_, err = w.Attach(t.Context(), w.a.id, r, false)
	requireKind(t, errkind.Corrupt, err)
	require.NoError(t, w.Delete(t.Context(), r))
	require.FileExists(t, secret)

	out := newRef()
	require.NoError(t, os.Symlink(filepath.Dir(secret), filepath.Dir(w.path(out))))
	require.Error(t, w.Create(t.Context(), out, volspec.MiB, volspec.Thin))
	require.Error(t, w.PutMeta(t.Context(), out, []byte("x")))
	entries, err := os.ReadDir(filepath.Dir(secret))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	var bad int
	for _, err := range w.List(t.Context(), "one") {
		requireKind(t, errkind.Corrupt, err)
		bad++
	}
	assert.Equal(t, 1, bad)
}

// While a disk is copied nobody can attach it, and the other way round.
func TestCopyAndAttachExcludeEachOther(t *testing.T) {
	w := newWorld(t, mounted(t, "ext4", 700))
	src := newRef()
	require.NoError(t, w.Create(t.Context(), src, 200*volspec.MiB, volspec.EagerZeroedThick))
	done := make(chan error, 1)
	dst := newRef()
	go func() { done <- w.Clone(context.Background(), src, "", dst, volspec.EagerZeroedThick) }()
	require.Eventually(t, func() bool {
		st, err := os.Stat(w.path(dst) + tmpExt)
		return err == nil && st.Size() > 0 // the copy has begun: it has the disk's lock
	}, 5*time.Second, time.Millisecond)
	dev, err := w.Attach(t.Context(), w.a.id, src, false)
	if err == nil { // it had to wait for the copy
		require.NoError(t, guest{w}.Write(dev, 0, []byte("after")))
	} else {
		requireKind(t, errkind.InUse, err)
	}
	require.NoError(t, <-done)
	f, err := os.Open(w.path(dst))
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 5)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, make([]byte, 5), b)
}

// A thick disk keeps its room whatever its guest discards, a thin one gives
// it back, also on a device that the other kind has used before.
func TestDiscard(t *testing.T) {
	w := newWorld(t, t.TempDir())
	const size = 16 * volspec.MiB
	for _, format := range []string{volspec.ZeroedThick, volspec.Thin, volspec.EagerZeroedThick, volspec.Thin} {
		r := newRef()
		require.NoError(t, w.Create(t.Context(), r, size, format))
		node := guest{w}.node(w.attach(t, w.a, r, false))
		require.NoError(t, os.WriteFile(node, bytes.Repeat([]byte{7}, int(size)), 0))
		discard, err := exec.Command("blkdiscard", node).CombinedOutput()
		if format == volspec.Thin {
			require.NoError(t, err, "%s", discard)
		}
		run(t, "mkfs.ext4", "-q", "-F", node)
		require.NoError(t, w.Detach(t.Context(), w.a.id, r))
		d, err := w.Stat(t.Context(), r)
		require.NoError(t, err)
		if format == volspec.Thin {
			require.Less(t, d.Allocated, size/2)
		} else {
			require.GreaterOrEqual(t, d.Allocated, size)
		}
	}
}

// A device that takes no discards any more, and that something has open, is
// not used again for a disk that could give back room.
func TestDiscardOnADeviceThatIsHeld(t *testing.T) {
	w := newWorld(t, t.TempDir())
	thick, thin := newRef(), newRef()
	require.NoError(t, w.Create(t.Context(), thick, 16*volspec.MiB, volspec.ZeroedThick))
	require.NoError(t, w.Create(t.Context(), thin, 16*volspec.MiB, volspec.Thin))
	w.attach(t, w.a, thick, false)
	name := w.loopsOf(t, thick)[0].name
	require.NoError(t, w.Detach(t.Context(), w.a.id, thick))
	held, err := os.Open("/dev/" + name)
	require.NoError(t, err)
	defer held.Close()
	require.True(t, spoilt(name))
	w.attach(t, w.a, thin, false)
	assert.False(t, spoilt(w.loopsOf(t, thin)[0].name))
}
