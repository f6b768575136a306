package control_test

import (
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

func TestUnits(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	for _, unit := range []int32{7, 64, -1, 0} {
		_, err := s.attach("vm-0", "[ds-0] vm-0/u.vmdk", unit, mib)
		assert.True(t, fault.Is(err, &types.InvalidDeviceSpec{}), "unit %d: %v", unit, err)
	}
	_, err := s.attach("vm-0", "[ds-0] vm-0/u.vmdk", 63, mib)
	require.NoError(t, err)
	add := func(bus int32) error {
		return s.reconfigure("vm-0", &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device: &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
				SharedBus:         types.VirtualSCSISharingNoSharing,
				VirtualController: types.VirtualController{BusNumber: bus, VirtualDevice: types.VirtualDevice{Key: -7}},
			}},
		})
	}
	for bus := int32(1); bus < 4; bus++ {
		require.NoError(t, add(bus))
	}
	assert.Error(t, add(4))
	assert.True(t, fault.Is(add(3), &types.TooManyDevices{}))
}

func TestLocks(t *testing.T) {
	s := start(t, control.Options{VMs: 2})
	m := object.NewVirtualDiskManager(s.vc)
	file := "[ds-1] d.vmdk"
	require.NoError(t, s.createDisk(file, mib, types.VirtualDiskTypeThin))
	disk, err := s.attach("vm-0", file, 1, 0)
	require.NoError(t, err)
	locked := func(err error) {
		t.Helper()
		assert.True(t, fault.Is(err, &types.FileLocked{}), "%v", err)
	}
	_, err = s.attach("vm-1", file, 1, 0)
	locked(err)
	_, err = s.attach("vm-0", file, 2, 0)
	locked(err)
	_, err = s.wait(m.DeleteVirtualDisk(t.Context(), file, s.dc))
	locked(err)
	_, err = s.wait(m.CopyVirtualDisk(t.Context(), file, s.dc, "[ds-1] e.vmdk", s.dc, nil, false))
	locked(err)
	_, err = s.wait(object.NewFileManager(s.vc).DeleteDatastoreFile(t.Context(), file, s.dc))
	locked(err)

	// A machine that is off has no locks, and cannot start into another's.
	require.NoError(t, s.Power(t.Context(), "vm-0", false))
	other, err := s.attach("vm-1", file, 1, 0)
	require.NoError(t, err)
	_, err = s.wait(s.vm("vm-0").PowerOn(t.Context()))
	locked(err)
	require.NoError(t, s.detach("vm-1", other, false))
	require.NoError(t, s.Power(t.Context(), "vm-0", true))
	require.NoError(t, s.detach("vm-0", disk, false))
}

func TestCopyMoveExtend(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	m := object.NewVirtualDiskManager(s.vc)
	file := "[ds-1] d.vmdk"
	require.NoError(t, s.createDisk(file, 4*mib, types.VirtualDiskTypeThin))
	f, err := os.OpenFile(s.hostPath(file), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("hello"), 2*mib)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	spec := &types.FileBackedVirtualDiskSpec{VirtualDiskSpec: types.VirtualDiskSpec{DiskType: string(types.VirtualDiskTypeEagerZeroedThick)}}
	_, err = s.wait(m.CopyVirtualDisk(t.Context(), file, s.dc, "[ds-0] copy.vmdk", s.dc, spec, false))
	require.NoError(t, err)
	a, err := os.ReadFile(s.hostPath(file))
	require.NoError(t, err)
	b, err := os.ReadFile(s.hostPath("[ds-0] copy.vmdk"))
	require.NoError(t, err)
	assert.Equal(t, a, b)
	ua, err := m.QueryVirtualDiskUuid(t.Context(), file, s.dc)
	require.NoError(t, err)
	ub, err := m.QueryVirtualDiskUuid(t.Context(), "[ds-0] copy.vmdk", s.dc)
	require.NoError(t, err)
	assert.NotEqual(t, ua, ub)

	_, err = s.wait(m.MoveVirtualDisk(t.Context(), file, s.dc, "[ds-1] moved.vmdk", s.dc, false))
	require.NoError(t, err)
	um, err := m.QueryVirtualDiskUuid(t.Context(), "[ds-1] moved.vmdk", s.dc)
	require.NoError(t, err)
	assert.Equal(t, ua, um)
	_, err = s.wait(m.ExtendVirtualDisk(t.Context(), "[ds-1] moved.vmdk", s.dc, 8<<10, nil))
	require.NoError(t, err)
	disk, err := s.attach("vm-0", "[ds-1] moved.vmdk", 1, 0)
	require.NoError(t, err)
	assert.EqualValues(t, 8*mib, disk.CapacityInBytes)
	disk.CapacityInBytes, disk.CapacityInKB = 16*mib, 16<<10
	require.NoError(t, s.reconfigure("vm-0", &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: disk}))
	st, err := os.Stat(s.hostPath("[ds-1] moved.vmdk"))
	require.NoError(t, err)
	assert.EqualValues(t, 16*mib, st.Size())
}

func TestSpace(t *testing.T) {
	s := start(t, control.Options{Capacity: 64 * mib})
	full := func(err error) {
		t.Helper()
		assert.True(t, fault.Is(err, &types.NoDiskSpace{}), "%v", err)
	}
	require.NoError(t, s.createDisk("[ds-0] thin.vmdk", 1<<40, types.VirtualDiskTypeThin))
	require.NoError(t, s.createDisk("[ds-0] a.vmdk", 40*mib, types.VirtualDiskTypeThick))
	full(s.createDisk("[ds-0] b.vmdk", 40*mib, types.VirtualDiskTypeEagerZeroedThick))
	assert.NoFileExists(t, s.hostPath("[ds-0] b.vmdk"))
	var ds mo.Datastore
	require.NoError(t, s.datastore("ds-0").Properties(t.Context(), s.datastore("ds-0").Reference(), []string{"summary"}, &ds))
	assert.EqualValues(t, 64*mib, ds.Summary.Capacity)
	assert.InDelta(t, 24*mib, ds.Summary.FreeSpace, mib)
	_, err := s.wait(object.NewVirtualDiskManager(s.vc).DeleteVirtualDisk(t.Context(), "[ds-0] a.vmdk", s.dc))
	require.NoError(t, err)
	require.NoError(t, s.createDisk("[ds-0] b.vmdk", 40*mib, types.VirtualDiskTypeThick))
}

func TestDatastoreStates(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	require.NoError(t, s.createDisk("[ds-1] d.vmdk", mib, types.VirtualDiskTypeThin))
	require.NoError(t, s.SetDatastore(t.Context(), "ds-1", "read-only"))
	assert.Error(t, s.createDisk("[ds-1] e.vmdk", mib, types.VirtualDiskTypeThin))
	_, err := s.attach("vm-0", "[ds-1] d.vmdk", 1, 0)
	assert.True(t, fault.Is(err, &types.CannotAccessFile{}), "%v", err)
	require.NoError(t, s.SetDatastore(t.Context(), "ds-1", "offline"))
	assert.True(t, fault.Is(s.createDisk("[ds-1] e.vmdk", mib, types.VirtualDiskTypeThin), &types.InaccessibleDatastore{}))
	var ds mo.Datastore
	require.NoError(t, s.datastore("ds-1").Properties(t.Context(), s.datastore("ds-1").Reference(), []string{"summary"}, &ds))
	assert.False(t, ds.Summary.Accessible)
	require.NoError(t, s.SetDatastore(t.Context(), "ds-1", "online"))
	_, err = s.attach("vm-0", "[ds-1] d.vmdk", 1, 0)
	require.NoError(t, err)
	assert.Error(t, s.SetDatastore(t.Context(), "ds-1", "sideways"))
}

func TestFilesOverHTTP(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ds := s.datastore("ds-1")
	put := func(path, body string) error {
		return ds.Upload(t.Context(), strings.NewReader(body), path, &soap.Upload{Method: http.MethodPut, ContentLength: int64(len(body))})
	}
	assert.Error(t, put("a/x.json", "1"), "the folder is not there")
	require.NoError(t, object.NewFileManager(s.vc).MakeDirectory(t.Context(), "[ds-1] a", s.dc, false))
	require.NoError(t, put("a/x.json", "one"))
	require.NoError(t, put("a/y.json", "two"))
	_, err := s.wait(object.NewFileManager(s.vc).MoveDatastoreFile(t.Context(), "[ds-1] a/y.json", s.dc, "[ds-1] a/x.json", s.dc, true))
	require.NoError(t, err)
	got := t.TempDir() + "/got"
	require.NoError(t, ds.DownloadFile(t.Context(), "a/x.json", got, nil))
	data, err := os.ReadFile(got)
	require.NoError(t, err)
	assert.Equal(t, "two", string(data))

	// Without a session there is nothing.
	anonymous := object.NewDatastore(s.client(), ds.Reference())
	anonymous.InventoryPath, anonymous.DatacenterPath = ds.InventoryPath, ds.DatacenterPath
	assert.ErrorContains(t, anonymous.DownloadFile(t.Context(), "a/x.json", t.TempDir()+"/got", nil), "401")

	disk, err := s.attach("vm-0", "[ds-1] a/d.vmdk", 1, mib)
	require.NoError(t, err)
	assert.ErrorContains(t, ds.DownloadFile(t.Context(), "a/d-flat.vmdk", t.TempDir()+"/got", nil), "500")
	require.NoError(t, s.detach("vm-0", disk, false))
	assert.NoError(t, ds.DownloadFile(t.Context(), "a/d-flat.vmdk", t.TempDir()+"/got", nil))
}

func TestOneTaskPerMachine(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var busy, done int
	for range 24 {
		wg.Go(func() {
			_, err := s.wait(s.vm("vm-0").Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
				ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.x", Value: "y"}},
			}))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case fault.Is(err, &types.TaskInProgress{}):
				busy++
			default:
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	assert.Positive(t, done)
	assert.Positive(t, busy)
}

func TestBrowse(t *testing.T) {
	s := start(t, control.Options{})
	require.NoError(t, s.createDisk("[ds-1] thin.vmdk", 4*mib, types.VirtualDiskTypeThin))
	require.NoError(t, s.createDisk("[ds-1] thick.vmdk", 4*mib, types.VirtualDiskTypeThick))
	b, err := s.datastore("ds-1").Browser(t.Context())
	require.NoError(t, err)
	task, err := b.SearchDatastoreSubFolders(t.Context(), "[ds-1]", &types.HostDatastoreBrowserSearchSpec{
		MatchPattern: []string{"*.vmdk"}, Details: &types.FileQueryFlags{FileSize: true},
		Query: []types.BaseFileQuery{&types.VmDiskFileQuery{Details: &types.VmDiskFileQueryFlags{CapacityKb: true, Thin: types.NewBool(true)}}},
	})
	res, err := s.wait(task, err)
	require.NoError(t, err)
	list := res.(types.ArrayOfHostDatastoreBrowserSearchResults).HostDatastoreBrowserSearchResults
	require.Len(t, list, 1)
	require.Len(t, list[0].File, 2)
	for _, f := range list[0].File {
		d := f.(*types.VmDiskFileInfo)
		assert.EqualValues(t, 4<<10, d.CapacityKb)
		assert.Equal(t, d.Path == "thin.vmdk", *d.Thin)
	}
}
