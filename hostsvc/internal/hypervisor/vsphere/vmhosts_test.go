package vsphere

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/simvc/control"
)

// Every VM is on a host of the inventory, with the sockets that vCenter says it
// has.
func TestVMsAreOnHosts(t *testing.T) {
	v := newSite(t, VMDK, control.Options{}).open(t)
	on, err := v.VMHosts(t.Context())
	require.NoError(t, err)
	vms, err := v.VMs(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, vms)
	hosts, err := v.inv.Hosts(t.Context())
	require.NoError(t, err)
	names := map[string]int{}
	for _, h := range hosts {
		names[h.Name] = h.Sockets
	}
	for _, vm := range vms {
		h, ok := on[vm.ID]
		require.True(t, ok, vm.Name)
		assert.Contains(t, names, h.Name)
		assert.Equal(t, names[h.Name], h.Sockets)
		assert.Positive(t, h.Sockets)
		assert.NotEmpty(t, h.ID)
	}
}
