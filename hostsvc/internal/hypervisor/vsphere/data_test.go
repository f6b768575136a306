package vsphere

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

func sequence(list []image.Extent, last error) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
		if last != nil {
			yield(image.Extent{}, last)
		}
	}
}

// someExtents draws extents within 100 bytes, in order.
func someExtents(rt *rapid.T, label string) (list []image.Extent, in [100]bool) {
	for at := 0; at < 100; {
		at += rapid.IntRange(0, 30).Draw(rt, label+" gap")
		n := rapid.IntRange(1, 20).Draw(rt, label+" length")
		if at+n > 100 {
			break
		}
		list = append(list, image.Extent{Offset: int64(at), Length: int64(n)})
		for i := at; i < at+n; i++ {
			in[i] = true
		}
		at += n + 1
	}
	return list, in
}

func TestUnionIsWhatIsInEither(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, inA := someExtents(rt, "a")
		b, inB := someExtents(rt, "b")
		var got [100]bool
		end := int64(-1)
		for e, err := range union(sequence(a, nil), sequence(b, nil)) {
			require.NoError(rt, err)
			require.Greater(rt, e.Offset, end, "in order, merged where they touch")
			end = e.End()
			for i := e.Offset; i < end; i++ {
				got[i] = true
			}
		}
		for i := range got {
			require.Equal(rt, inA[i] || inB[i], got[i], "byte %d", i)
		}
	})
	boom := errors.New("boom")
	var last error
	for _, err := range union(sequence([]image.Extent{{Offset: 0, Length: 1}}, boom), sequence(nil, nil)) {
		last = err
	}
	require.ErrorIs(t, last, boom)
	for range union(sequence([]image.Extent{{Offset: 0, Length: 1}, {Offset: 5, Length: 1}}, boom), sequence(nil, nil)) {
		break // no more are wanted
	}
}

func TestWhatKeepsNoFilesIsNotMovedByHTTP(t *testing.T) {
	for _, kind := range []string{"vsan", "vsanD", "VVOL", "PMEM"} {
		_, err := overHTTP{}.open(t.Context(), source{ds: vcenter.Datastore{Name: "ds", Type: kind}})
		assert.Equal(t, errkind.Unsupported, errkind.Of(err), kind)
		assert.ErrorContains(t, err, kind)
	}
}

func TestScratchIsATargetThatLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := newScratch(dir, "disk v", 1<<20)
	require.NoError(t, err)
	defer s.close()
	empty, err := s.empty(t.Context())
	require.NoError(t, err)
	assert.True(t, empty)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "it has no name")

	_, err = s.WriteAt([]byte("content"), 4096)
	require.NoError(t, err)
	b := make([]byte, 9)
	_, err = s.ReadAt(b, 4095)
	require.NoError(t, err)
	assert.Equal(t, "\x00content\x00", string(b))
	n, err := s.ReadAt(b, 1<<20-4)
	assert.Equal(t, 4, n)
	require.ErrorIs(t, err, io.EOF)
	var data []image.Extent
	for e, err := range s.data(t.Context()) {
		require.NoError(t, err)
		data = append(data, e)
	}
	require.Len(t, data, 1)
	assert.LessOrEqual(t, data[0].Offset, int64(4096))
	require.NoError(t, s.Discard(t.Context(), image.Extent{Offset: 0, Length: 64 << 10}))
	_, err = s.ReadAt(b, 4095)
	require.NoError(t, err)
	assert.Equal(t, make([]byte, 9), b)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.Equal(t, errkind.Unavailable, errkind.Of(s.Discard(ended, image.Extent{Offset: 0, Length: 1})))

	for _, err := range []error{
		second(s.WriteAt([]byte("x"), 1<<20)), second(s.WriteAt([]byte("x"), -1)), second(s.ReadAt(b, -1)), s.Discard(t.Context(), image.Extent{Offset: 1<<20 - 1, Length: 2}),
	} {
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
	}
	s.End()
	assert.Equal(t, errkind.Internal, errkind.Of(second(s.WriteAt([]byte("x"), 0))), "a writer that was forgotten")

	_, err = newScratch(dir+"/none", "disk v", 1)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.ErrorContains(t, err, "none")
}

func second(_ int, err error) error { return err }

// inMemory is content in memory.
type inMemory []byte

func (c inMemory) readAt(_ context.Context, p []byte, off int64) (int, error) {
	return bytes.NewReader(c).ReadAt(p, off)
}

func (inMemory) Close() error { return nil }

func TestWhatIsReadBackIsCompared(t *testing.T) {
	s, err := newScratch(t.TempDir(), "disk v", 1<<20)
	require.NoError(t, err)
	defer s.close()
	_, err = s.WriteAt([]byte("content"), 512<<10)
	require.NoError(t, err)
	got := make(inMemory, 1<<20)
	copy(got[512<<10:], "content")
	require.NoError(t, compare(t.Context(), got, s, "disk v"))
	got[512<<10]++
	err = compare(t.Context(), got, s, "disk v")
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	assert.ErrorContains(t, err, "disk v was written, and read back with another content")
}

func TestImagesThatAreReadForTheirDataAreReadOnce(t *testing.T) {
	disk := make(inMemory, 20<<20)
	copy(disk[9<<20:], "one")
	copy(disk[20<<20-1:], "x")
	reads := 0
	o := &opened{size: int64(len(disk)), content: counted{disk, &reads}, ctx: t.Context(), known: &known{}}
	for range 2 {
		var data []image.Extent
		for e, err := range o.Data(t.Context()) {
			require.NoError(t, err)
			data = append(data, e)
		}
		assert.Equal(t, []image.Extent{{Offset: 9 << 20, Length: grain}, {Offset: 20<<20 - grain, Length: grain}}, data)
	}
	assert.Equal(t, 3, reads, "one window at a time")
}

type counted struct {
	content
	n *int
}

func (c counted) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	*c.n++
	return c.content.readAt(ctx, p, off)
}
