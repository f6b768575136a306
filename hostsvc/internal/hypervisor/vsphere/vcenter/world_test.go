package vcenter_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/simvc/control"
)

// start runs a simulator for one test.
func start(t *testing.T, o control.Options) *control.Sim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sim, err := control.Start(ctx, binary, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(sim.Log())
		}
		require.NoError(t, sim.Stop())
	})
	return sim
}

func options(sim *control.Sim) vcenter.Options {
	return vcenter.Options{URL: sim.URL, User: sim.User, Password: func() (string, error) { return sim.Password, nil }, Thumbprint: sim.Thumbprint, UserAgent: "mooring"}
}

func connect(t *testing.T, o vcenter.Options) *vcenter.Client {
	t.Helper()
	c, err := vcenter.New(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}
