package volume_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/pkg/wire"
)

// moving is a hypervisor that has moved a disk to another place.
type moving struct {
	*memory.Memory
	to string
}

func (m *moving) Stat(ctx context.Context, r hypervisor.Ref) (hypervisor.Disk, error) {
	d, err := m.Memory.Stat(ctx, r)
	d.Moved = m.to
	return d, err
}

func TestAVolumeSaysWhereItsDiskIs(t *testing.T) {
	w := newWorld(t)
	m := &moving{Memory: w.hv}
	w.front = m
	w.start(t)
	w.mustCreate(t, vm1, "db")
	health := func() string {
		v, err := w.svc.Get(t.Context(), vm1, "", "db")
		require.NoError(t, err)
		return v.Health
	}
	_, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, "ok", health())
	m.to = "its disk is elsewhere; detach it"
	w.svc.Round(t.Context())
	assert.Equal(t, m.to, health())
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	assert.Equal(t, m.to, health(), "it did not go back")

	_, err = w.attach(t, vm1, "db")
	require.NoError(t, err)
	m.to = ""
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	assert.Equal(t, "ok", health())
}
