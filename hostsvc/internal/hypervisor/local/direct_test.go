package local

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
)

func TestSnapshotsAreReadPastThePageCache(t *testing.T) {
	w := newWorld(t, mounted(t, "ext4", 100))
	r := w.disk(t, 4*volspec.MiB)
	want := make([]byte, 4<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(want)
	require.NoError(t, os.WriteFile(w.path(r), want, 0o600))
	require.NoError(t, w.Snapshot(t.Context(), r, "s1"))
	img, err := w.OpenSnapshot(t.Context(), r, "s1")
	require.NoError(t, err)
	s := img.(*snapshot)
	require.NotNil(t, s.direct)
	require.NoError(t, unix.Fadvise(int(s.f.Fd()), 0, 0, unix.FADV_DONTNEED))

	long := make([]byte, 1<<20+1)
	buf := long[:1<<20]
	for off := int64(0); off < img.Size(); off += 1 << 20 {
		_, err := img.ReadAt(buf, off)
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[off:off+1<<20], buf))
	}
	assert.Zero(t, cached(t, s.f), "nothing of it is in memory")
	// What does not fit the disk's blocks is read in the ordinary way.
	for _, part := range [][2]int{{1, 1 << 20}, {4096, 5000}, {3<<20 + 512, 4096}} {
		off, n := part[0], part[1]-part[1]%512
		_, err := img.ReadAt(long[1:1+n], int64(off))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want[off:off+n], long[1:1+n]))
	}
	assert.NotZero(t, cached(t, s.f))
	// So is everything where the file system cannot do it.
	s.direct.refuse.Store(true)
	_, err = img.ReadAt(buf, 2<<20)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want[2<<20:3<<20], buf))
	require.NoError(t, img.Close())
	require.NoError(t, img.Close())
}

// cached is how many pages of a file are in memory.
func cached(t *testing.T, f *os.File) (n int) {
	st, err := f.Stat()
	require.NoError(t, err)
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	require.NoError(t, err)
	defer func() { require.NoError(t, unix.Munmap(m)) }()
	pages := make([]byte, (len(m)+4095)/4096)
	require.NoError(t, mincore(m, pages))
	for _, p := range pages {
		n += int(p & 1)
	}
	return n
}

func mincore(m, pages []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), uintptr(unsafe.Pointer(&pages[0])))
	if errno != 0 {
		return errno
	}
	return nil
}
