package image_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/image"
)

// disk is an image and a target in memory. What was never written is a hole.
type disk struct {
	data   []byte
	broken int64 // reads at or behind it fail; 0: none
}

func (d *disk) Size() int64  { return int64(len(d.data)) }
func (d *disk) Close() error { return nil }

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	if d.broken > 0 && off+int64(len(p)) > d.broken {
		return 0, errors.New("a block cannot be read")
	}
	return bytes.NewReader(d.data).ReadAt(p, off)
}

func (d *disk) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		const page = 4096
		var zero [page]byte
		from := -1
		for off := 0; off <= len(d.data); off += page {
			hole := off == len(d.data) || bytes.Equal(d.data[off:off+page], zero[:])
			switch {
			case !hole && from < 0:
				from = off
			case hole && from >= 0:
				if !yield(image.Extent{Offset: int64(from), Length: int64(off - from)}, nil) {
					return
				}
				from = -1
			}
		}
	}
}

func (d *disk) Discard(context.Context, image.Extent) error { return nil }

// target counts what is written; its writers do not overlap.
type target struct {
	*disk
	wrote chan int64
}

func (t target) WriteAt(p []byte, off int64) (int, error) {
	copy(t.data[off:], p)
	t.wrote <- int64(len(p))
	return len(p), nil
}

func TestCopyIsExactAndSparse(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const pages = 1024
		src := &disk{data: make([]byte, pages*4096)}
		used := map[int]bool{}
		for range rapid.IntRange(0, 8).Draw(rt, "runs") {
			at := rapid.IntRange(0, pages-1).Draw(rt, "page")
			n := rapid.IntRange(1, 300).Draw(rt, "pages")
			for i := at; i < min(at+n, pages); i++ {
				used[i] = true
				src.data[i*4096+rapid.IntRange(0, 4095).Draw(rt, "byte")] = 1
			}
		}
		dst := target{&disk{data: make([]byte, len(src.data)+4096)}, make(chan int64, 1<<16)}
		var last, total int64
		require.NoError(rt, image.Copy(context.Background(), dst, src, image.CopyOptions{Streams: 3, Report: func(done, of int64) { last, total = done, of }}))
		close(dst.wrote)
		var wrote int64
		for n := range dst.wrote {
			wrote += n
		}
		assert.True(rt, bytes.Equal(src.data, dst.data[:len(src.data)]))
		assert.Equal(rt, int64(len(used))*4096, total)
		assert.Equal(rt, total, last)
		assert.LessOrEqual(rt, wrote, int64(len(used))*(64<<10), "long runs of zeros are not written")
	})
}

func TestCopyFailsWithWhatItReads(t *testing.T) {
	src := &disk{data: bytes.Repeat([]byte{7}, 4<<20), broken: 3 << 20}
	dst := target{&disk{data: make([]byte, 4<<20)}, make(chan int64, 1<<10)}
	assert.ErrorContains(t, image.Copy(t.Context(), dst, src, image.CopyOptions{}), "a block cannot be read")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	cancel(stop)
	src.broken = 0
	assert.ErrorIs(t, image.Copy(ctx, dst, src, image.CopyOptions{}), stop)
}

func TestPaceHoldsTheRateOfAllTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &image.Pace{Rate: 10 << 20}
		begun := time.Now()
		done := make(chan error, 4)
		for range 4 {
			go func() {
				for range 25 {
					if err := p.Wait(t.Context(), 1<<20); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 4 {
			require.NoError(t, <-done)
		}
		took := time.Since(begun)
		assert.InDelta(t, 10, took.Seconds(), 0.5)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		assert.Error(t, p.Wait(ctx, 1<<30), "a wait ends with its context")
		assert.NoError(t, new(image.Pace).Wait(t.Context(), 1<<40), "no rate, no wait")
	})
}

var _ io.WriterAt = target{}
