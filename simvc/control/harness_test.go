package control_test

import (
	"context"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/simvc/control"
)

// site is a simulator and a logged-in client.
type site struct {
	*control.Sim
	t  *testing.T
	vc *vim25.Client
	dc *object.Datacenter
}

func start(t *testing.T, o control.Options) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sim, err := control.Start(ctx, binary, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(sim.Log())
		}
		require.NoError(t, sim.Stop())
	})
	s := &site{Sim: sim, t: t}
	s.login()
	return s
}

func (s *site) client() *vim25.Client {
	u, err := url.Parse(s.URL)
	require.NoError(s.t, err)
	sc := soap.NewClient(u, false)
	require.NoError(s.t, sc.SetRootCAs(s.CAFile))
	vc, err := vim25.NewClient(s.t.Context(), sc)
	require.NoError(s.t, err)
	return vc
}

func (s *site) login() {
	s.vc = s.client()
	require.NoError(s.t, session.NewManager(s.vc).Login(s.t.Context(), url.UserPassword(s.User, s.Password)))
	dc, err := find.NewFinder(s.vc).DefaultDatacenter(s.t.Context())
	require.NoError(s.t, err)
	s.dc = dc
}

func (s *site) vm(name string) *object.VirtualMachine {
	v, err := s.VM(s.t.Context(), name)
	require.NoError(s.t, err)
	return object.NewVirtualMachine(s.vc, types.ManagedObjectReference{Type: "VirtualMachine", Value: v.Moref})
}

func (s *site) devices(name string) object.VirtualDeviceList {
	var m mo.VirtualMachine
	require.NoError(s.t, s.vm(name).Properties(s.t.Context(), s.vm(name).Reference(), []string{"config.hardware.device"}, &m))
	return m.Config.Hardware.Device
}

// wait runs a task to its end.
func (s *site) wait(t *object.Task, err error) (types.AnyType, error) {
	s.t.Helper()
	if err != nil {
		return nil, err
	}
	info, err := t.WaitForResult(s.t.Context(), nil)
	if err != nil {
		return nil, err
	}
	return info.Result, nil
}

func (s *site) createDisk(name string, size int64, kind types.VirtualDiskType) error {
	_, err := s.wait(object.NewVirtualDiskManager(s.vc).CreateVirtualDisk(s.t.Context(), name, s.dc, &types.FileBackedVirtualDiskSpec{
		VirtualDiskSpec: types.VirtualDiskSpec{DiskType: string(kind), AdapterType: string(types.VirtualDiskAdapterTypeLsiLogic)},
		CapacityKb:      size >> 10,
	}))
	return err
}

// attach plugs a disk into a VM on its first controller.
func (s *site) attach(vm, file string, unit int32, create int64) (*types.VirtualDisk, error) {
	spec := &types.VirtualDeviceConfigSpec{
		Operation: types.VirtualDeviceConfigSpecOperationAdd,
		Device: &types.VirtualDisk{
			VirtualDevice: types.VirtualDevice{
				Key: -1, ControllerKey: 1000, UnitNumber: &unit,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: file},
					DiskMode:                     string(types.VirtualDiskModePersistent),
					ThinProvisioned:              types.NewBool(true),
				},
			},
			CapacityInBytes: create, CapacityInKB: create >> 10,
		},
	}
	if create > 0 {
		spec.FileOperation = types.VirtualDeviceConfigSpecFileOperationCreate
	}
	if err := s.reconfigure(vm, spec); err != nil {
		return nil, err
	}
	for _, d := range s.devices(vm) {
		if disk, ok := d.(*types.VirtualDisk); ok && *disk.UnitNumber == unit && disk.ControllerKey == 1000 {
			return disk, nil
		}
	}
	s.t.Fatal("the disk is not on the machine")
	return nil, nil
}

func (s *site) detach(vm string, d *types.VirtualDisk, destroy bool) error {
	spec := &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: d}
	if destroy {
		spec.FileOperation = types.VirtualDeviceConfigSpecFileOperationDestroy
	}
	return s.reconfigure(vm, spec)
}

func (s *site) reconfigure(vm string, specs ...types.BaseVirtualDeviceConfigSpec) error {
	_, err := s.wait(s.vm(vm).Reconfigure(s.t.Context(), types.VirtualMachineConfigSpec{DeviceChange: specs}))
	return err
}

func (s *site) catalog() *vslm.GlobalObjectManager {
	c, err := vslm.NewClient(s.t.Context(), s.vc)
	require.NoError(s.t, err)
	return vslm.NewGlobalObjectManager(c)
}

func (s *site) vslmWait(t *vslm.Task, err error) (types.AnyType, error) {
	s.t.Helper()
	if err != nil {
		return nil, err
	}
	for {
		info, err := t.QueryInfo(s.t.Context())
		if err != nil {
			return nil, err
		}
		switch info.State {
		case vslmtypes.VslmTaskInfoStateSuccess:
			return info.Result, nil
		case vslmtypes.VslmTaskInfoStateError:
			return nil, task.Error{LocalizedMethodFault: info.Error}
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *site) datastore(name string) *object.Datastore {
	ds, err := find.NewFinder(s.vc).SetDatacenter(s.dc).Datastore(s.t.Context(), name)
	require.NoError(s.t, err)
	return ds
}

// fcd makes a first-class disk.
func (s *site) fcd(name string, mb int64, meta ...types.KeyValue) types.VStorageObject {
	s.t.Helper()
	res, err := s.vslmWait(s.catalog().CreateDisk(s.t.Context(), types.VslmCreateSpec{
		Name: name, CapacityInMB: mb, KeepAfterDeleteVm: types.NewBool(true), Metadata: meta,
		BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
			VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: s.datastore("ds-1").Reference()},
			ProvisioningType:          string(types.BaseConfigInfoDiskFileBackingInfoProvisioningTypeThin),
		},
	}))
	require.NoError(s.t, err)
	return res.(types.VStorageObject)
}

func fcdFile(o types.VStorageObject) string {
	return o.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo).FilePath
}

// hostPath is where the running extent of a file is on the host.
func (s *site) hostPath(file string) string {
	var p object.DatastorePath
	require.True(s.t, p.FromString(file))
	return filepath.Join(s.Dir, p.Datastore, strings.TrimSuffix(p.Path, ".vmdk")+"-flat.vmdk")
}

func (s *site) finder() *find.Finder { return find.NewFinder(s.vc).SetDatacenter(s.dc) }
