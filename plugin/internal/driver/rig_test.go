package driver

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/plugin/internal/ledger"
)

// plugin is one life of the driver in a world.
type plugin struct {
	*Driver
	w     *world
	state string
	stop  func()
}

const interval = time.Hour // reconciliation is called by tests, or by a poke

// boot starts a driver on the state left in dir.
func boot(t require.TestingT, w *world, dir string) *plugin {
	l, err := ledger.Open(dir)
	require.NoError(t, err)
	c, err := OpenCache(dir)
	require.NoError(t, err)
	var host Host = w
	if w.host != nil {
		host = w.host
	}
	d := New(Options{
		Host: host, Disks: w, Mounts: w, Engine: w, Ledger: l, Cache: c, Root: "/mnt/vsphere",
		Orders: w.orders, Freezer: w.freezer, BootID: "boot", Version: "test", Interval: interval, Beat: interval,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	<-d.ready
	synctest.Wait() // until the first heartbeat was sent
	return &plugin{Driver: d, w: w, state: dir, stop: func() { cancel(); <-done }}
}

// restart ends this life, as kill -9 does for the state folder, and begins
// another.
func (p *plugin) restart(t require.TestingT, keepState bool) *plugin {
	dir, err := os.MkdirTemp(filepath.Dir(p.state), "life")
	require.NoError(t, err)
	if keepState {
		require.NoError(t, copyState(p.state, dir))
	}
	p.w.mu.Lock()
	p.w.dead = true // whatever the old life still does has no effect
	p.w.mu.Unlock()
	p.stop()
	p.w.mu.Lock()
	p.w.dead = false
	p.w.mu.Unlock()
	return boot(t, p.w, dir)
}

func stateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	require.NoError(t, os.Mkdir(dir, 0o700))
	return dir
}

func newPlugin(t *testing.T) (*plugin, *world) {
	t.Helper()
	w := newWorld()
	return boot(t, w, stateDir(t)), w
}

func (w *world) sane(t assert.TestingT) {
	w.mu.Lock()
	defer w.mu.Unlock()
	assert.Empty(t, w.wrongs, "calls: %v", w.log)
}

// passed lets everything that is not used any more be given back.
func (p *plugin) passed(t require.TestingT) {
	for range 4 {
		p.reconcile(context.Background())
		time.Sleep(interval + time.Minute) // of the test's bubble
	}
	p.reconcile(context.Background())
}
