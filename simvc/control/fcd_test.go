package control_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/simvc/control"
)

func TestFirstClassDisks(t *testing.T) {
	s := start(t, control.Options{VMs: 2})
	cat := s.catalog()
	o := s.fcd("vol", 8, types.KeyValue{Key: "op", Value: "17"})
	st, err := os.Stat(s.hostPath(fcdFile(o)))
	require.NoError(t, err)
	assert.EqualValues(t, 8*mib, st.Size())

	_, err = s.vslmWait(cat.UpdateMetadata(t.Context(), o.Config.Id, []types.KeyValue{{Key: "op", Value: "18"}, {Key: "x", Value: "y"}}, nil))
	require.NoError(t, err)
	v, err := cat.RetrieveMetadataValue(t.Context(), o.Config.Id, nil, "op")
	require.NoError(t, err)
	assert.Equal(t, "18", v)

	res, err := cat.ListObjectsForSpec(t.Context(), []vslmtypes.VslmVsoVStorageObjectQuerySpec{
		{QueryField: "metadataValue", QueryOperator: "equals", QueryValue: []string{"18"}},
	}, 10)
	require.NoError(t, err)
	require.Len(t, res.Id, 1)
	assert.True(t, res.AllRecordsReturned)

	_, err = s.vslmWait(cat.AttachDisk(t.Context(), o.Config.Id, s.vm("vm-0"), 0, nil))
	require.NoError(t, err)
	vm, err := s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	require.Len(t, vm.Disks, 2)
	assert.Equal(t, o.Config.Id.Id, vm.Disks[1].FCD)
	assert.EqualValues(t, 1, vm.Disks[1].Unit)
	for _, name := range []string{"vm-0", "vm-1"} {
		_, err = s.vslmWait(cat.AttachDisk(t.Context(), o.Config.Id, s.vm(name), 0, nil))
		assert.True(t, fault.Is(err, &types.ResourceInUse{}), "%v", err)
	}
	_, err = s.attach("vm-1", fcdFile(o), 3, 0)
	assert.True(t, fault.Is(err, &types.ResourceInUse{}), "%v", err)
	_, err = s.vslmWait(cat.Delete(t.Context(), o.Config.Id))
	assert.True(t, fault.Is(err, &types.InvalidState{}), "%v", err)

	_, err = s.vslmWait(cat.ExtendDisk(t.Context(), o.Config.Id, 16))
	require.NoError(t, err)
	vm, err = s.VM(t.Context(), "vm-0")
	require.NoError(t, err)
	assert.EqualValues(t, 16*mib, vm.Disks[1].Capacity)

	// A disk that is to be kept outlives its machine, with its content.
	require.NoError(t, os.WriteFile(vm.Disks[1].Path, []byte("content"), 0o600))
	require.NoError(t, s.Power(t.Context(), "vm-0", false))
	_, err = s.wait(s.vm("vm-0").Destroy(t.Context()))
	require.NoError(t, err)
	assert.FileExists(t, vm.Disks[1].Path)
	assert.NoFileExists(t, vm.Disks[0].Path)
	got, err := cat.Retrieve(t.Context(), o.Config.Id)
	require.NoError(t, err)
	assert.Empty(t, got.Config.ConsumerId)

	_, err = s.vslmWait(cat.AttachDisk(t.Context(), o.Config.Id, s.vm("vm-1"), 1000, types.NewInt32(5)))
	require.NoError(t, err)
	require.NoError(t, s.vm("vm-1").DetachDisk(t.Context(), o.Config.Id.Id))
	_, err = s.vslmWait(cat.Delete(t.Context(), o.Config.Id))
	require.NoError(t, err)
	_, err = s.vslmWait(cat.Delete(t.Context(), o.Config.Id))
	assert.True(t, fault.Is(err, &types.NotFound{}), "%v", err)
}

func TestRegister(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	require.NoError(t, object.NewFileManager(s.vc).MakeDirectory(t.Context(), "[ds-1] a", s.dc, true))
	require.NoError(t, s.createDisk("[ds-1] a/b.vmdk", 8*mib, types.VirtualDiskTypeThin))
	url := s.datastore("ds-1").NewURL("a/b.vmdk").String()
	o, err := s.catalog().RegisterDisk(t.Context(), url, "adopted")
	require.NoError(t, err)
	assert.Equal(t, "[ds-1] a/b.vmdk", fcdFile(*o))
	assert.EqualValues(t, 8, o.Config.CapacityInMB)
	_, err = s.catalog().RegisterDisk(t.Context(), url, "again")
	assert.True(t, fault.Is(err, &types.AlreadyExists{}), "%v", err)
	_, err = s.wait(object.NewFileManager(s.vc).DeleteDatastoreFile(t.Context(), "[ds-1] a", s.dc))
	assert.True(t, fault.Is(err, &types.FileLocked{}), "%v", err)
}
