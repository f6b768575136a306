package control_test

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

const mib = 1 << 20

func flat(disk *types.VirtualDisk) *types.VirtualDiskFlatVer2BackingInfo {
	return disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
}

func TestLogin(t *testing.T) {
	s := start(t, control.Options{})
	err := session.NewManager(s.client()).Login(t.Context(), url.UserPassword(s.User, "wrong"))
	assert.True(t, fault.Is(err, &types.InvalidLogin{}), "%v", err)
	assert.Equal(t, "VirtualCenter", s.vc.ServiceContent.About.ApiType)
}

func TestMachines(t *testing.T) {
	s := start(t, control.Options{VMs: 3, Hosts: 2})
	vms, err := s.VMs(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 3)
	assert.Equal(t, vms[0].Host, vms[2].Host)
	assert.NotEqual(t, vms[0].Host, vms[1].Host)
	for _, vm := range vms {
		assert.Equal(t, "poweredOn", vm.Power)
		require.Len(t, vm.Disks, 1)
		d := vm.Disks[0]
		assert.Equal(t, "ds-0", d.Datastore)
		st, err := os.Stat(d.Path)
		require.NoError(t, err)
		assert.EqualValues(t, 64*mib, st.Size())
		assert.EqualValues(t, 64*mib, d.Capacity)
		assert.True(t, strings.HasPrefix(d.UUID, "6000C29"), d.UUID)
	}
	require.NoError(t, s.Power(t.Context(), "vm-1", false))
	require.NoError(t, s.Power(t.Context(), "vm-1", false))
	vm, err := s.VM(t.Context(), "vm-1")
	require.NoError(t, err)
	assert.Equal(t, "poweredOff", vm.Power)
	_, err = s.VM(t.Context(), "vm-9")
	assert.ErrorContains(t, err, `there is no vm "vm-9"`)
}

func TestDisks(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	file := "[ds-1] a/b.vmdk"
	assert.True(t, fault.Is(s.createDisk(file, 8*mib, types.VirtualDiskTypeThin), &types.FileNotFound{}))
	require.NoError(t, object.NewFileManager(s.vc).MakeDirectory(t.Context(), "[ds-1] a", s.dc, true))
	require.NoError(t, s.createDisk(file, 8*mib, types.VirtualDiskTypeThin))
	assert.True(t, fault.Is(s.createDisk(file, 8*mib, types.VirtualDiskTypeThin), &types.FileAlreadyExists{}))
	st, err := os.Stat(filepath.Join(s.Dir, "ds-1/a/b-flat.vmdk"))
	require.NoError(t, err)
	assert.EqualValues(t, 8*mib, st.Size())

	m := object.NewVirtualDiskManager(s.vc)
	require.NoError(t, m.SetVirtualDiskUuid(t.Context(), file, s.dc, "60 00 c2 90 01 02 03 04-05 06 07 08 09 0a 0b 0c"))
	disk, err := s.attach("vm-0", file, 1, 0)
	require.NoError(t, err)
	assert.EqualValues(t, 8*mib, disk.CapacityInBytes)
	assert.Equal(t, "6000C290-0102-0304-0506-0708090a0b0c", flat(disk).Uuid)
	vm, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	require.Len(t, vm.Disks, 2)
	assert.Equal(t, filepath.Join(s.Dir, "ds-1/a/b-flat.vmdk"), vm.Disks[1].Path)

	require.NoError(t, s.detach("vm-0", disk, true))
	assert.NoFileExists(t, filepath.Join(s.Dir, "ds-1/a/b-flat.vmdk"))
	disk, err = s.attach("vm-0", file, 1, 16*mib)
	require.NoError(t, err)
	assert.EqualValues(t, 16*mib, disk.CapacityInBytes)
	first := flat(disk).Uuid
	require.NoError(t, s.detach("vm-0", disk, true))
	disk, err = s.attach("vm-0", file, 1, 16*mib)
	require.NoError(t, err)
	assert.NotEqual(t, first, flat(disk).Uuid, "a new disk under an old name is another disk")
}

func TestHostWithoutVCenter(t *testing.T) {
	s := start(t, control.Options{VMs: 1, ESX: true})
	assert.Equal(t, "HostAgent", s.vc.ServiceContent.About.ApiType)
	require.NoError(t, s.createDisk("[ds-1] d.vmdk", mib, types.VirtualDiskTypeThin))
	disk, err := s.attach("vm-0", "[ds-1] d.vmdk", 1, 0)
	require.NoError(t, err)
	s.write("vm-0", 1, 0, "one")
	ref := s.snapshot("vm-0", "a")
	s.write("vm-0", 1, 0, "two")
	frozen := s.snapshotConfig(ref).FindByKey(disk.Key).(*types.VirtualDisk)
	assert.Equal(t, "one", s.read(flat(frozen).FileName, 0, 8))
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "a"))
	require.NoError(t, s.detach("vm-0", disk, true))
	before, err := s.VMs(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Restart(t.Context()))
	after, err := s.VMs(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}
