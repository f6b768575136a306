package vcenter_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"

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

// administrator is a session beside those under test.
func administrator(t *testing.T, sim *control.Sim) *vim25.Client {
	u, err := url.Parse(sim.URL)
	require.NoError(t, err)
	sc := soap.NewClient(u, false)
	require.NoError(t, sc.SetRootCAs(sim.CAFile))
	t.Cleanup(sc.CloseIdleConnections)
	vc, err := vim25.NewClient(t.Context(), sc)
	require.NoError(t, err)
	require.NoError(t, session.NewManager(vc).Login(t.Context(), url.UserPassword(sim.User, sim.Password)))
	return vc
}
