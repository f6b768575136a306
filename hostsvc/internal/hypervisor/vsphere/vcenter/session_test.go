package vcenter_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/simvc/control"
)

func TestARefusedPasswordIsNotTriedAgain(t *testing.T) {
	sim := start(t, control.Options{})
	ctx := t.Context()
	password := "wrong"
	o := options(sim)
	o.Password = func() (string, error) { return password, nil }
	c := connect(t, o)
	err := ask(ctx, c)
	require.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
	assert.Contains(t, errkind.Text(err), o.User)
	assert.Contains(t, errkind.Text(err), "password file")
	assert.NotContains(t, errkind.Text(err), password)
	require.NoError(t, sim.ResetCalls(ctx))
	require.Equal(t, errkind.Denied, errkind.Of(ask(ctx, c)))
	calls, err := sim.Calls(ctx)
	require.NoError(t, err)
	assert.Zero(t, calls["Login"], "an account is locked after a few attempts")

	password = sim.Password
	require.NoError(t, ask(ctx, c), "another password is tried at once")

	unreadable := options(sim)
	unreadable.Password = func() (string, error) { return "", errors.New("no such file") }
	require.Equal(t, errkind.Unavailable, errkind.Of(ask(ctx, connect(t, unreadable))))
}

func TestASessionThatEndedIsReplaced(t *testing.T) {
	sim := start(t, control.Options{VMs: 2})
	ctx := t.Context()
	c := connect(t, options(sim))
	inv := vcenter.NewInventory(c)
	before, err := inv.VMs(ctx)
	require.NoError(t, err)
	require.Len(t, before, 2)
	files := c.Files()
	require.NoError(t, files.MakeFolder(ctx, "ds-0", "a"))
	require.NoError(t, files.Put(ctx, "ds-0", "a/b", strings.NewReader("content"), 7))

	require.NoError(t, sim.EndSessions(ctx))
	require.NoError(t, ask(ctx, c))
	require.NoError(t, sim.EndSessions(ctx))
	after, err := inv.VMs(ctx)
	require.NoError(t, err)
	assert.Equal(t, before, after)
	require.NoError(t, sim.EndSessions(ctx))
	require.NoError(t, files.Put(ctx, "ds-0", "a/b", strings.NewReader("content"), 7))
	require.NoError(t, sim.EndSessions(ctx))
	r, err := files.Get(ctx, "ds-0", "a/b", 0, -1)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.NoError(t, sim.EndSessions(ctx))
	_, err = c.VSLM(ctx)
	require.NoError(t, err)
}

func TestALostConnection(t *testing.T) {
	sim := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	c := connect(t, options(sim))
	inv := vcenter.NewInventory(c)
	_, err := inv.VMs(ctx)
	require.NoError(t, err)

	require.NoError(t, sim.Sever(ctx, time.Second))
	err = ask(ctx, c)
	require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	assert.True(t, vcenter.Lost(err))
	assert.Contains(t, errkind.Text(err), "asking the time")
	require.Eventually(t, func() bool { return ask(ctx, c) == nil }, 10*time.Second, 100*time.Millisecond)
	_, err = inv.VMs(ctx)
	require.NoError(t, err)

	require.NoError(t, sim.Kill())
	_, err = inv.VMs(ctx)
	require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	require.NoError(t, sim.Restart(ctx))
	all, err := inv.VMs(ctx)
	require.NoError(t, err)
	assert.Len(t, all, 1)
}
