package volume_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// rigid does not grow disks that have snapshots, as vSphere does not.
type rigid struct{ hypervisor.Hypervisor }

func (h rigid) Unwrap() hypervisor.Hypervisor { return h.Hypervisor }

func (h rigid) Grow(ctx context.Context, r hypervisor.Ref, size volspec.Size) error {
	sn, _ := hypervisor.As[hypervisor.Snapshotter](h.Hypervisor)
	ids, err := sn.Snapshots(ctx, r)
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		return errkind.New(errkind.InUse, "disk %s has snapshots", r.Volume)
	}
	return h.Hypervisor.Grow(ctx, r, size)
}

// Snapshots keep the disk from growing: a user's are named and nothing is
// left of the try; those of backup give way.
func TestResizeWhereSnapshotsPin(t *testing.T) {
	w := newWorld(t)
	w.front = rigid{w.hv}
	w.start(t)
	v := w.mustCreate(t, vm1, "db", "size", "1gb")
	grow := func() (wire.Volume, error) {
		return w.svc.Resize(t.Context(), admin, "dev", "db", wire.Resize{Size: 2 * volspec.GiB})
	}
	_, err := w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "before-upgrade"})
	require.NoError(t, err)
	_, err = w.svc.TakeBackupSnapshot(t.Context(), v.ID, "snap-1", "job", "")
	require.NoError(t, err)

	for range 2 {
		_, err = grow()
		requireKind(t, errkind.InUse, err)
		assert.Equal(t, "volume db@fast cannot grow while it has snapshots on datastore fast: remove before-upgrade and repeat", errkind.Text(err))
	}
	same, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.EqualValues(t, volspec.GiB, same.SizeBytes)
	kept, err := w.svc.BackupSnapshots(t.Context())
	require.NoError(t, err)
	assert.Len(t, kept, 1, "that of backup stays when it would not help")
	w.agree(t)

	require.NoError(t, w.svc.DeleteSnapshot(t.Context(), admin, "dev", "db", "before-upgrade"))
	grown, err := grow()
	require.NoError(t, err)
	assert.EqualValues(t, 2*volspec.GiB, grown.SizeBytes)
	kept, err = w.svc.BackupSnapshots(t.Context())
	require.NoError(t, err)
	assert.Empty(t, kept)
	w.agree(t)
}
