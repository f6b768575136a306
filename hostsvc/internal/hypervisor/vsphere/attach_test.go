package vsphere

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

const testGroup volspec.VMGroupID = "d0000000-0000-4000-8000-000000000001"

// newDisk makes a disk of 16 MiB on ds-0.
func newDisk(t *testing.T, v *VSphere) hypervisor.Ref {
	t.Helper()
	r := hypervisor.Ref{Datastore: "ds-0", Group: testGroup, Volume: volspec.VolumeID(uuid.NewString())}
	require.NoError(t, v.Create(t.Context(), r, 16*volspec.MiB, volspec.Thin))
	return r
}

// reconfigure changes a VM as an administrator does.
func reconfigure(t *testing.T, v *VSphere, name string, start func(context.Context, *object.VirtualMachine) (*object.Task, error)) {
	t.Helper()
	all, err := v.inv.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range all {
		if m.Name != name {
			continue
		}
		_, err := v.c.Task(t.Context(), "a test", func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
			task, err := start(ctx, object.NewVirtualMachine(vc, m.Ref))
			if err != nil {
				return types.ManagedObjectReference{}, err
			}
			return task.Reference(), nil
		})
		require.NoError(t, err)
		return
	}
	require.Fail(t, "no VM", name)
}

func requireKind(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	require.Equal(t, want, errkind.Of(err), "%v", err)
}

func TestADiskPinnedByASnapshot(t *testing.T) {
	for _, kind := range []string{FCD, VMDK} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t, kind, control.Options{})
			v, ctx := s.open(t), t.Context()
			vm := s.vm(t, v, "vm-0")
			r, free := newDisk(t, v), newDisk(t, v)
			dev, err := v.Attach(ctx, vm.ID, r, false)
			require.NoError(t, err)
			reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
				return m.CreateSnapshot(ctx, "nightly of somebody", "", false, false)
			})
			_, err = v.Attach(ctx, vm.ID, free, false)
			require.NoError(t, err, "another disk is no matter of the snapshot")
			all, err := v.Attached(ctx)
			require.NoError(t, err)
			assert.Contains(t, all, dev, "it runs on another file now and is the same disk")

			for _, take := range []func(context.Context, volspec.VMID, hypervisor.Ref) error{v.Detach, v.Fence} {
				err = take(ctx, vm.ID, r)
				requireKind(t, errkind.InUse, err)
				assert.Contains(t, errkind.Text(err), "nightly of somebody")
				assert.Contains(t, errkind.Text(err), "vm-0")
				assert.Contains(t, errkind.Text(err), "delete")
			}
			require.NoError(t, v.Detach(ctx, vm.ID, free))
			again, err := v.Attach(ctx, vm.ID, r, false)
			require.NoError(t, err)
			assert.Equal(t, dev, again)

			reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
				consolidate := true
				return m.RemoveAllSnapshot(ctx, &consolidate)
			})
			require.NoError(t, v.Detach(ctx, vm.ID, r))
		})
	}
}

func TestAVMThatHidesTheSerialsOfItsDisks(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	v, ctx := s.open(t), t.Context()
	vm, r := s.vm(t, v, "vm-0"), newDisk(t, v)
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: enableUUID, Value: ""}}})
	})
	for range 2 {
		_, err := v.Attach(ctx, vm.ID, r, false)
		requireKind(t, errkind.Unavailable, err)
		assert.Contains(t, errkind.Text(err), "vm-0")
		assert.Contains(t, errkind.Text(err), "power it on", "until then it has no effect")
	}
	require.NoError(t, s.sim.Power(ctx, "vm-0", false))
	require.NoError(t, s.sim.Power(ctx, "vm-0", true))
	_, err := v.Attach(ctx, vm.ID, r, false)
	require.NoError(t, err)
}

// A VM is filled to the last slot: the 7th is never used, controllers are made
// when they are needed, and the refusal says what to do.
func TestAFullVM(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	v, ctx := s.open(t), t.Context()
	vm := s.vm(t, v, "vm-0")
	m, err := v.inv.VM(ctx, string(vm.ID))
	require.NoError(t, err)
	now, err := v.now(ctx, "a test", m)
	require.NoError(t, err)
	// Somebody fills the first controller but for two places, and others of the
	// same kind, and leaves the last bus without one.
	spec := types.VirtualMachineConfigSpec{}
	add := func(d types.BaseVirtualDevice, create types.VirtualDeviceConfigSpecFileOperation) {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: create, Device: d})
	}
	fill := func(controller, first int32, leave ...int32) {
		for unit := first; unit < 64; unit++ {
			if unit != 7 && !slices.Contains(leave, unit) {
				add(&types.VirtualDisk{CapacityInBytes: 1 << 20, VirtualDevice: types.VirtualDevice{
					Key: -1 - int32(len(spec.DeviceChange)), ControllerKey: controller, UnitNumber: &unit,
					Backing: &types.VirtualDiskFlatVer2BackingInfo{DiskMode: writableMode, VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[ds-0]"}},
				}}, types.VirtualDeviceConfigSpecFileOperationCreate)
			}
		}
	}
	first := now.controllers()[0]
	fill(first.Key, 1, 6, 63)
	for bus := int32(1); bus < 3; bus++ {
		key := -500 - bus
		add(&types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{SharedBus: types.VirtualSCSISharingNoSharing, VirtualController: types.VirtualController{BusNumber: bus, VirtualDevice: types.VirtualDevice{Key: key}}}}, "")
		fill(key, 0)
	}
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, spec)
	})

	var refs []hypervisor.Ref
	for range 4 { // 0:6, 0:63, 3:0, 3:1
		refs = append(refs, newDisk(t, v))
		_, err := v.Attach(ctx, vm.ID, refs[len(refs)-1], false)
		require.NoError(t, err)
	}
	there, err := s.sim.VM(ctx, "vm-0")
	require.NoError(t, err)
	places := map[[2]int32]bool{}
	for _, d := range there.Disks {
		places[[2]int32{d.Controller, d.Unit}] = true
		assert.NotEqual(t, int32(7), d.Unit)
	}
	assert.Len(t, places, len(there.Disks))
	for _, p := range [][2]int32{{0, 6}, {0, 63}, {3, 0}, {3, 1}} {
		assert.True(t, places[p], "%v", p)
	}

	spec = types.VirtualMachineConfigSpec{}
	var last int32
	now, err = v.now(ctx, "a test", m)
	require.NoError(t, err)
	for _, c := range now.controllers() {
		if c.Bus == 3 {
			last = c.Key
		}
	}
	fill(last, 2)
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, spec)
	})
	over := newDisk(t, v)
	_, err = v.Attach(ctx, vm.ID, over, false)
	requireKind(t, errkind.Quota, err)
	assert.Contains(t, errkind.Text(err), "detach another disk first")
	require.NoError(t, v.Detach(ctx, vm.ID, refs[1]))
	_, err = v.Attach(ctx, vm.ID, over, false)
	require.NoError(t, err, "the hole is filled")
}

func TestSuspendedAndDisconnectedVMs(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	v, ctx := s.open(t), t.Context()
	vm, r := s.vm(t, v, "vm-0"), newDisk(t, v)
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) { return m.Suspend(ctx) })
	got, err := v.VM(ctx, vm.ID)
	require.NoError(t, err)
	assert.Equal(t, hypervisor.Unknown, got.Power, "its filesystems are mounted, although it does not run")
	_, err = v.Attach(ctx, vm.ID, r, false)
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, errkind.Text(err), "suspended")
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) { return m.PowerOn(ctx) })

	dev, err := v.Attach(ctx, vm.ID, r, false)
	require.NoError(t, err)
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "SET.runtime.connectionState", Value: "disconnected"}}})
	})
	got, err = v.VM(ctx, vm.ID)
	require.NoError(t, err)
	assert.Equal(t, hypervisor.Unknown, got.Power, "nobody knows what it does")
	all, err := v.Attached(ctx)
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
	_, err = v.Attach(ctx, s.vm(t, v, "vm-1").ID, r, false)
	requireKind(t, errkind.InUse, err)
}

// A VM that moves to another host is the same VM; a clone is another.
func TestVMsKeepTheirIdentity(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	v, ctx := s.open(t), t.Context()
	vm, r := s.vm(t, v, "vm-0"), newDisk(t, v)
	dev, err := v.Attach(ctx, vm.ID, r, false)
	require.NoError(t, err)
	hosts, err := v.Hosts(ctx)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(hosts), 2)
	m, err := v.inv.VM(ctx, string(vm.ID))
	require.NoError(t, err)
	to := hosts[0].Ref
	if to == m.Host {
		to = hosts[1].Ref
	}
	reconfigure(t, v, "vm-0", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Relocate(ctx, types.VirtualMachineRelocateSpec{Host: &to}, types.VirtualMachineMovePriorityDefaultPriority)
	})
	moved, err := v.inv.VM(ctx, string(vm.ID))
	require.NoError(t, err)
	assert.Equal(t, to, moved.Host)
	after, err := v.VM(ctx, vm.ID)
	require.NoError(t, err)
	assert.Equal(t, vm, after)
	all, err := v.Attached(ctx)
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
}

func TestPrivilegesAreAskedFor(t *testing.T) {
	for _, esx := range []bool{false, true} {
		s := newSite(t, VMDK, control.Options{ESX: esx})
		lacking, err := s.open(t).CheckPrivileges(t.Context())
		require.NoError(t, err)
		assert.Empty(t, lacking, "the administrator has all")
	}
}

func TestPrivilegesAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../../docs/vsphere.md")
	require.NoError(t, err)
	assert.Equal(t, len(Privileges), strings.Count(string(doc), "\n| `"))
	seen := map[string]bool{}
	for _, p := range Privileges {
		assert.Contains(t, string(doc), "| `"+p.ID+"` | "+string(p.Scope)+" |")
		assert.False(t, seen[p.ID], p.ID)
		seen[p.ID] = true
		assert.NotEmpty(t, p.For)
		assert.Contains(t, []Scope{OnRoot, OnDatastores, OnObjects, OnVMs, OnFolder, OnPools, OnNetworks}, p.Scope)
	}
}
