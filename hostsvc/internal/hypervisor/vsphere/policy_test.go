package vsphere

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

const aPolicy = "vSAN Default Storage Policy" // that every vCenter has

func TestDisksAreKeptByStoragePolicies(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	v := s.open(t)
	require.NoError(t, v.CheckPolicy(t.Context(), "ds-0", aPolicy))
	err := v.CheckPolicy(t.Context(), "ds-0", "lead")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "no storage policy lead")
	assert.Equal(t, errkind.NotFound, errkind.Of(v.CheckPolicy(t.Context(), "ds-9", aPolicy)))

	r := hypervisor.Ref{Datastore: "ds-0", Group: "g", Volume: "v"}
	assert.Equal(t, errkind.NotFound, errkind.Of(v.CreateWithPolicy(t.Context(), r, small, volspec.Thin, "lead")))
	_, err = v.Stat(t.Context(), r)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	require.NoError(t, v.CreateWithPolicy(t.Context(), r, small, volspec.Thin, aPolicy))
	require.NoError(t, v.CreateWithPolicy(t.Context(), r, small, volspec.Thin, ""), "repeated")
	d, err := v.Stat(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, small, d.Size)
}

func TestAnESXiHostHasNoStoragePolicies(t *testing.T) {
	s := newSite(t, VMDK, control.Options{ESX: true})
	v := s.open(t)
	err := v.CheckPolicy(t.Context(), "ds-0", aPolicy)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "leave vsan-policy-name out")
}
