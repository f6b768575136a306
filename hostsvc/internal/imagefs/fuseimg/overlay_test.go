package fuseimg

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/image"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func bytesOf(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7) + byte(i>>8)*3 + seed
	}
	return b
}

// An overlay behaves like a copy of the image, and the image stays.
func TestOverlayIsACopy(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		size := 512 * rapid.IntRange(1, 200).Draw(t, "sectors")
		base := bytesOf(size, 1)
		model := bytes.Clone(base)
		o := NewOverlay(bytes.NewReader(base), dir, 0)
		defer o.Close()
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			off := rapid.IntRange(0, size-1).Draw(t, "off")
			n := rapid.IntRange(1, min(size-off, 20_000)).Draw(t, "n")
			if rapid.Bool().Draw(t, "write") {
				b := bytesOf(n, rapid.Byte().Draw(t, "seed"))
				got, err := o.WriteAt(b, int64(off))
				require.NoError(t, err)
				require.Equal(t, n, got)
				copy(model[off:], b)
				continue
			}
			b := make([]byte, n)
			got, err := o.ReadAt(b, int64(off))
			require.NoError(t, err)
			require.Equal(t, n, got)
			require.True(t, bytes.Equal(model[off:off+n], b))
		}
		all := make([]byte, size+10)
		n, err := o.ReadAt(all, 0)
		require.ErrorIs(t, err, io.EOF)
		require.True(t, bytes.Equal(model, all[:n]))
		require.Equal(t, bytesOf(size, 1), base, "the image was written to")
		require.LessOrEqual(t, o.Used(), int64(size+piece))
	})
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, entries, "scratch files have no names")
}

func TestOverlayLimits(t *testing.T) {
	o := NewOverlay(bytes.NewReader(make([]byte, 1<<20)), t.TempDir(), 2*piece)
	defer o.Close()
	_, err := o.WriteAt(make([]byte, 100), 1<<20-50)
	require.ErrorIs(t, err, unix.EFBIG)
	_, err = o.WriteAt(make([]byte, 2*piece), 0)
	require.NoError(t, err)
	_, err = o.WriteAt([]byte{1}, 5)
	require.NoError(t, err, "what is there already may change")
	_, err = o.WriteAt([]byte{1}, 3*piece)
	require.ErrorIs(t, err, unix.ENOSPC)
	require.NoError(t, o.Close())
	_, err = o.ReadAt(make([]byte, 10), 0)
	require.ErrorIs(t, err, os.ErrClosed)
}

// Writers of neighbouring sectors do not lose each other's.
func TestOverlaySectorsAtOnce(t *testing.T) {
	o := NewOverlay(bytes.NewReader(make([]byte, 1<<20)), t.TempDir(), 0)
	defer o.Close()
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for s := w; s < 2048; s += 8 {
				_, err := o.WriteAt(bytes.Repeat([]byte{byte(s)}, 512), int64(s)*512)
				assert.NoError(t, err)
			}
		})
	}
	wait.Wait()
	b := make([]byte, 1<<20)
	_, err := o.ReadAt(b, 0)
	require.NoError(t, err)
	for s := range 2048 {
		require.Equal(t, bytes.Repeat([]byte{byte(s)}, 512), b[s*512:(s+1)*512], "sector %d", s)
	}
}

// flaky cannot read some ranges.
type flaky struct {
	*bytes.Reader
	bad []image.Extent
}

var errBad = errors.New("bad block")

func (f flaky) ReadAt(p []byte, off int64) (int, error) {
	for _, e := range f.bad {
		if off < e.End() && off+int64(len(p)) > e.Offset {
			return 0, errBad
		}
	}
	return f.Reader.ReadAt(p, off)
}

func TestServerReadsAndWrites(t *testing.T) {
	data := bytesOf(5<<20+512, 3)
	s, err := Mount(Options{Name: "test"})
	require.NoError(t, err)
	defer s.Close()
	o := NewOverlay(bytes.NewReader(data), t.TempDir(), 0)
	defer o.Close()
	s.Put("a/b/img", Fixed(o, nil))
	s.Put("ro", Fixed(bytes.NewReader(data), nil))
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			f, err := s.Open("ro", os.O_RDONLY)
			if assert.NoError(t, err) {
				have, err := io.ReadAll(f)
				assert.NoError(t, err)
				assert.True(t, bytes.Equal(data, have))
				assert.NoError(t, f.Close())
			}
		})
	}
	wait.Wait()
	_, err = s.Open("ro", os.O_RDWR)
	require.ErrorIs(t, err, unix.EROFS)
	_, err = s.Open("nothing", os.O_RDONLY)
	require.ErrorIs(t, err, os.ErrNotExist)
	f, err := s.Open("a/b/img", os.O_RDWR)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("hello"), 12345)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("hello"), int64(len(data)))
	require.ErrorIs(t, err, unix.EFBIG)
	require.Error(t, f.Truncate(0))
	b := make([]byte, 5)
	_, err = o.ReadAt(b, 12345)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b))
	require.NoError(t, f.Close())
	s.Remove("a/b/img")
	s.Remove("a/b/img")
	_, err = s.Open("a/b/img", os.O_RDONLY)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
}

// A damaged range is remembered, exactly enough, and the rest can be read.
func TestServerRemembersDamage(t *testing.T) {
	data := bytesOf(4<<20, 5)
	bad := image.Extent{Offset: 1<<20 + 4096, Length: 8192}
	s, err := Mount(Options{Name: "test"})
	require.NoError(t, err)
	defer s.Close()
	var d Damage
	s.Put("img", Fixed(flaky{bytes.NewReader(data), []image.Extent{bad}}, &d))
	f, err := s.Open("img", os.O_RDONLY)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, d.Err())
	_, err = f.ReadAt(make([]byte, 4096), bad.Offset)
	require.ErrorIs(t, err, unix.EIO)
	require.ErrorIs(t, d.Err(), errBad)
	ranges := d.Ranges()
	require.Len(t, ranges, 1)
	assert.LessOrEqual(t, ranges[0].Offset, bad.Offset)
	assert.LessOrEqual(t, ranges[0].Length, int64(2*grain))
	for _, off := range []int64{0, bad.Offset - 4096, bad.End(), 3 << 20} {
		b := make([]byte, 4096)
		_, err := f.ReadAt(b, off)
		require.NoError(t, err, "at %d", off)
		assert.True(t, bytes.Equal(data[off:off+4096], b))
	}
}

// Ranges are in order, apart from each other, and cover exactly what was added.
func TestDamageIsAUnion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d Damage
		var want, have [200]bool
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			e := image.Extent{Offset: rapid.Int64Range(0, 180).Draw(t, "off"), Length: rapid.Int64Range(1, 20).Draw(t, "len")}
			d.Add(e, errBad)
			for i := e.Offset; i < e.End(); i++ {
				want[i] = true
			}
		}
		last := int64(-1)
		for _, e := range d.Ranges() {
			require.Greater(t, e.Offset, last, "they touch")
			for i := e.Offset; i < e.End(); i++ {
				have[i] = true
			}
			last = e.End()
		}
		require.Equal(t, want, have)
	})
}

// A mount with a path is torn off its users.
func TestServerAtAPath(t *testing.T) {
	at := filepath.Join(t.TempDir(), "mnt")
	require.NoError(t, os.Mkdir(at, 0o700))
	s, err := Mount(Options{Path: at, ReadOnly: true, Name: "test"})
	require.NoError(t, err)
	defer s.Close()
	s.Put("d/img", Fixed(bytes.NewReader(make([]byte, 1<<20)), nil))
	f, err := os.Open(filepath.Join(at, "d/img"))
	require.NoError(t, err)
	defer f.Close()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(at, &st))
	assert.NotZero(t, st.Flags&unix.ST_RDONLY)
	require.NoError(t, s.Close())
	_, err = f.ReadAt(make([]byte, 10), 0)
	require.Error(t, err)
	entries, err := os.ReadDir(at)
	require.NoError(t, err)
	assert.Empty(t, entries)
}
