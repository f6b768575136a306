package control_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

// write is what a guest does: it writes to the running extent.
func (s *site) write(vm string, disk int, off int64, text string) {
	s.t.Helper()
	v, err := s.VM(s.t.Context(), vm)
	require.NoError(s.t, err)
	writeAt(s.t, v.Disks[disk].Path, off, text)
}

func writeAt(t *testing.T, path string, off int64, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(text), off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (s *site) read(file string, off int64, n int) string {
	s.t.Helper()
	data, err := os.ReadFile(s.hostPath(file))
	require.NoError(s.t, err)
	return string(bytes.Trim(data[off:off+int64(n)], "\x00"))
}

func (s *site) snapshot(vm, name string) types.ManagedObjectReference {
	s.t.Helper()
	ref, err := s.wait(s.vm(vm).CreateSnapshot(s.t.Context(), name, "", false, false))
	require.NoError(s.t, err)
	return ref.(types.ManagedObjectReference)
}

func (s *site) snapshotConfig(ref types.ManagedObjectReference) object.VirtualDeviceList {
	s.t.Helper()
	var m mo.VirtualMachineSnapshot
	require.NoError(s.t, object.NewCommon(s.vc, ref).Properties(s.t.Context(), ref, []string{"config"}, &m))
	return m.Config.Hardware.Device
}

func TestMachineSnapshots(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	s.write("vm-0", 0, 0, "one")
	first := s.snapshot("vm-0", "first")
	s.write("vm-0", 0, 0, "two")
	second := s.snapshot("vm-0", "second")
	s.write("vm-0", 0, 0, "three")

	disk := s.devices("vm-0").SelectByType((*types.VirtualDisk)(nil))[0].(*types.VirtualDisk)
	assert.Equal(t, "[ds-0] vm-0/vm-0-000002.vmdk", flat(disk).FileName)
	assert.Equal(t, "[ds-0] vm-0/vm-0-000001.vmdk", flat(disk).Parent.FileName)
	assert.Equal(t, "[ds-0] vm-0/vm-0.vmdk", flat(disk).Parent.Parent.FileName)
	for ref, want := range map[types.ManagedObjectReference]string{first: "one", second: "two"} {
		d := s.snapshotConfig(ref).FindByKey(disk.Key).(*types.VirtualDisk)
		assert.Equal(t, want, s.read(flat(d).FileName, 0, 8))
	}

	// A disk that a snapshot holds cannot go and cannot grow.
	grown := *disk
	grown.CapacityInBytes, grown.CapacityInKB = 128*mib, 128<<10
	err := s.reconfigure("vm-0", &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: &grown})
	assert.True(t, fault.Is(err, &types.InvalidDeviceSpec{}), "%v", err)
	assert.True(t, fault.Is(s.detach("vm-0", disk, false), &types.InvalidDeviceSpec{}))

	// The root goes first, with its child in place.
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "first"))
	d := s.snapshotConfig(second).FindByKey(disk.Key).(*types.VirtualDisk)
	assert.Equal(t, "[ds-0] vm-0/vm-0.vmdk", flat(d).FileName)
	assert.Equal(t, "two", s.read(flat(d).FileName, 0, 8))
	require.NoError(t, s.RevertVM(t.Context(), "vm-0", "second"))
	vm, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.Equal(t, "poweredOff", vm.Power)
	assert.Equal(t, "two", s.read(vm.Disks[0].File, 0, 8))
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "second"))
	vm, err = s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.Equal(t, "[ds-0] vm-0/vm-0.vmdk", vm.Disks[0].File)
	assert.Equal(t, "two", s.read(vm.Disks[0].File, 0, 8))
	var m mo.VirtualMachine
	require.NoError(t, s.vm("vm-0").Properties(t.Context(), s.vm("vm-0").Reference(), []string{"snapshot"}, &m))
	assert.Nil(t, m.Snapshot)
}

func TestRevertTakesSettingsAndDisksBack(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	set := func(value string) {
		_, err := s.wait(s.vm("vm-0").Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.key", Value: value}},
		}))
		require.NoError(t, err)
	}
	set("old")
	s.snapshot("vm-0", "a")
	set("new")
	_, err := s.attach("vm-0", "[ds-1] later.vmdk", 1, mib)
	require.NoError(t, err)
	require.NoError(t, s.RevertVM(t.Context(), "vm-0", "a"))
	vm, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.Len(t, vm.Disks, 1)
	var m mo.VirtualMachine
	require.NoError(t, s.vm("vm-0").Properties(t.Context(), s.vm("vm-0").Reference(), []string{"config.extraConfig"}, &m))
	var got any
	for _, o := range m.Config.ExtraConfig {
		if o.GetOptionValue().Key == "guestinfo.key" {
			got = o.GetOptionValue().Value
		}
	}
	assert.Equal(t, "old", got)
	_, err = s.wait(object.NewVirtualDiskManager(s.vc).DeleteVirtualDisk(t.Context(), "[ds-1] later.vmdk", s.dc))
	assert.NoError(t, err, "nobody has the disk any more")
}

func TestReaderOfASnapshot(t *testing.T) {
	s := start(t, control.Options{VMs: 2})
	s.write("vm-0", 0, 0, "frozen")
	ref := s.snapshot("vm-0", "a")
	s.write("vm-0", 0, 0, "later!")
	frozen := s.snapshotConfig(ref).FindByKey(2000).(*types.VirtualDisk)
	reader := *frozen
	backing := *flat(frozen)
	backing.Parent, backing.DiskMode = nil, string(types.VirtualDiskModeIndependent_nonpersistent)
	reader.Backing, reader.Key, reader.ControllerKey, reader.UnitNumber = &backing, -1, 1000, types.NewInt32(9)
	require.NoError(t, s.reconfigure("vm-1", &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: &reader}))
	vm, err := s.VM(t.Context(), "vm-1")
	require.NoError(t, err)
	assert.Equal(t, "frozen", s.read(vm.Disks[1].File, 0, 8))

	// While it is read the file stays, and says so.
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "a"))
	var m mo.VirtualMachine
	require.NoError(t, s.vm("vm-0").Properties(t.Context(), s.vm("vm-0").Reference(), []string{"runtime"}, &m))
	assert.True(t, m.Runtime.ConsolidationNeeded)
	for _, d := range s.devices("vm-1") {
		if disk, ok := d.(*types.VirtualDisk); ok && *disk.UnitNumber == 9 {
			require.NoError(t, s.detach("vm-1", disk, false))
		}
	}
	res, err := methods.ConsolidateVMDisks_Task(t.Context(), s.vc, &types.ConsolidateVMDisks_Task{This: s.vm("vm-0").Reference()})
	require.NoError(t, err)
	_, err = s.wait(object.NewTask(s.vc, res.Returnval), err)
	require.NoError(t, err)
	vm, err = s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.Equal(t, "[ds-0] vm-0/vm-0.vmdk", vm.Disks[0].File)
	assert.Equal(t, "later!", s.read(vm.Disks[0].File, 0, 8))
}

func TestSnapshotsOfFirstClassDisks(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	cat := s.catalog()
	o := s.fcd("vol", 8)
	id := o.Config.Id
	_, err := s.vslmWait(cat.AttachDisk(t.Context(), id, s.vm("vm-0"), 0, nil))
	require.NoError(t, err)
	s.write("vm-0", 1, 0, "one")
	snap, err := s.vslmWait(cat.CreateSnapshot(t.Context(), id, "first"))
	require.NoError(t, err)
	s.write("vm-0", 1, 0, "two")
	info, err := cat.RetrieveSnapshotInfo(t.Context(), id)
	require.NoError(t, err)
	require.Len(t, info, 1)
	assert.Equal(t, "first", info[0].Description)
	details, err := cat.RetrieveSnapshotDetails(t.Context(), id, snap.(types.ID))
	require.NoError(t, err)
	assert.Equal(t, "one", s.read(details.Path, 0, 8))

	copied, err := s.vslmWait(cat.CreateDiskFromSnapshot(t.Context(), id, snap.(types.ID), "copy", nil, nil, ""))
	require.NoError(t, err)
	assert.Equal(t, "one", s.read(fcdFile(copied.(types.VStorageObject)), 0, 8))
	_, err = s.vslmWait(cat.ExtendDisk(t.Context(), id, 16))
	assert.True(t, fault.Is(err, &types.InvalidState{}), "%v", err)
	_, err = s.vslmWait(cat.Revert(t.Context(), id, snap.(types.ID)))
	assert.True(t, fault.Is(err, &types.InvalidState{}), "a disk in use is not reverted: %v", err)

	// Its own snapshots do not keep a disk on a machine, the machine's do.
	require.NoError(t, s.Snapshot(t.Context(), "vm-0", "foreign"))
	assert.Error(t, s.vm("vm-0").DetachDisk(t.Context(), id.Id))
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "foreign"))
	require.NoError(t, s.vm("vm-0").DetachDisk(t.Context(), id.Id))
	_, err = s.vslmWait(cat.Revert(t.Context(), id, snap.(types.ID)))
	require.NoError(t, err)
	got, err := cat.Retrieve(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, "one", s.read(fcdFile(*got), 0, 8))
	_, err = s.vslmWait(cat.DeleteSnapshot(t.Context(), id, snap.(types.ID)))
	require.NoError(t, err)
	got, err = cat.Retrieve(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, fcdFile(o), fcdFile(*got))
}
