package volume_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// policed is a hypervisor whose datastore fast knows the storage policy gold.
type policed struct {
	hypervisor.Hypervisor
	used map[volspec.VolumeID]string
}

func (p policed) Unwrap() hypervisor.Hypervisor { return p.Hypervisor }

func (p policed) CheckPolicy(_ context.Context, datastore, policy string) error {
	if policy != "gold" {
		return errkind.New(errkind.NotFound, "no storage policy %s", policy)
	}
	if datastore != "fast" {
		return errkind.New(errkind.Unsupported, "datastore %s is not compatible with it", datastore)
	}
	return nil
}

func (p policed) CreateWithPolicy(ctx context.Context, r hypervisor.Ref, size volspec.Size, format, policy string) error {
	p.used[r.Volume] = policy
	return p.Create(ctx, r, size, format)
}

func TestAVolumeIsKeptByItsStoragePolicy(t *testing.T) {
	w := newWorld(t)
	p := policed{w.hv, map[volspec.VolumeID]string{}}
	w.front = p
	w.start(t)
	v := w.mustCreate(t, vm1, "db", "vsan-policy-name", "gold")
	assert.Equal(t, map[volspec.VolumeID]string{v.ID: "gold"}, p.used)
	assert.Equal(t, "gold", v.Spec.StoragePolicy)
	w.mustCreate(t, vm1, "plain")
	assert.Len(t, p.used, 1)

	_, err := w.create(t, vm1, "none", "vsan-policy-name", "lead")
	requireKind(t, errkind.NotFound, err)
	_, err = w.create(t, vm1, "copy", "clone-from", "db", "vsan-policy-name", "gold")
	requireKind(t, errkind.Unsupported, err)
	assert.Contains(t, errkind.Text(err), "leave vsan-policy-name out")
	require.Len(t, p.used, 1)
}
