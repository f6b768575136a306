package imagefs

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

var fstypes = []string{"ext4", "xfs", "btrfs"}

func eachType(t *testing.T, do func(t *testing.T, fstype string)) {
	for _, fstype := range fstypes {
		t.Run(fstype, func(t *testing.T) { do(t, fstype) })
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// fileImage is an image over a file. Ranges can be damaged.
type fileImage struct {
	f      *os.File
	size   int64
	closed atomic.Int32
	reads  atomic.Int64 // bytes

	mu  sync.Mutex
	bad []image.Extent
}

func openImage(t *testing.T, path string) *fileImage {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	require.NoError(t, err)
	return &fileImage{f: f, size: st.Size()}
}

func (i *fileImage) Size() int64 { return i.size }

func (i *fileImage) Close() error { i.closed.Add(1); return nil }

func (i *fileImage) damage(e ...image.Extent) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.bad = e
}

func (i *fileImage) ReadAt(p []byte, off int64) (int, error) {
	i.mu.Lock()
	bad := i.bad
	i.mu.Unlock()
	for _, e := range bad {
		if off < e.End() && off+int64(len(p)) > e.Offset {
			return 0, errkind.New(errkind.Corrupt, "block at %d is damaged", e.Offset)
		}
	}
	n, err := i.f.ReadAt(p, off)
	i.reads.Add(int64(n))
	return n, err
}

func (i *fileImage) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for at := int64(0); at < i.size; {
			from, err := unix.Seek(int(i.f.Fd()), at, unix.SEEK_DATA)
			if errors.Is(err, unix.ENXIO) {
				return
			}
			to, err2 := unix.Seek(int(i.f.Fd()), from, unix.SEEK_HOLE)
			if err := errors.Join(err, err2); err != nil {
				yield(image.Extent{}, err)
				return
			}
			if !yield(image.Extent{Offset: from, Length: to - from}, nil) {
				return
			}
			at = to
		}
	}
}

const testMB = 320

// disk is an image file with a filesystem that is mounted, as a volume in use.
type disk struct {
	t        *testing.T
	fstype   string
	file, at string
	mounted  bool
}

func newDisk(t *testing.T, fstype string, mkfs ...string) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{t: t, fstype: fstype, file: filepath.Join(dir, "disk.img"), at: filepath.Join(dir, "mnt")}
	require.NoError(t, os.Mkdir(d.at, 0o755))
	f, err := os.Create(d.file)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(testMB<<20))
	require.NoError(t, f.Close())
	run(t, "mkfs."+fstype, append(append([]string{"-q"}, mkfs...), d.file)...)
	run(t, "mount", "-o", "loop", d.file, d.at)
	d.mounted = true
	t.Cleanup(d.umount)
	return d
}

func (d *disk) umount() {
	if d.mounted {
		run(d.t, "umount", d.at)
		d.mounted = false
		// Other tests on this machine copy mounts into namespaces of their own.
		require.Eventually(d.t, func() bool {
			files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
			for _, f := range files {
				if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == d.file {
					return false
				}
			}
			return err == nil
		}, time.Minute, 2*time.Millisecond, "the disk is still mounted somewhere")
	}
}

// crash copies the disk as it is, as a snapshot of a running VM would.
func (d *disk) crash() string {
	d.t.Helper()
	return d.copyTo("crash.img")
}

// clean unmounts the disk and copies it.
func (d *disk) clean() string {
	d.t.Helper()
	d.umount()
	return d.copyTo("clean.img")
}

func (d *disk) copyTo(name string) string {
	to := filepath.Join(filepath.Dir(d.file), name)
	run(d.t, "cp", "--sparse=always", d.file, to)
	return to
}

// write writes a file and syncs it: the journal holds it for sure.
func (d *disk) write(name string, data []byte) {
	d.t.Helper()
	p := filepath.Join(d.at, name)
	require.NoError(d.t, os.MkdirAll(filepath.Dir(p), 0o755))
	f, err := os.Create(p)
	require.NoError(d.t, err)
	_, err = f.Write(data)
	require.NoError(d.t, errors.Join(err, f.Sync(), f.Close()))
}

// pattern is data that compresses badly and tells where it is.
func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// hashOf tells whether a sparse file changed.
func hashOf(t *testing.T, path string) uint32 {
	t.Helper()
	img := openImage(t, path)
	sum := crc32.NewIEEE()
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		fmt.Fprint(sum, e)
		_, err = io.Copy(sum, io.NewSectionReader(img.f, e.Offset, e.Length))
		require.NoError(t, err)
	}
	return sum.Sum32()
}

func requireKind(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, errkind.Of(err), "%v", err)
}

func openFS(t *testing.T, img image.Image) *FS {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "imagefs")
	f, err := Open(t.Context(), img, Options{Dir: dir, Name: "test"})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, f.Close(context.Background()))
		requireNothing(t, dir)
	})
	return f
}

// requireNothing: no loop device, mount or file is left of a folder.
func requireNothing(t *testing.T, dir string) {
	t.Helper()
	left, err := ourLoops(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "loop devices are left")
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), dir)
	entries, err := os.ReadDir(dir)
	if err == nil {
		assert.Empty(t, entries, "files are left")
	}
}

func readFile(t *testing.T, f *FS, path string) []byte {
	t.Helper()
	h, _, err := f.OpenFile(t.Context(), path)
	require.NoError(t, err)
	defer h.Close()
	b, err := io.ReadAll(h)
	require.NoError(t, err)
	return b
}
