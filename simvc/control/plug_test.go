package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

func TestPlug(t *testing.T) {
	require.Zero(t, os.Geteuid(), "this test attaches loop devices: run it as root")
	s := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	dev := t.TempDir()
	require.NoError(t, s.Plug(ctx, "vm-0", dev))
	o := s.fcd("vol", 8)
	_, err := s.vslmWait(s.catalog().AttachDisk(ctx, o.Config.Id, s.vm("vm-0"), 0, nil))
	require.NoError(t, err)
	vm, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	link := filepath.Join(dev, "disk/by-id/wwn-0x"+strings.ToLower(strings.ReplaceAll(vm.Disks[1].UUID, "-", "")))
	node, err := filepath.EvalSymlinks(link)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(dev, "sdb"), node)

	guest, err := os.OpenFile(link, os.O_RDWR|os.O_SYNC, 0)
	require.NoError(t, err)
	_, err = guest.WriteAt([]byte("by the guest"), mib)
	require.NoError(t, err)

	// The guest's device goes on through snapshots, and through the death of the
	// simulator.
	require.NoError(t, s.Snapshot(ctx, "vm-0", "a"))
	_, err = guest.WriteAt([]byte("later "), mib)
	require.NoError(t, err)
	vm, err = s.VM(ctx, "vm-0")
	require.NoError(t, err)
	assert.Equal(t, "later  guest", s.read(vm.Disks[1].File, mib, 12))
	assert.Equal(t, "by the guest", s.read(fcdFile(o), mib, 12))
	require.NoError(t, s.Kill())
	require.NoError(t, s.Restart(ctx))
	s.login()
	_, err = guest.WriteAt([]byte("and on"), mib)
	require.NoError(t, err)
	require.NoError(t, s.RemoveSnapshot(ctx, "vm-0", "a"))
	assert.Equal(t, "and on guest", s.read(fcdFile(o), mib, 12))
	require.NoError(t, guest.Close())

	_, err = s.vslmWait(s.catalog().ExtendDisk(ctx, o.Config.Id, 16))
	require.NoError(t, err)
	f, err := os.Open(link)
	require.NoError(t, err)
	end, err := f.Seek(0, 2)
	require.NoError(t, err)
	assert.EqualValues(t, 16*mib, end)
	require.NoError(t, f.Close())

	require.NoError(t, s.Power(ctx, "vm-0", false))
	assert.NoFileExists(t, link)
	require.NoError(t, s.Power(ctx, "vm-0", true))
	assert.FileExists(t, link)
	require.NoError(t, s.vm("vm-0").DetachDisk(ctx, o.Config.Id.Id))
	_, err = os.Lstat(link)
	assert.ErrorIs(t, err, os.ErrNotExist)

	unit, mode := int32(4), types.VirtualDiskModeIndependent_nonpersistent
	require.NoError(t, s.reconfigure("vm-0", &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationAdd,
		Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
			ControllerKey: 1000, UnitNumber: &unit,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: fcdFile(o)}, DiskMode: string(mode),
			},
		}},
	}))
	if guest, err = os.OpenFile(link, os.O_RDWR|os.O_SYNC, 0); err == nil {
		_, err = guest.WriteAt([]byte("no"), 0)
		require.NoError(t, guest.Close())
	}
	assert.Error(t, err, "it is read-only below the guest")
	require.NoError(t, s.Unplug(ctx, "vm-0"))
	assert.NoFileExists(t, link)
}
