package control_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/vmdk"
	"mooring.dev/mooring/simvc/control"
)

func TestExportAndImport(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	s.write("vm-0", 0, 5*mib, "frozen")
	ref := s.snapshot("vm-0", "a")
	s.write("vm-0", 0, 5*mib, "later!")
	res, err := methods.ExportSnapshot(ctx, s.vc, &types.ExportSnapshot{This: ref})
	require.NoError(t, err)
	lease := nfc.NewLease(s.vc, res.Returnval)
	info, err := lease.Wait(ctx, nil)
	require.NoError(t, err)
	require.Len(t, info.Items, 1)
	body, _, err := s.vc.Download(ctx, info.Items[0].URL, &soap.Download{Method: "GET"})
	require.NoError(t, err)
	stream, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	disk := make([]byte, 64*mib)
	size, err := vmdk.Decode(bytes.NewReader(stream), func(off int64, p []byte) error {
		copy(disk[off:], p)
		return nil
	})
	require.NoError(t, err)
	assert.EqualValues(t, 64*mib, size)
	assert.Equal(t, "frozen", string(disk[5*mib:5*mib+6]))
	manifest, err := lease.GetManifest(ctx)
	require.NoError(t, err)
	require.Len(t, manifest, 1)
	sum := sha1.Sum(stream)
	assert.Equal(t, hex.EncodeToString(sum[:]), manifest[0].Sha1)
	assert.EqualValues(t, len(stream), manifest[0].Size)

	_, err = s.vm("vm-0").PowerOff(ctx)
	assert.True(t, fault.Is(err, &types.TaskInProgress{}), "a lease blocks: %v", err)
	require.NoError(t, lease.Progress(ctx, 100))
	require.NoError(t, lease.Complete(ctx))
	_, _, err = s.vc.Download(ctx, info.Items[0].URL, &soap.Download{Method: "GET"})
	assert.ErrorContains(t, err, "404")

	importVM := func(name string) (*nfc.Lease, *nfc.LeaseInfo) {
		unit := int32(0)
		pool, err := s.pool().ImportVApp(ctx, &types.VirtualMachineImportSpec{ConfigSpec: types.VirtualMachineConfigSpec{
			Name: name, GuestId: "otherLinux64Guest", NumCPUs: 1, MemoryMB: 512,
			Files: &types.VirtualMachineFileInfo{VmPathName: "[ds-1]"},
			DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: &types.ParaVirtualSCSIController{
					VirtualSCSIController: types.VirtualSCSIController{
						SharedBus: types.VirtualSCSISharingNoSharing, VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: -1}},
					},
				}},
				&types.VirtualDeviceConfigSpec{
					Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
					Device: &types.VirtualDisk{
						VirtualDevice: types.VirtualDevice{Key: -2, ControllerKey: -1, UnitNumber: &unit, Backing: &types.VirtualDiskFlatVer2BackingInfo{
							ThinProvisioned: types.NewBool(true),
						}},
						CapacityInBytes: 64 * mib, CapacityInKB: 64 << 10,
					},
				},
			},
		}}, nil, nil)
		require.NoError(t, err)
		info, err := pool.Wait(ctx, nil)
		require.NoError(t, err)
		require.Len(t, info.DeviceUrl, 1)
		assert.Equal(t, fmt.Sprintf("/%s/ParaVirtualSCSIController0:0", name), info.DeviceUrl[0].ImportKey)
		return pool, info
	}
	in, there := importVM("restored")
	u, err := s.vc.ParseURL(there.DeviceUrl[0].Url)
	require.NoError(t, err)
	put := func(data []byte) error {
		u, err := s.vc.ParseURL(there.DeviceUrl[0].Url)
		require.NoError(t, err)
		return s.vc.Upload(ctx, bytes.NewReader(data), u, &soap.Upload{
			Method: "POST", Type: "application/x-vnd.vmware-streamVmdk", ContentLength: int64(len(data)),
		})
	}
	assert.Error(t, put(stream[:len(stream)/2]), "half a stream is none")
	require.NoError(t, put(stream), u)
	require.NoError(t, in.Complete(ctx))
	vm, err := s.VM(ctx, "restored")
	require.NoError(t, err)
	assert.Equal(t, "poweredOff", vm.Power)
	assert.Equal(t, "frozen", s.read(vm.Disks[0].File, 5*mib, 8))
	require.NoError(t, s.Power(ctx, "restored", true))

	given, _ := importVM("given-up")
	require.NoError(t, given.Abort(ctx, nil))
	_, err = s.VM(ctx, "given-up")
	assert.Error(t, err)
}

func (s *site) pool() *object.ResourcePool {
	p, err := s.finder().DefaultResourcePool(s.t.Context())
	require.NoError(s.t, err)
	return p
}
