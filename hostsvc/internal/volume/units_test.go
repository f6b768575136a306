package volume_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// coarse is a hypervisor whose disks are whole MiB, with serials of its own.
type coarse struct{ hypervisor.Hypervisor }

func (c coarse) Unwrap() hypervisor.Hypervisor { return c.Hypervisor }

func (c coarse) Datastores(ctx context.Context) ([]hypervisor.Datastore, error) {
	all, err := c.Hypervisor.Datastores(ctx)
	for i := range all {
		all[i].Unit = volspec.MiB
	}
	return all, err
}

func (c coarse) Attach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	dev, err := c.Hypervisor.Attach(ctx, vm, r, readOnly)
	dev.Serial = own(r.Volume)
	return dev, err
}

func own(id volspec.VolumeID) string { return "6000c29" + strings.ReplaceAll(string(id), "-", "")[7:] }

func TestSizesAreThoseOfTheDatastore(t *testing.T) {
	w := newWorld(t)
	w.front = coarse{w.hv}
	w.start(t)
	const odd = "9000000" // bytes
	nine := int64(9 * volspec.MiB)
	v := w.mustCreate(t, vm1, "db", "size", odd+"b")
	assert.Equal(t, nine, v.SizeBytes)
	assert.Equal(t, v.ID, w.mustCreate(t, vm1, "db", "size", odd+"b").ID, "the same was asked for")
	_, err := w.create(t, vm1, "db", "size", "10mb")
	requireKind(t, errkind.Exists, err)

	resize := func(size volspec.Size) int64 {
		v, err := w.svc.Resize(t.Context(), vm1, "", "db", wire.Resize{Size: size})
		require.NoError(t, err)
		return v.SizeBytes
	}
	assert.Equal(t, nine, resize(9*volspec.MiB-5), "it has that")
	assert.Equal(t, int64(12*volspec.MiB), resize(11*volspec.MiB+1))
	assert.Equal(t, int64(12*volspec.MiB), w.mustCreate(t, vm1, "copy", "clone-from", "db").SizeBytes)

	w.points.add(w.dev, "old", "p1", "content")
	w.points.change("p1", func(x *aPoint) { x.Size = 15*volspec.MiB + 512 })
	assert.Equal(t, int64(16*volspec.MiB), w.mustCreate(t, vm1, "restored", "restore-from", "p1").SizeBytes)
	assert.Equal(t, int64(20*volspec.MiB), w.mustCreate(t, vm1, "larger", "restore-from", "p1", "size", "20900000b").SizeBytes)
	w.agree(t)
}

func TestTheQuotaCountsWhatADiskHas(t *testing.T) {
	w := newWorld(t)
	w.front = coarse{w.hv}
	w.start(t)
	w.mustCreate(t, vm1, "most", "size", "10230mb")
	_, err := w.create(t, vm1, "v", "size", "10485761b")
	requireKind(t, errkind.Quota, err)
	w.mustCreate(t, vm1, "v", "size", "10485759b")
	w.agree(t)
}

func TestSerialsAreThoseOfTheHypervisor(t *testing.T) {
	w := newWorld(t)
	w.front = coarse{w.hv}
	w.start(t)
	v := w.mustCreate(t, vm1, "db")
	assert.Empty(t, v.Serial, "no guest has seen it yet")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, own(v.ID), a.Serial)
	again, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, a, again)
	beat, err := w.svc.Heartbeat(t.Context(), vm1, wire.Heartbeat{})
	require.NoError(t, err)
	require.Len(t, beat.Attachments, 1)
	assert.Equal(t, a.Serial, beat.Attachments[0].Serial)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch}))
	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, a.Serial, got.Serial, "a guest may still be looking for it")
	w.agree(t)
}
