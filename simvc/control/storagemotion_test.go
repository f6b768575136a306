package control_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

func (s *site) relocate(vm, datastore string, disks ...types.VirtualMachineRelocateSpecDiskLocator) error {
	ref := s.datastore(datastore).Reference()
	_, err := s.wait(s.vm(vm).Relocate(s.t.Context(), types.VirtualMachineRelocateSpec{Datastore: &ref, Disk: disks}, types.VirtualMachineMovePriorityDefaultPriority))
	return err
}

// A machine that goes to another datastore takes its disks along, under its own
// name, while its guest writes; a disk that is named may stay.
func TestStorageMotion(t *testing.T) {
	require.Zero(t, os.Geteuid(), "this test attaches loop devices: run it as root")
	s := start(t, control.Options{VMs: 1, Datastores: []string{"ds-0", "ds-1", "ds-2"}})
	ctx := t.Context()
	dev := t.TempDir()
	require.NoError(t, s.Plug(ctx, "vm-0", dev))
	o := s.fcd("vol", 8) // on ds-1
	_, err := s.vslmWait(s.catalog().AttachDisk(ctx, o.Config.Id, s.vm("vm-0"), 0, nil))
	require.NoError(t, err)
	before, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	guest, err := os.OpenFile(filepath.Join(dev, "disk/by-id/wwn-0x"+strings.ToLower(strings.ReplaceAll(before.Disks[1].UUID, "-", ""))), os.O_RDWR|os.O_SYNC, 0)
	require.NoError(t, err)
	defer guest.Close()
	_, err = guest.WriteAt([]byte("one"), 0)
	require.NoError(t, err)

	stays := types.VirtualMachineRelocateSpecDiskLocator{DiskId: before.Disks[1].Key, Datastore: s.datastore("ds-1").Reference()}
	require.NoError(t, s.relocate("vm-0", "ds-2", stays))
	vm, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	assert.Equal(t, "[ds-2] vm-0/vm-0.vmdk", vm.Disks[0].File)
	assert.Equal(t, before.Disks[1].File, vm.Disks[1].File, "it was named")

	_, err = s.vslmWait(s.catalog().CreateSnapshot(ctx, o.Config.Id, "kept"))
	require.NoError(t, err)
	_, err = guest.WriteAt([]byte("two"), 0)
	require.NoError(t, err)
	require.NoError(t, s.relocate("vm-0", "ds-0"))
	vm, err = s.VM(ctx, "vm-0")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(vm.Disks[1].File, "[ds-0] vm-0/vm-0_1"), vm.Disks[1].File)
	assert.Equal(t, before.Disks[1].UUID, vm.Disks[1].UUID)
	assert.Equal(t, o.Config.Id.Id, vm.Disks[1].FCD)
	_, err = guest.WriteAt([]byte("x"), 0)
	require.NoError(t, err, "the guest goes on")
	assert.Equal(t, "xwo", s.read(vm.Disks[1].File, 0, 3))

	moved, err := s.catalog().Retrieve(ctx, o.Config.Id)
	require.NoError(t, err)
	assert.Equal(t, vm.Disks[1].File, fcdFile(*moved), "the catalog knows")
	parent := moved.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo).Parent
	require.NotNil(t, parent, "its snapshot went along")
	assert.Equal(t, "one", s.read(parent.GetBaseConfigInfoFileBackingInfo().FilePath, 0, 3))
	assert.NoFileExists(t, s.hostPath(fcdFile(o)))

	require.NoError(t, s.Kill())
	require.NoError(t, s.Restart(ctx))
	s.login()
	again, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	assert.Equal(t, vm.Disks, again.Disks)
}

func TestStorageMotionIsRefused(t *testing.T) {
	s := start(t, control.Options{VMs: 1, PinSnapshots: true, Capacity: 256 * mib})
	o := s.fcd("vol", 8) // on ds-1
	_, err := s.vslmWait(s.catalog().AttachDisk(t.Context(), o.Config.Id, s.vm("vm-0"), 0, nil))
	require.NoError(t, err)
	snap, err := s.vslmWait(s.catalog().CreateSnapshot(t.Context(), o.Config.Id, "kept"))
	require.NoError(t, err)
	err = s.relocate("vm-0", "ds-0")
	assert.True(t, fault.Is(err, &types.NotSupported{}), "%v", err)
	_, err = s.vslmWait(s.catalog().DeleteSnapshot(t.Context(), o.Config.Id, snap.(types.ID)))
	require.NoError(t, err)

	vm, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(vm.Disks[1].Path, make([]byte, 8*mib), 0o600))
	require.NoError(t, s.createDisk("[ds-0] full.vmdk", 250*mib, types.VirtualDiskTypePreallocated))
	err = s.relocate("vm-0", "ds-0")
	assert.True(t, fault.Is(err, &types.NoDiskSpace{}), "%v", err)
	again, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.Equal(t, vm.Disks[1].File, again.Disks[1].File)
}
