package imagefs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

func TestListInPages(t *testing.T) {
	d := newDisk(t, "ext4")
	want := []string{"lost+found"}
	for i := range 257 {
		name := fmt.Sprintf("f%03d", i)
		want = append(want, name)
		require.NoError(t, os.WriteFile(filepath.Join(d.at, name), make([]byte, i), 0o640))
	}
	odd := "\xff\xfe\nodd"
	require.NoError(t, os.WriteFile(filepath.Join(d.at, odd), nil, 0o640))
	want = append(want, odd)
	slices.Sort(want)
	f := openFS(t, openImage(t, d.clean()))
	for _, limit := range []int{1, 7, 100, 257, 259, 260, 0} {
		var have []string
		cursor := ""
		for {
			list, next, err := f.List(t.Context(), "/", cursor, limit)
			require.NoError(t, err)
			for _, e := range list {
				have = append(have, e.Name)
			}
			if limit > 0 {
				assert.LessOrEqual(t, len(list), limit)
			}
			if next == "" {
				break
			}
			cursor = next
		}
		assert.Equal(t, want, have, "limit %d", limit)
	}
}

func TestStatSaysWhatIsThere(t *testing.T) {
	d := newDisk(t, "xfs")
	plant(t, d.at)
	f := openFS(t, openImage(t, d.clean()))
	stat := func(path string) Entry {
		e, err := f.Stat(t.Context(), path)
		require.NoError(t, err)
		return e
	}
	assert.Equal(t, TypeDir, stat("").Type)
	assert.Equal(t, TypeDir, stat("/owned/").Type)
	e := stat("plain")
	assert.Equal(t, Entry{Name: "plain", Type: TypeFile, Size: 6, Mode: 0o644, ModTime: time.Unix(1_600_000_000, 123_456_789), Blocks: e.Blocks, Links: 1}, e)
	e = stat("owned/file")
	assert.Equal(t, []uint32{4_000_000_000, 3_999_999_999}, []uint32{e.UID, e.GID})
	assert.EqualValues(t, 0o4755, stat("modes/suid").Mode)
	assert.Equal(t, "../../etc/passwd", stat("links/up").Target)
	assert.Equal(t, TypeSymlink, stat("links/abs").Type)
	assert.Equal(t, TypeFIFO, stat("fifo").Type)
	assert.Equal(t, TypeChar, stat("null").Type)
	assert.Equal(t, unix.Mkdev(7, 300), stat("blk").Device)
	assert.EqualValues(t, 3, stat("elsewhere").Links)
	assert.EqualValues(t, 20<<30, stat("sparse/huge").Size)
	_, err := f.Stat(t.Context(), "no")
	requireKind(t, errkind.NotFound, err)
	_, err = f.Stat(t.Context(), "no/no")
	requireKind(t, errkind.NotFound, err)
}

// Nothing that the content says leads out of the image, and opening what is in
// it does nothing.
func TestHostileContent(t *testing.T) {
	d := newDisk(t, "ext4")
	require.NoError(t, os.Mkdir(filepath.Join(d.at, "dir"), 0o755))
	for name, to := range map[string]string{
		"out": "../../../../etc", "abs": "/etc", "dir/up": "..", "proc": "/proc/self/root", "self": ".", "loop": "loop", "file": "/etc/passwd",
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(d.at, name)))
	}
	require.NoError(t, unix.Mknod(filepath.Join(d.at, "disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
	require.NoError(t, unix.Mkfifo(filepath.Join(d.at, "fifo"), 0o666))
	d.umount()
	run(t, "tune2fs", "-e", "panic", d.file)
	f := openFS(t, openImage(t, d.clean()))
	for _, path := range []string{"out", "abs", "dir/up", "proc", "self", "loop", "disk", "fifo", "out/passwd", "abs/passwd", "dir/up/dir", "self/dir", "proc/etc/passwd"} {
		_, _, err := f.OpenFile(t.Context(), path)
		requireKind(t, errkind.Invalid, err)
	}
	for _, path := range []string{"..", "../etc", "dir/../..", "a/./b", "./dir", "dir\x00"} {
		_, err := f.Stat(t.Context(), path)
		requireKind(t, errkind.Invalid, err)
		_, _, err = f.List(t.Context(), path, "", 0)
		requireKind(t, errkind.Invalid, err)
	}
	for _, path := range []string{"out", "abs", "self", "dir/up", "file", "fifo"} {
		_, _, err := f.List(t.Context(), path, "", 0)
		requireKind(t, errkind.Invalid, err)
	}
	options, err := os.ReadFile("/proc/fs/ext4/" + f.stack.loop.name + "/options")
	require.NoError(t, err)
	assert.Contains(t, string(options), "errors=remount-ro", "the image chooses what an error does to this machine")
	var st unix.Statfs_t
	require.NoError(t, unix.Fstatfs(int(f.stack.tree.Fd()), &st))
	want := int64(unix.ST_RDONLY | unix.ST_NODEV | unix.ST_NOSUID | unix.ST_NOEXEC)
	assert.Equal(t, want, st.Flags&want)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), f.stack.loop.path(), "the mount is visible")
}

// damageOf damages a part of a file in an image.
func damageOf(t *testing.T, d *disk, img *fileImage, name string, off, length int64) {
	t.Helper()
	data := pattern(1<<20, 77)
	at := int64(-1)
	buf := make([]byte, len(data))
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		for o := e.Offset; o+int64(len(data)) <= e.End(); o += 1024 {
			if _, err := img.f.ReadAt(buf[:64], o); err == nil && bytes.Equal(buf[:64], data[:64]) {
				at = o
			}
		}
	}
	require.Positive(t, at, "%s is not found in the image", name)
	img.damage(image.Extent{Offset: at + off, Length: length})
}

func TestDamagedFile(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		d.write("bad", pattern(1<<20, 77))
		d.write("good", pattern(1<<20, 1))
		img := openImage(t, d.clean())
		damageOf(t, d, img, "bad", 512<<10, 4096)
		f := openFS(t, img)
		assert.Equal(t, pattern(1<<20, 1), readFile(t, f, "good"))
		h, _, err := f.OpenFile(t.Context(), "bad")
		require.NoError(t, err)
		_, err = io.ReadAll(h)
		requireKind(t, errkind.Corrupt, err)
		assert.ErrorContains(t, err, `"bad"`)
		require.NoError(t, h.Close())
		ranges, err := f.Damaged()
		requireKind(t, errkind.Corrupt, err)
		require.NotEmpty(t, ranges)
		assert.LessOrEqual(t, ranges[0].Length, int64(128<<10))

		_, err = f.Tar(t.Context(), io.Discard, nil, TarOptions{})
		requireKind(t, errkind.Corrupt, err)
		assert.ErrorContains(t, err, `"bad"`)
		archive := filepath.Join(t.TempDir(), "a.tar")
		w, err := os.Create(archive)
		require.NoError(t, err)
		r, err := f.Tar(t.Context(), w, nil, TarOptions{GoOn: true})
		require.NoError(t, err)
		require.NoError(t, w.Close())
		require.Len(t, r.Damaged, 1)
		assert.Equal(t, "bad", r.Damaged[0].Path)
		assert.EqualValues(t, 4096, r.Damaged[0].Lost)
		to := t.TempDir()
		run(t, "tar", "-xf", archive, "-C", to)
		have, err := os.ReadFile(filepath.Join(to, "bad"))
		require.NoError(t, err)
		want := pattern(1<<20, 77)
		clear(want[512<<10 : 512<<10+4096])
		assert.True(t, bytes.Equal(want, have), "what is readable is kept")
		have, err = os.ReadFile(filepath.Join(to, "good"))
		require.NoError(t, err)
		assert.Equal(t, pattern(1<<20, 1), have)
	})
}

func TestDamagedSuperblock(t *testing.T) {
	d := newDisk(t, "ext4")
	img := openImage(t, d.clean())
	img.damage(image.Extent{Offset: 0, Length: 4096})
	_, err := Open(t.Context(), img, Options{Dir: t.TempDir()})
	requireKind(t, errkind.Corrupt, err)
	assert.Zero(t, img.closed.Load(), "it stays the caller's")
}

// Closing ends what is open, and nothing hangs.
func TestCloseWhileInUse(t *testing.T) {
	d := newDisk(t, "btrfs")
	d.write("f", pattern(32<<20, 1))
	img := openImage(t, d.crash())
	f := openFS(t, img)
	var wait sync.WaitGroup
	for range 8 {
		h, _, err := f.OpenFile(t.Context(), "f")
		require.NoError(t, err)
		wait.Go(func() {
			for {
				if _, err := h.Seek(0, io.SeekStart); err != nil {
					assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
					return
				}
				if _, err := io.Copy(io.Discard, h); err != nil {
					assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
					return
				}
			}
		})
	}
	wait.Go(func() {
		for {
			if _, err := f.Tar(context.Background(), io.Discard, nil, TarOptions{}); err != nil {
				assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
				return
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, f.Close(t.Context()))
	wait.Wait()
	require.NoError(t, f.Close(t.Context()))
	assert.EqualValues(t, 1, img.closed.Load())
	_, err := f.Stat(t.Context(), "f")
	requireKind(t, errkind.Unavailable, err)
}
