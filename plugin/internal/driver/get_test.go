package driver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var errAway = errkind.New(errkind.Unavailable, "the host service does not answer")

func TestGetKeepsTheSpelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		for _, name := range []string{"v", "v@ds1"} {
			got, err := p.Get(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, name, got.Name)
			assert.Equal(t, "/mnt/vsphere/"+string(v.ID), got.Mountpoint)
		}
		all, err := p.List(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Equal(t, "v@ds1", all[0].Name)
	})
}

func TestHostileNamesStayHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		before := w.calls
		for _, name := range []string{"", "a/b", "../../etc/x", `a\b`, "a\x00b", "x@", ".", "..", string([]byte{0xff}), "v-000001"} {
			_, errGet := p.Get(t.Context(), name)
			_, errPath := p.Path(t.Context(), name)
			_, errMount := p.Mount(t.Context(), name, "m")
			for _, err := range []error{errGet, errPath, errMount, p.Create(t.Context(), name, nil), p.Remove(t.Context(), name), p.Unmount(t.Context(), name, "m")} {
				assert.True(t, errkind.Is(err, errkind.Invalid), "%q: %v", name, err)
			}
		}
		assert.Equal(t, before, w.calls)
	})
}

// An ordinary error makes Docker forget a volume: only the host service's own
// word is one.
func TestGetWhileTheHostIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		w.add("v@ds1", volspec.Spec{})
		_, err := p.Get(t.Context(), "v")
		require.NoError(t, err)
		_, err = p.Get(t.Context(), "none")
		require.True(t, errkind.Is(err, errkind.NotFound))
		_, err = p.List(t.Context())
		require.NoError(t, err)
		require.NoError(t, p.o.Cache.Flush())

		w.onGet, w.onList = func() error { return errAway }, func() error { return errAway }
		p = p.restart(t, true) // also after a reboot
		defer p.stop()
		for _, name := range []string{"v", "v@ds1", "v@DS1"} {
			got, err := p.Get(t.Context(), name)
			require.NoError(t, err, name)
			assert.Equal(t, name, got.Name)
			path, err := p.Path(t.Context(), name)
			require.NoError(t, err)
			assert.Equal(t, got.Mountpoint, path)
		}
		all, err := p.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, all, 1)
		for _, kind := range []errkind.Kind{errkind.Unavailable, errkind.Internal, errkind.Denied, errkind.Corrupt} {
			w.onGet = func() error { return errkind.New(kind, "whatever") }
			_, err = p.Get(t.Context(), "unknown")
			assert.True(t, errkind.Is(err, errkind.Unavailable), "%s must not look like an answer: %v", kind, err)
			_, err = p.Get(t.Context(), "v")
			assert.NoError(t, err, kind)
		}
		w.onGet = func() error { return errkind.New(errkind.NotFound, "gone") }
		_, err = p.Get(t.Context(), "v")
		assert.True(t, errkind.Is(err, errkind.NotFound), "said by the service")
		w.onGet = func() error { return errAway }
		_, err = p.Get(t.Context(), "v@ds1")
		assert.True(t, errkind.Is(err, errkind.Unavailable), "and remembered as gone")
	})
}

// A service that hangs costs a cached answer seconds at first, then less.
func TestGetFromAHangingHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		hang := &hanging{world: w}
		w.host = hang
		p := boot(t, w, stateDir(t))
		defer p.stop()
		w.add("v@ds1", volspec.Spec{})
		_, err := p.Get(t.Context(), "v")
		require.NoError(t, err)
		hang.hangs.Store(true)
		for _, limit := range []time.Duration{patientAsk, hastyAsk, hastyAsk} {
			start := time.Now()
			_, err := p.Get(t.Context(), "v")
			require.NoError(t, err)
			assert.LessOrEqual(t, time.Since(start), limit)
		}
	})
}

type hanging struct {
	*world
	hangs atomic.Bool
}

func (h *hanging) Get(ctx context.Context, name string) (v wire.Volume, err error) {
	if !h.hangs.Load() {
		return h.world.Get(ctx, name)
	}
	<-ctx.Done()
	return v, errkind.Wrap(errkind.Unavailable, ctx.Err(), "no answer")
}

// A starting engine asks for every volume it knows at once.
func TestCrowdOfGets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		crowd := &crowded{world: w}
		w.host = crowd
		p := boot(t, w, stateDir(t))
		defer p.stop()
		const n = 1000
		for i := range n {
			w.add(fmt.Sprintf("v%d@ds1", i), volspec.Spec{})
		}
		for _, suffix := range []string{"@ds1", ""} { // names the cache can resolve, and names only the service can
			crowd.gets.Store(0)
			var wg sync.WaitGroup
			var failed atomic.Int64
			for i := range n {
				wg.Go(func() {
					name := fmt.Sprintf("v%d%s", i, suffix)
					if v, err := p.Get(t.Context(), name); err != nil || v.Name != name {
						failed.Add(1)
					}
				})
			}
			wg.Wait()
			assert.Zero(t, failed.Load())
			assert.LessOrEqual(t, crowd.most.Load(), int64(maxLookups+1), "connections at a time")
			if suffix != "" {
				assert.LessOrEqual(t, crowd.gets.Load(), int64(maxLookups), "the others share listings")
			}
		}
		_, err := p.Get(t.Context(), "absent@ds1")
		assert.True(t, errkind.Is(err, errkind.NotFound))
	})
}

type crowded struct {
	*world
	now, most, gets atomic.Int64
}

func (c *crowded) slow() func() {
	n := c.now.Add(1)
	for m := c.most.Load(); n > m && !c.most.CompareAndSwap(m, n); m = c.most.Load() {
	}
	time.Sleep(5 * time.Millisecond)
	return func() { c.now.Add(-1) }
}

func (c *crowded) Get(ctx context.Context, name string) (wire.Volume, error) {
	defer c.slow()()
	c.gets.Add(1)
	return c.world.Get(ctx, name)
}

func (c *crowded) List(ctx context.Context) ([]wire.Volume, error) {
	defer c.slow()()
	return c.world.List(ctx)
}

// A listing that was asked for before a change does not hide the change.
func TestListSeesWhatWasDoneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		started := make(chan struct{}, 8)
		w.host = &stale{world: w, started: started}
		p := boot(t, w, stateDir(t))
		defer p.stop()
		w.add("old@ds1", volspec.Spec{})
		first := make(chan []View, 1)
		go func() { all, _ := p.List(t.Context()); first <- all }()
		<-started
		require.NoError(t, p.Create(t.Context(), "new", nil))
		require.NoError(t, p.Remove(t.Context(), "old"))
		all, err := p.List(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Equal(t, "new@ds1", all[0].Name)
		<-first
		_, known := p.o.Cache.Get(volspec.Name{Volume: "new", Datastore: "ds1"})
		assert.True(t, known)
		_, known = p.o.Cache.Get(volspec.Name{Volume: "old", Datastore: "ds1"})
		assert.False(t, known)
	})
}

// stale reads the listing first and delivers it late.
type stale struct {
	*world
	started chan struct{}
}

func (s *stale) List(ctx context.Context) ([]wire.Volume, error) {
	all, err := s.world.List(ctx)
	s.started <- struct{}{}
	time.Sleep(time.Second)
	return all, err
}

func TestCacheSurvivesItsFile(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"damaged": "{", "of the future": `{"version":99}`, "empty": ""} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, cacheFile), []byte(content), 0o600))
		c, err := OpenCache(dir)
		assert.True(t, errkind.Is(err, errkind.Corrupt), "%s: %v", name, err)
		c.Put(volspec.Name{Volume: "v"}, wire.Volume{ID: "1", Name: "v@ds1", Volume: "v", Datastore: "ds1"})
		require.NoError(t, c.Flush())
		c, err = OpenCache(dir)
		require.NoError(t, err)
		v, ok := c.Get(volspec.Name{Volume: "v"})
		assert.True(t, ok)
		assert.Equal(t, "v@ds1", v.Name)
		assert.Equal(t, "v@ds1", c.Name("1"))
	}
	c, err := OpenCache(filepath.Join(dir, "none"))
	require.NoError(t, err)
	c.Put(volspec.Name{Volume: "v"}, wire.Volume{ID: "1", Name: "v@ds1"})
	assert.True(t, errkind.Is(c.Flush(), errkind.Unavailable))
	_, ok := c.Get(volspec.Name{Volume: "v"})
	assert.True(t, ok, "what cannot be written is kept in memory")
}
