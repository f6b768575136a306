package kopia_test

import (
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/image"
)

// striped is a disk that takes no memory: of every stride, the first block is
// data that no other has.
type striped struct{ size, stride int64 }

func (s striped) Size() int64  { return s.size }
func (s striped) Close() error { return nil }

func (s striped) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	for i := 0; i+8 <= len(p); i += 4096 {
		if at := off + int64(i); at%s.stride < 1<<20 {
			binary.LittleEndian.PutUint64(p[i:], uint64(at)+1)
		}
	}
	return len(p), nil
}

func (s striped) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for off := int64(0); off < s.size; off += s.stride {
			if !yield(image.Extent{Offset: off, Length: min(1<<20, s.size-off)}, nil) {
				return
			}
		}
	}
}

// TestLargeRepository: a disk of 1 TiB of which a little is data, in a process of its
// own so that its memory can be measured. Idle, it costs next to nothing.
func TestLargeRepository(t *testing.T) {
	if os.Getenv("MOORING_LARGE") == "" {
		c := exec.Command(os.Args[0], "-test.run=^TestLargeRepository$", "-test.v")
		c.Env = append(os.Environ(), "MOORING_LARGE=1")
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s", out)
		for l := range strings.SplitSeq(string(out), "\n") {
			if strings.Contains(l, "large:") {
				t.Log(strings.TrimSpace(l))
			}
		}
		return
	}
	defer func() { // the kernel's word for this process; getrusage's includes its parent
		var peak int64
		status, err := os.ReadFile("/proc/self/status")
		require.NoError(t, err)
		for l := range strings.SplitSeq(string(status), "\n") {
			if kb, ok := strings.CutPrefix(l, "VmHWM:"); ok {
				peak, err = strconv.ParseInt(strings.Fields(kb)[0], 10, 64)
				require.NoError(t, err)
			}
		}
		t.Logf("large: peak %d MiB", peak>>10)
		assert.Positive(t, peak)
		assert.Less(t, peak>>10, memoryLimit, "MiB of memory")
	}()
	ctx := t.Context()
	r, _ := directory(t, kopia.Options{}).Create(t, "r-1")
	disk := striped{size: 1 << 40, stride: 256 << 20} // 4 GiB of data in 4096 segments
	if n := os.Getenv("MOORING_LARGE_STRIDE"); n != "" {
		mib, err := strconv.ParseInt(n, 10, 64)
		require.NoError(t, err)
		disk.stride = mib << 20
	}
	step := func(name string, f func()) time.Duration {
		at := time.Now()
		f()
		t.Logf("large: %s %v", name, time.Since(at).Round(time.Millisecond))
		return time.Since(at)
	}
	step("full", func() {
		p, err := r.Write(ctx, repositorytest.Backup(1, disk, "", nil), nil)
		require.NoError(t, err)
		assert.Equal(t, 1<<40/disk.stride<<20, p.Stats.Data)
	})
	idle := step("idle", func() {
		p, err := r.Write(ctx, repositorytest.Backup(2, disk, repositorytest.ID(1), []image.Extent{}), nil)
		require.NoError(t, err)
		assert.Zero(t, p.Stats.Read)
		assert.Less(t, p.Stats.Stored, int64(4<<20))
	})
	assert.Less(t, idle, 10*time.Second)
	step("one block", func() {
		b := repositorytest.Backup(3, disk, repositorytest.ID(2), []image.Extent{{Offset: 1 << 39, Length: 4096}})
		b.Sample = 0.001
		_, err := r.Write(ctx, b, nil)
		require.NoError(t, err)
	})
	step("quick verification", func() {
		v, err := r.Verify(ctx, repositorytest.ID(3), repository.Verify{Mode: repository.Quick}, nil)
		require.NoError(t, err)
		assert.Empty(t, v.Damaged, v.Why)
	})
	step("maintenance", func() {
		m, err := r.Maintain(ctx, true)
		require.NoError(t, err)
		assert.True(t, m.Ran)
	})
	step("data", func() {
		m, err := r.Open(ctx, repositorytest.ID(3))
		require.NoError(t, err)
		defer m.Close()
		n := int64(0)
		for e, err := range m.Data(ctx) {
			require.NoError(t, err)
			n += e.Length
		}
		assert.Equal(t, 1<<40/disk.stride<<20, n)
	})
}

// TestManyPointsInARepository: a list of thousands is fast.
func TestManyPointsInARepository(t *testing.T) {
	ctx := t.Context()
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	img := small(t, 1)
	const n = 150
	for i := range n {
		_, err := r.Write(ctx, repositorytest.Backup(i, img, "", nil), nil)
		require.NoError(t, err)
	}
	again := s.Open(t, p, "r-1")
	at := time.Now()
	points, err := again.Points(ctx)
	require.NoError(t, err)
	assert.Len(t, points, n)
	t.Logf("first list of %d points: %v", n, time.Since(at))
	at = time.Now()
	_, err = again.Points(ctx)
	require.NoError(t, err)
	t.Logf("next list: %v", time.Since(at))
}
