package driver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/volspec"
)

// The orders in which an engine starts and stops containers, copies files,
// dies and comes back, with a plugin that is killed, disabled, or loses its
// state: no data is formatted over, no disk is taken from a container, and
// when all is quiet a disk is attached exactly if a container runs on it.
func TestEveryOrderOfAnEngine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		orders := rapid.SliceOfN(rapid.SampledFrom(actions), 1, 8).Draw(rt, "orders")
		var v verdict
		synctest.Test(t, func(t *testing.T) { v = play(t, orders) })
		if len(v.errs) > 0 {
			rt.Fatalf("%s", strings.Join(v.errs, "\n"))
		}
	})
}

// play runs one life in a bubble of its own. It reports to its verdict: rapid
// does not work across the border of a bubble.
func play(t *testing.T, orders []string) (v verdict) {
	m := newModel(t, &v)
	defer func() { m.p.stop() }()
	defer func() {
		if p := recover(); p != nil && p != any(errStop) {
			panic(p)
		}
	}()
	for _, what := range orders {
		m.act(&v, what)
		m.invariants(&v)
	}
	m.p.passed(&v)
	m.quiet(&v)
	m.act(&v, "host back")
	for len(m.w.containers) > 0 {
		m.kill(&v, true)
	}
	m.p.passed(&v)
	m.quiet(&v)
	m.p.passed(&v)
	assert.Empty(&v, m.p.o.Ledger.All())
	return v
}

// verdict collects failures; FailNow ends the life it is about.
type verdict struct{ errs []string }

var errStop = errors.New("stop")

func (v *verdict) Errorf(format string, args ...any) {
	v.errs = append(v.errs, fmt.Sprintf(format, args...))
}
func (v *verdict) FailNow() { panic(errStop) }

var actions = []string{
	"run", "run", "stop", "stop unseen", "cp", "cp stopped", "failed start", "kill plugin", "kill plugin and its state",
	"disable by force", "engine crash", "engine away", "engine back", "host away", "host back", "wait", "remove",
}

type model struct {
	w    *world
	p    *plugin
	v    *simVolume
	next int
}

func newModel(t *testing.T, rt *verdict) *model {
	w := newWorld()
	return &model{w: w, p: boot(rt, w, stateDir(t)), v: w.add("v@ds1", volspec.Spec{})}
}

func (m *model) name() string {
	m.next++
	return []string{"v", "v@ds1"}[m.next%2]
}

func (m *model) act(rt *verdict, what string) {
	ctx := context.Background()
	id := fmt.Sprintf("id%d", m.next)
	name := m.name()
	switch what {
	case "run":
		path, err := m.p.Mount(ctx, name, id)
		if err != nil {
			return // the host is away: there is no container
		}
		m.start(rt, name, id, path)
	case "stop":
		m.kill(rt, true)
	case "stop unseen": // with live-restore while dockerd is down
		m.kill(rt, false)
	case "cp", "cp stopped":
		if what == "cp" { // on a running container its ID is shared
			for _, c := range m.w.containers {
				name, id = c.name, c.mountID
			}
		}
		if _, err := m.p.Mount(ctx, name, id); err == nil {
			require.NoError(rt, m.p.Unmount(ctx, name, id))
		}
	case "failed start": // mounted, then the container could not be started
		if _, err := m.p.Mount(ctx, name, id); err == nil {
			require.NoError(rt, m.p.Unmount(ctx, name, id))
			require.NoError(rt, m.p.Unmount(ctx, name, id))
		}
	case "kill plugin":
		m.p = m.p.restart(rt, true)
	case "kill plugin and its state":
		m.p = m.p.restart(rt, false)
	case "disable by force": // the engine unmounts its side, containers run on
		m.p.stop()
		m.w.set(func() { clear(m.w.mounts) })
		m.p = boot(rt, m.w, m.p.state)
	case "engine crash": // its next start unmounts, kills, and starts again with the old IDs
		m.p.stop()
		old := m.w.containers
		m.w.set(func() {
			clear(m.w.mounts)
			m.w.containers = map[string]*simContainer{}
		})
		m.p = boot(rt, m.w, m.p.state)
		for _, c := range old {
			if path, err := m.p.Mount(ctx, c.name, c.mountID); err == nil {
				m.start(rt, c.name, c.mountID, path)
			}
		}
	case "engine away", "engine back":
		m.w.set(func() { m.w.engineDown = what == "engine away" })
	case "host away":
		m.w.set(func() { m.w.onGet, m.w.onAttach = func() error { return errAway }, func() error { return errAway } })
	case "host back":
		m.w.set(func() { m.w.onGet, m.w.onAttach = nil, nil })
	case "wait":
		m.p.passed(rt)
	case "remove":
		if err := m.p.Remove(ctx, name); err == nil && m.w.volumes["v@ds1"] == nil {
			assert.Empty(rt, m.w.containers, "removed under a container")
			m.v = m.w.add("v@ds1", volspec.Spec{})
		}
	}
}

func (m *model) start(rt *verdict, name, id, path string) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	disk := m.w.mounts[path]
	require.NotNil(rt, disk, "Mount answered with a path that is no mount")
	m.w.containers[id] = &simContainer{name: name, volume: name, id: "c-" + id, mountID: id, disk: disk}
}

// kill ends one container, with or without the engine telling the plugin.
func (m *model) kill(rt *verdict, told bool) {
	for key, c := range m.w.containers {
		m.w.set(func() { delete(m.w.containers, key) })
		if told {
			require.NoError(rt, m.p.Unmount(context.Background(), c.name, c.mountID))
		}
		return
	}
}

func (m *model) invariants(rt *verdict) {
	m.w.sane(rt)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, c := range m.w.containers {
		require.True(rt, m.v.attached, "disk was taken from container %s", c.id)
		require.Same(rt, m.v.disk, c.disk)
	}
}

func (m *model) quiet(rt *verdict) {
	m.invariants(rt)
	if m.w.engineDown && !m.v.attached {
		return
	}
	if m.w.engineDown { // nothing is given back without evidence
		m.w.set(func() { m.w.engineDown = false })
		m.p.passed(rt)
	}
	assert.Equal(rt, len(m.w.containers) > 0, m.v.attached, "attached exactly if used: %v", m.w.log)
}
