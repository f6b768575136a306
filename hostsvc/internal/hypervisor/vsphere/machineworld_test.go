package vsphere

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// ofTheSuite is the annotation of VMs that tests have made, and their copies.
const ofTheSuite = "contract suite of Mooring"

// hollow is a machine with disks that read as zeros.
func hollow(t *testing.T, datastore string, sizes ...volspec.Size) hypervisor.MachineBuild {
	t.Helper()
	c := machineConfig{
		Format: configFormat, Datastore: datastore, Hardware: "vmx-19", Guest: "otherLinux64Guest", CPUs: 1, MemoryMB: 512,
		Controllers: []controllerConfig{{Key: 1000, Kind: "pvscsi"}}, Settings: map[string]string{enableUUID: "TRUE"}, Annotation: ofTheSuite,
	}
	var b hypervisor.MachineBuild
	for i, size := range sizes {
		key := strconv.Itoa(2000 + i)
		c.Disks = append(c.Disks, diskConfig{Key: key, Label: "Hard disk " + strconv.Itoa(i+1), Size: size, Datastore: datastore, Format: volspec.Thin, Controller: 1000, Unit: int32(i)}) //nolint:gosec // few
		b.Disks = append(b.Disks, hypervisor.MachineDisk{Key: key, Size: size, Datastore: datastore})
	}
	data, err := json.Marshal(c)
	require.NoError(t, err)
	b.Config = data
	return b
}

// addMachine makes a VM that is off.
func addMachine(t *testing.T, v *VSphere, name, datastore string, sizes ...volspec.Size) volspec.VMID {
	t.Helper()
	b := hollow(t, datastore, sizes...)
	b.Name = name
	id, err := v.BuildMachine(t.Context(), b, func(context.Context, string, image.Target) error { return nil })
	require.NoError(t, err)
	return id
}

// addDisk gives a VM a new disk.
func addDisk(t *testing.T, v *VSphere, name, datastore string, unit int32, size volspec.Size, change func(*types.VirtualDiskFlatVer2BackingInfo)) {
	t.Helper()
	b := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[" + datastore + "]"},
		DiskMode:                     writableMode, ThinProvisioned: types.NewBool(true),
	}
	change(b)
	reconfigure(t, v, name, func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
			Device: &types.VirtualDisk{
				VirtualDevice:   types.VirtualDevice{Key: -1, ControllerKey: 1000, UnitNumber: &unit, Backing: b},
				CapacityInBytes: int64(size), CapacityInKB: int64(size) >> 10,
			},
		}}})
	})
}

// addThree makes a VM with two disks and one that snapshots leave out.
func addThree(t *testing.T, v *VSphere, name, datastore string) volspec.VMID {
	t.Helper()
	id := addMachine(t, v, name, datastore, 16*volspec.MiB, 16*volspec.MiB)
	addDisk(t, v, name, datastore, 2, 16*volspec.MiB, func(b *types.VirtualDiskFlatVer2BackingInfo) {
		b.DiskMode = string(types.VirtualDiskModeIndependent_persistent)
	})
	return id
}

// set changes a setting of a VM. One that begins with SET. changes a property of
// the simulated VM.
func set(t *testing.T, v *VSphere, name, key, value string) {
	t.Helper()
	reconfigure(t, v, name, func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}}})
	})
}

// machines is hypervisortest.WholeMachines on a simulated vCenter.
type machines struct {
	s *site
	v *VSphere
}

func (m machines) Add(t *testing.T, name string) volspec.VMID {
	t.Helper()
	id := addThree(t, m.v, name, "ds-0")
	require.NoError(t, m.s.sim.Power(t.Context(), name, true))
	m.tools(t, name, types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)
	return id
}

func (m machines) tools(t *testing.T, name string, state types.VirtualMachineToolsRunningStatus) {
	t.Helper()
	set(t, m.v, name, "SET.guest.toolsRunningStatus", string(state))
}

// path is the file on this machine in which the VM's disk is now.
func (m machines) path(t *testing.T, vm volspec.VMID, key string) string {
	t.Helper()
	found, err := m.s.sim.VM(t.Context(), string(vm))
	require.NoError(t, err)
	for _, d := range found.Disks {
		if strconv.Itoa(int(d.Key)) == key {
			return d.Path
		}
	}
	require.Fail(t, "the VM has no such disk", key)
	return ""
}

func (m machines) Write(t *testing.T, vm volspec.VMID, key string, off int64, data []byte) {
	t.Helper()
	f, err := os.OpenFile(m.path(t, vm, key), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(data, off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func (m machines) Read(t *testing.T, vm volspec.VMID, key string, off int64, n int) []byte {
	t.Helper()
	f, err := os.Open(m.path(t, vm, key))
	require.NoError(t, err)
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

func (m machines) LoseTrack(t *testing.T, vm volspec.VMID, _ string) {
	t.Helper()
	require.NoError(t, m.s.sim.ResetCBT(t.Context(), string(vm)))
}

func (m machines) Foreign(t *testing.T, vm volspec.VMID, name string) {
	t.Helper()
	require.NoError(t, m.s.sim.Snapshot(t.Context(), string(vm), name))
}

// clear removes all VMs but those that the site began with, and the transporter.
func (s *site) clear(ctx context.Context, t *testing.T) {
	t.Helper()
	all, err := s.sim.VMs(ctx)
	require.NoError(t, err)
	for _, m := range all {
		if m.Name != "vm-0" && m.Name != "vm-1" && m.Name != s.transporter {
			require.NoError(t, s.sim.RemoveVM(ctx, m.InstanceUUID))
		}
	}
}
