package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// swarm makes one of the guests: the first is the manager. The cleanup
// dissolves it.
func swarm(t *testing.T, guests ...*harness.Guest) {
	t.Helper()
	manager := guests[0]
	manager.Docker(t.Context(), "swarm", "init", "--advertise-addr", manager.Addr).OK(t)
	token := manager.Docker(t.Context(), "swarm", "join-token", "-q", "worker").OK(t).Stdout
	for _, g := range guests[1:] {
		g.Docker(t.Context(), "swarm", "join", "--advertise-addr", g.Addr, "--token", token, manager.Addr+":2377").OK(t)
	}
	t.Cleanup(func() {
		for i := range guests {
			g := guests[len(guests)-1-i]
			g.Docker(cleanup(), "swarm", "leave", "--force").OK(t)
		}
	})
}

// service starts a swarm service of one task that holds the volume at /vol
// and appends its node's name to /vol/log.
func service(t *testing.T, manager *harness.Guest, name, volume string, flags ...string) {
	t.Helper()
	args := []string{"service", "create", "--detach", "--no-resolve-image", "--name", name, "--stop-grace-period", "2s", "--restart-delay", "1s",
		"--network", "host", "--mount", "type=volume,src=" + volume + ",dst=/vol,volume-driver=" + harness.Driver}
	args = append(args, flags...)
	manager.Docker(t.Context(), append(args, harness.Image, "sh", "-c", "trap 'exit 0' TERM; while :; do hostname >>/vol/log || exit 9; sleep 0.1; done")...).OK(t)
	t.Cleanup(func() { manager.Docker(cleanup(), "service", "rm", name) })
}

// taskNode waits until the service has exactly one running task and returns
// the name of its node, which must not be any of others.
func taskNode(t *testing.T, manager *harness.Guest, service string, others ...string) string {
	t.Helper()
	var node string
	require.NoError(t, harness.Eventually(90*time.Second, func() error {
		r := manager.Docker(t.Context(), "service", "ps", service, "--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
		var state string
		if n, _ := fmt.Sscan(r.Stdout, &node, &state); n != 2 || state != "Running" {
			return fmt.Errorf("no task runs yet: %s", r)
		}
		for _, other := range others {
			if node == other {
				return fmt.Errorf("the task is still on %s", node)
			}
		}
		return nil
	}))
	return node
}

// The harness itself: guests form a swarm over the lab's network.
func TestGuestsFormASwarm(t *testing.T) {
	a, b := lab.Guest(t, "vm1"), lab.Guest(t, "vm2")
	swarm(t, a, b)
	ctx := t.Context()
	a.Docker(ctx, "service", "create", "--detach", "--no-resolve-image", "--name", "moving", "--stop-grace-period", "1s", "--constraint", "node.hostname==vm2", harness.Image, "sleep", "1000").OK(t)
	require.Equal(t, "vm2", taskNode(t, a, "moving"))
	a.Docker(ctx, "service", "update", "--detach", "--constraint-rm", "node.hostname==vm2", "--constraint-add", "node.hostname==vm1", "moving").OK(t)
	require.Equal(t, "vm1", taskNode(t, a, "moving", "vm2"))
	a.Docker(ctx, "service", "rm", "moving").OK(t)
}

// A service moves from one node to the other and back: its volume follows,
// with the data of both, and is never attached twice.
func TestSwarmMovesAService(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	swarm(t, s.vm1, s.vm2)
	service(t, s.vm1, "app", "appdata", "--constraint", "node.hostname==vm1")
	require.Equal(t, "vm1", taskNode(t, s.vm1, "app"))
	s.attachedTo(t, "appdata", "vm1")
	move := func(from, to string) {
		s.vm1.Docker(ctx, "service", "update", "--detach", "--constraint-rm", "node.hostname=="+from, "--constraint-add", "node.hostname=="+to, "app").OK(t)
		require.Equal(t, to, taskNode(t, s.vm1, "app", from))
		s.attachedTo(t, "appdata", to)
	}
	move("vm1", "vm2")
	move("vm2", "vm1")
	s.vm1.Docker(ctx, "service", "rm", "app").OK(t)
	s.attachedToLate(t, "appdata", "")
	require.Equal(t, "vm1\nvm2", sh(t, s.vm1, "appdata", "sort -u /vol/log").OK(t).Stdout)
	s.attachedTo(t, "appdata", "")
	removeSoon(t, s.vm1, "appdata")
}

// A node loses power: the task starts on the other one with its data. The
// lost node comes back, and the volume stays where it is.
func TestSwarmLosesANode(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	swarm(t, s.vm1, s.vm2)
	service(t, s.vm1, "app", "appdata")
	s.vm1.Docker(ctx, "node", "update", "--availability", "drain", "vm1").OK(t)
	require.Equal(t, "vm2", taskNode(t, s.vm1, "app", "vm1"))
	s.attachedTo(t, "appdata", "vm2")
	s.vm1.Docker(ctx, "node", "update", "--availability", "active", "vm1").OK(t)
	s.vm2.PowerOff(t)
	require.Equal(t, "vm1", taskNode(t, s.vm1, "app", "vm2"))
	s.attachedTo(t, "appdata", "vm1")
	lab.Guest(t, "vm2")
	s.attachedTo(t, "appdata", "vm1")
	s.vm1.Docker(ctx, "service", "rm", "app").OK(t)
	s.attachedToLate(t, "appdata", "")
	require.Equal(t, "vm1\nvm2", sh(t, s.vm1, "appdata", "sort -u /vol/log").OK(t).Stdout)
	s.attachedTo(t, "appdata", "")
	removeSoon(t, s.vm1, "appdata")
	pruneContainers(t, s.vm2)
}

// A scaled service keeps working when one of its replicas is killed.
func TestSwarmReplicas(t *testing.T) {
	s := newSite(t)
	ctx := t.Context()
	swarm(t, s.vm1)
	service(t, s.vm1, "app", "appdata", "--replicas", "2")
	replicas := func() error {
		if r := s.vm1.Docker(ctx, "service", "ls", "--format", "{{.Replicas}}"); r.Stdout != "2/2" {
			return fmt.Errorf("%s", r)
		}
		return nil
	}
	require.NoError(t, harness.Eventually(60*time.Second, replicas))
	task := s.vm1.Docker(ctx, "ps", "-q").OK(t).Lines()[0]
	s.vm1.Docker(ctx, "kill", task).OK(t)
	require.NoError(t, harness.Eventually(60*time.Second, func() error {
		if slices.Contains(s.vm1.Docker(ctx, "ps", "-q").OK(t).Lines(), task) {
			return fmt.Errorf("the killed task still runs")
		}
		return replicas()
	}))
	s.attachedTo(t, "appdata", "vm1")
	s.vm1.Docker(ctx, "volume", "rm", "appdata").Fails(t, "in use")
	s.vm1.Docker(ctx, "service", "rm", "app").OK(t)
	s.attachedToLate(t, "appdata", "")
	removeSoon(t, s.vm1, "appdata")
}

// removeSoon removes a volume as soon as the engine has forgotten the
// containers of a service that is going away.
func removeSoon(t *testing.T, g *harness.Guest, name string) {
	t.Helper()
	require.NoError(t, harness.Eventually(30*time.Second, func() error {
		if r := g.Docker(t.Context(), "volume", "rm", name); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
}

// pruneContainers removes what a lost node still has of a swarm's tasks.
func pruneContainers(t *testing.T, g *harness.Guest) {
	t.Helper()
	for _, id := range g.Docker(t.Context(), "ps", "-aq").OK(t).Lines() {
		g.Docker(t.Context(), "rm", "-f", id)
	}
}
