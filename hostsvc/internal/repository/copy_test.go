package repository_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/errkind"
)

// written counts the bytes written to a disk.
type written struct {
	*repositorytest.Disk
	fail error
}

func (w written) WriteAt(p []byte, off int64) (int, error) {
	if w.fail != nil {
		return 0, w.fail
	}
	return w.Disk.WriteAt(p, off)
}

func TestCopyImage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		size := rapid.Int64Range(1, 16<<11).Draw(rt, "sectors") * 512
		src := repositorytest.NewDisk(size)
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		for range rapid.IntRange(0, 5).Draw(rt, "pieces") {
			off := rnd.Int64N(size)
			require.NoError(rt, src.Fill(rnd, off, min(rnd.Int64N(2<<20)+1, size-off)))
		}
		img, _ := src.Snapshot()
		dst := repositorytest.NewDisk(size + rapid.Int64Range(0, 3).Draw(rt, "more")*512)
		var last repository.Progress
		streams := rapid.IntRange(0, 5).Draw(rt, "streams")
		require.NoError(rt, repository.CopyImage(t.Context(), dst, img, streams, func(p repository.Progress) { last = p }))
		assert.Equal(rt, size, last.Done)
		assert.Equal(rt, size, last.Total)
		assert.Equal(rt, img.Read(), last.Read)
		require.NoError(rt, dst.Resize(size))
		got, _ := dst.Snapshot()
		at, err := repositorytest.Differ(img, got)
		require.NoError(rt, err)
		assert.EqualValues(rt, -1, at)
	})
}

func TestCopyImageFails(t *testing.T) {
	src := repositorytest.NewDisk(4 << 20)
	require.NoError(t, src.Fill(rand.New(rand.NewPCG(1, 1)), 0, 4<<20))
	img, _ := src.Snapshot()
	err := repository.CopyImage(t.Context(), repositorytest.NewDisk(1<<20), img, 1, nil)
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	broken := errors.New("broken")
	err = repository.CopyImage(t.Context(), written{repositorytest.NewDisk(4 << 20), broken}, img, 3, nil)
	assert.ErrorIs(t, err, broken)
	img.Fail = func(off int64) error {
		if off >= 2<<20 {
			return broken
		}
		return nil
	}
	err = repository.CopyImage(t.Context(), repositorytest.NewDisk(4<<20), img, 3, nil)
	assert.ErrorIs(t, err, broken)
}
