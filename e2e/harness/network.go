package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// SwitchAddr is the lab's own address on its network.
const SwitchAddr = "10.99.0.254"

// network is the lab's ethernet switch: a bridge in a network namespace of
// its own, so that nothing of it is seen outside the lab.
type network struct {
	lab    *Lab
	holder *process // keeps the namespace
}

func (l *Lab) ensureNetwork(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sw != nil {
		return nil
	}
	p, err := l.start(filepath.Join(l.Dir, "network.log"), unix.CLONE_NEWNET, nil, "sleep", "infinity")
	if err != nil {
		return err
	}
	n := &network{lab: l, holder: p}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"}, {"link", "add", "br0", "type", "bridge"},
		{"addr", "add", SwitchAddr + "/24", "dev", "br0"}, {"link", "set", "br0", "up"},
	} {
		if err := n.ip(ctx, p.pid(), args...); err != nil {
			return err
		}
	}
	l.sw = n
	return nil
}

// enter begins a command that runs on the network.
func (n *network) enter() []string {
	return []string{"nsenter", "-t", strconv.Itoa(n.holder.pid()), "-n", "--"}
}

// ip runs the ip command in the network namespace of a process.
func (n *network) ip(ctx context.Context, pid int, args ...string) error {
	return n.lab.do(ctx, append([]string{"nsenter", "-t", strconv.Itoa(pid), "-n", "--", "ip"}, args...)...)
}

// plug gives a booted guest its cable and address.
func (n *network) plug(ctx context.Context, g *Guest) error {
	port, guest := fmt.Sprintf("port%d", g.index), g.init.pid()
	// The cable of the last boot goes with its namespace, a moment later.
	err := Eventually(10*time.Second, func() error {
		return n.ip(ctx, n.holder.pid(), "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(guest))
	})
	if err != nil {
		return err
	}
	if err := n.ip(ctx, n.holder.pid(), "link", "set", port, "master", "br0", "up"); err != nil {
		return err
	}
	if err := n.ip(ctx, guest, "addr", "add", g.Addr+"/24", "dev", "eth0"); err != nil {
		return err
	}
	return n.ip(ctx, guest, "link", "set", "eth0", "up")
}

// Cable connects or disconnects the guest's network.
func (g *Guest) Cable(t testing.TB, connected bool) {
	t.Helper()
	state := "down"
	if connected {
		state = "up"
	}
	require.NoError(t, g.lab.sw.ip(lasting(t), g.lab.sw.holder.pid(), "link", "set", fmt.Sprintf("port%d", g.index), state))
}

// Registry is an image and plugin registry that every guest reaches.
type Registry struct {
	Addr string // host:port, in names of images and plugins

	proc *process
}

// Registry returns the lab's registry, started at the first call.
func (l *Lab) Registry(t testing.TB) *Registry {
	t.Helper()
	require.NoError(t, l.ensureNetwork(lasting(t)))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.registry != nil {
		return l.registry
	}
	dir := filepath.Join(l.Dir, "registry")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	addr := SwitchAddr + ":5000"
	conf := filepath.Join(dir, "config.yml")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil,
		"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: %s\nhttp:\n  addr: %s\n", dir, addr), 0o644))
	p, err := l.start(filepath.Join(dir, "registry.log"), 0, nil, append(l.sw.enter(), "docker-registry", "serve", conf)...)
	require.NoError(t, err)
	l.registry = &Registry{Addr: addr, proc: p}
	return l.registry
}
