package vsphere

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
)

// TestContractOnARealVCenter is the contract suite on the vCenter that the
// environment names, as docs/vsphere.md says. It uses nothing but the folder of
// volumes on two datastores and the devices and power of two VMs, which are
// for nothing else.
func TestContractOnARealVCenter(t *testing.T) {
	if os.Getenv("MOORING_VSPHERE_URL") == "" {
		t.Skip("MOORING_VSPHERE_URL names no vCenter")
	}
	password := func() (string, error) {
		b, err := os.ReadFile(os.Getenv("MOORING_VSPHERE_PASSWORD_FILE"))
		return strings.TrimSpace(string(b)), err
	}
	r := real{
		vms: strings.Split(os.Getenv("MOORING_VSPHERE_VMS"), ","),
		o: Options{
			Options: vcenter.Options{
				URL: os.Getenv("MOORING_VSPHERE_URL"), User: os.Getenv("MOORING_VSPHERE_USER"), Password: password,
				Thumbprint: os.Getenv("MOORING_VSPHERE_THUMBPRINT"), UserAgent: "mooring",
			},
			Datastores: strings.Split(os.Getenv("MOORING_VSPHERE_DATASTORES"), ","), Scratch: t.TempDir(),
		},
	}
	require.Len(t, r.vms, 2, "MOORING_VSPHERE_VMS is two names")
	require.Len(t, r.o.Datastores, 2, "MOORING_VSPHERE_DATASTORES is two names")
	for _, disk := range []string{FCD, VMDK} {
		r.o.Disk = disk
		t.Run(disk, func(t *testing.T) { hypervisortest.Run(t, r.fixture) })
	}
}

// real is a vCenter that is none of ours.
type real struct {
	o   Options
	vms []string
}

func (r real) open(t *testing.T) *VSphere {
	t.Helper()
	v, err := New(r.o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close(context.WithoutCancel(t.Context())) })
	return v
}

func (r real) fixture(t *testing.T) hypervisortest.Fixture {
	v := r.open(t)
	t.Cleanup(func() { r.clean(t) })
	f := hypervisortest.Fixture{
		Hypervisor: v, Datastore: r.o.Datastores[0], Other: r.o.Datastores[1], Blind: true, Guest: unreachable{t},
		Reopen: func(t *testing.T) hypervisor.Hypervisor { return r.open(t) },
		Corrupt: func(t *testing.T, ref hypervisor.Ref) {
			junk := []byte("this is no descriptor")
			require.NoError(t, v.c.Files().MakeFolder(t.Context(), ref.Datastore, layout.Folder(ref.Group)))
			require.NoError(t, v.c.Files().Put(t.Context(), ref.Datastore, layout.Folder(ref.Group)+"/"+string(ref.Volume)+".vmdk", bytes.NewReader(junk), int64(len(junk))))
		},
		SetPower: func(t *testing.T, vm volspec.VMID, on bool) {
			m, err := v.VM(t.Context(), vm)
			require.NoError(t, err)
			switchTo(t, v, m, on)
		},
		SetState: func(t *testing.T, _ string, _ hypervisor.DatastoreState) {
			t.Skip("the datastores of a real vCenter are not taken away")
		},
	}
	f.Machines = realMachines{v, r.o.Datastores[0]}
	for i, name := range r.vms {
		f.VMs[i] = (&site{}).vm(t, v, name)
		switchTo(t, v, f.VMs[i], true)
		f.VMs[i] = (&site{}).vm(t, v, name)
	}
	return f
}

func switchTo(t *testing.T, v *VSphere, m hypervisor.VM, on bool) {
	t.Helper()
	if (m.Power == hypervisor.On) == on {
		return
	}
	reconfigure(t, v, m.Name, func(ctx context.Context, vm *object.VirtualMachine) (*object.Task, error) {
		if on {
			return vm.PowerOn(ctx)
		}
		return vm.PowerOff(ctx)
	})
}

func (r real) clean(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	v, err := New(r.o)
	require.NoError(t, err)
	defer func() { _ = v.Close(ctx) }()
	removeMachines(ctx, t, v)
	devices, err := v.Attached(ctx)
	require.NoError(t, err)
	for _, d := range devices {
		require.NoError(t, v.Detach(ctx, d.VM, d.Ref))
	}
	for _, d := range r.o.Datastores {
		for disk, err := range v.List(ctx, d) {
			if err == nil {
				require.NoError(t, v.Delete(ctx, disk.Ref))
			}
		}
		require.NoError(t, v.c.Files().Delete(ctx, d, layout.Root))
	}
}

// unreachable is the guest that nobody here can look into.
type unreachable struct{ t *testing.T }

func (u unreachable) skip() { u.t.Skip("programs in the VMs cannot be reached from here") }

func (u unreachable) Write(hypervisor.Device, int64, []byte) error { u.skip(); return nil }

func (u unreachable) Read(hypervisor.Device, int64, int) ([]byte, error) { u.skip(); return nil, nil }

func (u unreachable) Size(hypervisor.Device) (volspec.Size, error) { u.skip(); return 0, nil }

func (unreachable) Mount(*testing.T, hypervisor.Device) func() { return func() {} }

// realMachines are VMs without a system.
type realMachines struct {
	v         *VSphere
	datastore string
}

func (m realMachines) Add(t *testing.T, name string) volspec.VMID {
	t.Helper()
	addThree(t, m.v, name, m.datastore)
	vm := (&site{}).vm(t, m.v, name)
	switchTo(t, m.v, vm, true)
	return vm.ID
}

func (realMachines) Write(t *testing.T, _ volspec.VMID, _ string, _ int64, _ []byte) {
	t.Helper()
	unreachable{t}.skip()
}

func (realMachines) Read(t *testing.T, _ volspec.VMID, _ string, _ int64, _ int) []byte {
	t.Helper()
	unreachable{t}.skip()
	return nil
}

func (m realMachines) named(t *testing.T, vm volspec.VMID) string {
	t.Helper()
	found, err := m.v.VM(t.Context(), vm)
	require.NoError(t, err)
	return found.Name
}

// LoseTrack begins tracking anew.
func (m realMachines) LoseTrack(t *testing.T, vm volspec.VMID, _ string) {
	t.Helper()
	reconfigure(t, m.v, m.named(t, vm), func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) {
		off := false
		return o.Reconfigure(ctx, types.VirtualMachineConfigSpec{ChangeTrackingEnabled: &off})
	})
}

func (m realMachines) Foreign(t *testing.T, vm volspec.VMID, name string) {
	t.Helper()
	reconfigure(t, m.v, m.named(t, vm), func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) {
		return o.CreateSnapshot(ctx, name, "", false, false)
	})
}

// removeMachines removes the VMs that have the annotation of the suite.
func removeMachines(ctx context.Context, t *testing.T, v *VSphere) {
	t.Helper()
	all, err := v.inv.VMs(ctx)
	require.NoError(t, err)
	for _, m := range all {
		var vm mo.VirtualMachine
		require.NoError(t, v.c.Read(ctx, "a test", func(ctx context.Context, vc *vim25.Client) error {
			return property.DefaultCollector(vc).RetrieveOne(ctx, m.Ref, []string{"config.annotation"}, &vm)
		}))
		if vm.Config == nil || vm.Config.Annotation != ofTheSuite {
			continue
		}
		task := func(start func(context.Context, *object.VirtualMachine) (*object.Task, error)) {
			_, err := v.c.Task(ctx, "a test", func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
				task, err := start(ctx, object.NewVirtualMachine(vc, m.Ref))
				if err != nil {
					return types.ManagedObjectReference{}, err
				}
				return task.Reference(), nil
			})
			require.NoError(t, err)
		}
		if power(m) != hypervisor.Off {
			task(func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) { return o.PowerOff(ctx) })
		}
		task(func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) { return o.Destroy(ctx) })
	}
}
