package kopia_test

import (
	"context"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// world is a disk, the points of it that must be in the repository, and the
// repository, reopened now and then. Time goes in leaps, for the margins of
// the maintenance are days.
type world struct {
	t      *testing.T
	s      repositorytest.Storage
	p      repository.Place
	r      repository.Repository
	disk   *repositorytest.Disk
	rnd    *rand.Rand
	points map[volspec.PointID]*repositorytest.Snapshot
	n      int
	last   volspec.PointID // parent of what is dirty now
	dirty  []image.Extent
	leap   *atomic.Int64
	f      *requests
	freed  int64
}

func newWorld(t *testing.T, rt *rapid.T) *world {
	w := &world{t: t, points: map[volspec.PointID]*repositorytest.Snapshot{}, leap: &atomic.Int64{}, f: &requests{}}
	w.rnd = random(rapid.Uint64().Draw(rt, "seed"))
	w.s = directory(t, kopia.Options{Wrap: w.f.wrap, Checkpoint: 1 << 20, Now: func() time.Time { return time.Now().Add(time.Duration(w.leap.Load())) }})
	dir, err := os.MkdirTemp(t.TempDir(), "repo")
	require.NoError(rt, err)
	w.p = repository.Place{Location: repository.Location{Type: repository.Directory, Path: dir}}
	_, err = w.s.Opener.Create(context.Background(), w.p, repositorytest.Key, repository.Identity{ID: "r-1"})
	require.NoError(rt, err)
	w.open(rt)
	w.disk = repositorytest.NewDisk(rapid.Int64Range(1, 300).Draw(rt, "size") << 19)
	return w
}

func (w *world) open(rt *rapid.T) {
	if w.r != nil {
		require.NoError(rt, w.r.Close(context.Background()))
	}
	var err error
	w.r, err = w.s.Opener.Open(context.Background(), w.p, repositorytest.Key, "r-1")
	require.NoError(rt, err)
}

func (w *world) extent(rt *rapid.T) image.Extent {
	off := rapid.Int64Range(0, w.disk.Size()-1).Draw(rt, "off")
	return image.Extent{Offset: off, Length: min(rapid.Int64Range(1, 3<<20).Draw(rt, "len"), w.disk.Size()-off)}
}

func (w *world) write(rt *rapid.T) {
	for range rapid.IntRange(1, 3).Draw(rt, "writes") {
		e := w.extent(rt)
		require.NoError(rt, w.disk.Fill(w.rnd, e.Offset, e.Length))
	}
}

func (w *world) discard(rt *rapid.T) {
	require.NoError(rt, w.disk.Discard(context.Background(), w.extent(rt)))
}

func (w *world) resize(rt *rapid.T) {
	require.NoError(rt, w.disk.Resize(rapid.Int64Range(1, 300).Draw(rt, "size")<<19))
}

func (w *world) backup(rt *rapid.T) {
	img, changed := w.disk.Snapshot()
	w.dirty = append(w.dirty, changed...)
	w.n++
	parent, dirty := w.last, w.dirty
	switch rapid.IntRange(0, 3).Draw(rt, "how") {
	case 0:
		parent, dirty = "", nil
	case 1:
		dirty = nil
	}
	b := repositorytest.Backup(w.n, img, parent, nil)
	if dirty != nil || parent != "" && rapid.Bool().Draw(rt, "tracked") {
		b.Changed = union(w.dirty)
	}
	b.Sample = rapid.SampledFrom([]float64{0, 0.1, 1}).Draw(rt, "sample")
	if rapid.IntRange(0, 4).Draw(rt, "crash") == 0 {
		w.crash(rt, b, img)
		return
	}
	p, err := w.r.Write(context.Background(), b, nil)
	require.NoError(rt, err)
	w.points[p.ID], w.last, w.dirty = img, p.ID, nil
}

// crash stops a backup in the middle; the changes go to the next one.
func (w *world) crash(rt *rapid.T, b repository.Backup, img *repositorytest.Snapshot) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var left atomic.Int64
	left.Store(rapid.Int64Range(0, 5).Draw(rt, "blocks"))
	img.Fail = func(int64) error {
		if left.Add(-1) < 0 {
			cancel()
		}
		return ctx.Err()
	}
	p, err := w.r.Write(ctx, b, nil)
	img.Fail = nil
	if err == nil {
		w.points[p.ID], w.last, w.dirty = img, p.ID, nil
	}
	w.open(rt)
}

// union is extents sorted and joined: the disk tells them snapshot by snapshot.
func union(all []image.Extent) image.Extents {
	d := repositorytest.NewDisk(1 << 40)
	for _, e := range all {
		for at := e.Offset; at < e.End(); at += 64 << 10 {
			_, _ = d.WriteAt([]byte{1}, at)
		}
	}
	_, joined := d.Snapshot()
	return repositorytest.Extents(joined)
}

func (w *world) remove(rt *rapid.T) {
	if len(w.points) == 0 {
		return
	}
	id := w.pick(rt)
	require.NoError(rt, w.r.Delete(context.Background(), id))
	delete(w.points, id)
}

func (w *world) pick(rt *rapid.T) volspec.PointID {
	var ids []volspec.PointID
	for i := range w.n + 1 {
		if id := repositorytest.ID(i); w.points[id] != nil {
			ids = append(ids, id)
		}
	}
	return rapid.SampledFrom(ids).Draw(rt, "point")
}

func (w *world) maintain(rt *rapid.T) {
	hours := rapid.SampledFrom([]int{0, 1, 30, 100, -20}).Draw(rt, "hours")
	w.leap.Add(int64(time.Duration(hours) * time.Hour))
	w.f.lag = time.Duration(w.leap.Load())
	m, err := w.r.Maintain(context.Background(), rapid.IntRange(0, 3).Draw(rt, "full") > 0)
	require.NoError(rt, err)
	require.True(rt, m.Ran, m.Note)
	w.freed += m.Freed
}

func (w *world) check(rt *rapid.T) {
	points, err := w.r.Points(context.Background())
	require.NoError(rt, err)
	require.Len(rt, points, len(w.points))
	for _, p := range points {
		require.NotNil(rt, w.points[p.ID], "point %s was deleted", p.ID)
	}
}

// TestModelOfARepository: whatever is written, discarded, resized, backed up, broken off,
// deleted and maintained, every listed point restores bit for bit, and the
// standard program finds nothing wrong.
func TestModelOfARepository(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, rt)
		defer func() { _ = w.r.Close(context.Background()) }()
		rt.Repeat(map[string]func(*rapid.T){
			"write": w.write, "discard": w.discard, "resize": w.resize, "backup": w.backup, "again": w.backup,
			"remove": w.remove, "maintain": w.maintain, "reopen": w.open, "": w.check,
		})
		for id, img := range w.points {
			repositorytest.Equal(rt, w.r, id, img)
			v, err := w.r.Verify(context.Background(), id, repository.Verify{Mode: repository.Full}, nil)
			require.NoError(rt, err)
			require.Empty(rt, v.Damaged, v.Why)
		}
		if len(w.points) > 0 && w.n%5 == 0 {
			connect(t, w.p, repositorytest.Key).run("snapshot", "verify", "--verify-files-percent=100")
		}
	})
}
