package vsphere

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

func TestDisksOfSnapshotsComeAsStreams(t *testing.T) {
	s := objectSite(t, FCD, control.Options{})
	ctx := t.Context()
	v := s.open(t)
	m := machines{s, v}
	vm := m.Add(t, "db")
	m.Write(t, vm, "2000", 0, []byte("system"))
	m.Write(t, vm, "2001", 5<<20, []byte("frozen"))
	_, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	m.Write(t, vm, "2001", 5<<20, []byte("later!"))
	holds := func(img image.Image) {
		t.Helper()
		b := make([]byte, 6)
		_, err := img.ReadAt(b, 5<<20)
		require.NoError(t, err)
		assert.Equal(t, "frozen", string(b))
		assert.EqualValues(t, 16<<20, img.Size())
	}
	copied := func() []string {
		found, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-0", "*", "mooring-read-*"))
		require.NoError(t, err)
		return found
	}
	img, err := v.OpenMachineDisk(ctx, vm, "s1", "2001")
	require.NoError(t, err)
	holds(img)
	assert.Empty(t, copied())
	calls, err := s.sim.Calls(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, calls["ExportSnapshot"])
	assert.Zero(t, calls["ExportVm"])
	require.NoError(t, s.sim.Power(ctx, "db", false), "the lease is over once the disk is here")
	require.NoError(t, s.sim.Power(ctx, "db", true))
	require.NoError(t, img.Close())

	require.NoError(t, s.sim.Fault(ctx, control.Fault{Method: "ExportSnapshot", Kind: "NotSupported"}))
	img, err = v.OpenMachineDisk(ctx, vm, "s1", "2001")
	require.NoError(t, err)
	holds(img)
	assert.NotEmpty(t, copied(), "a copy was carried instead")
	require.NoError(t, img.Close())
	assert.Empty(t, copied())
	require.NoError(t, s.sim.ClearFaults(ctx))

	require.NoError(t, s.sim.Fault(ctx, control.Fault{Method: "ExportSnapshot", Kind: "NoPermission"}))
	_, err = v.OpenMachineDisk(ctx, vm, "s1", "2001")
	requireKind(t, errkind.Denied, err)
	require.NoError(t, s.sim.ClearFaults(ctx))
}

func TestADiskOfALeaseIsTheOneInItsPlace(t *testing.T) {
	unit := int32(3)
	d := &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: 2003, ControllerKey: 1001, UnitNumber: &unit}}
	f := &frozenDisk{machineDisk: machineDisk{device: d}, of: frozenMachine{disks: make([]machineDisk, 2)}}
	f.of.config.Hardware.Device = []types.BaseVirtualDevice{newController("lsilogic", 1001, 1), d}
	lease := func(keys ...string) *vcenter.Lease {
		l := &vcenter.Lease{}
		for _, k := range keys {
			l.Disks = append(l.Disks, vcenter.LeaseDisk{Key: k})
		}
		return l
	}
	const place = "/vm-1/VirtualLsiLogicController1:3"
	found, ok := leased(lease("/vm-1/VirtualLsiLogicController0:3", place), f)
	assert.True(t, ok)
	assert.Equal(t, place, found.Key)
	for _, keys := range [][]string{{}, {"/vm-1/VirtualLsiLogicController11:3"}, {"/vm-1/ParaVirtualSCSIController1:3"}, {"disk-0", "disk-1"}} {
		_, ok := leased(lease(keys...), f)
		assert.False(t, ok, "%v", keys)
	}
	f.of.disks = f.of.disks[:1]
	_, ok = leased(lease("another notation"), f)
	assert.True(t, ok, "a VM with one disk has no other")
}

func TestWhatADiskOnObjectsHasIsKnownFromItsStream(t *testing.T) {
	s := objectSite(t, VMDK, control.Options{Capacity: 4 << 40})
	ctx := t.Context()
	v := s.open(t)
	r := hypervisor.Ref{Datastore: "ds-0", Group: "g", Volume: "large"}
	require.NoError(t, v.Build(ctx, r, volspec.TiB, volspec.Thin, "", word("content")))
	require.NoError(t, v.Snapshot(ctx, r, "s1"))
	img, err := v.OpenSnapshot(ctx, r, "s1")
	require.NoError(t, err)
	var data []image.Extent
	for e, err := range img.Data(ctx) {
		require.NoError(t, err)
		data = append(data, e)
	}
	require.Len(t, data, 1)
	assert.Zero(t, data[0].Offset)
	assert.LessOrEqual(t, data[0].Length, int64(grain))
	require.NoError(t, img.Close())
}
