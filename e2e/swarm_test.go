package e2e

import (
	"fmt"
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
