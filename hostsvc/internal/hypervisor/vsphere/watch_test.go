package vsphere

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

func TestEventsOfChanges(t *testing.T) {
	boot := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	on := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStatePoweredOn, Connected: true, BootTime: boot}
	off := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStatePoweredOff, Connected: true}
	again := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStatePoweredOn, Connected: true, BootTime: boot.Add(time.Minute)}
	moved := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStatePoweredOn, Connected: true, BootTime: boot, Host: types.ManagedObjectReference{Value: "host-2"}}
	away := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStatePoweredOn, BootTime: boot}
	suspended := &vcenter.VM{ID: "a", Power: types.VirtualMachinePowerStateSuspended, Connected: true}
	nameless := &vcenter.VM{Power: types.VirtualMachinePowerStatePoweredOn, Connected: true}
	for name, c := range map[string]struct {
		states []*vcenter.VM // nil: it is gone
		want   []string
	}{
		"seen first":                        {[]*vcenter.VM{on}, nil},
		"off and on":                        {[]*vcenter.VM{on, off, again}, []string{"power-off", "power-on"}},
		"power-cycled between two looks":    {[]*vcenter.VM{on, again}, []string{"power-off", "power-on"}},
		"moved to another host":             {[]*vcenter.VM{on, moved}, nil},
		"host away and back":                {[]*vcenter.VM{on, away, on}, nil},
		"host away, then off":               {[]*vcenter.VM{on, away, off}, []string{"power-off"}},
		"restarted while the host was away": {[]*vcenter.VM{on, away, again}, []string{"power-off", "power-on"}},
		"suspended and resumed":             {[]*vcenter.VM{on, suspended, on}, nil},
		"deleted":                           {[]*vcenter.VM{on, nil}, []string{"power-off"}},
		"deleted when it was off":           {[]*vcenter.VM{off, nil}, nil},
		"without an identity":               {[]*vcenter.VM{nameless, nameless}, nil},
		"deleted, and another one comes":    {[]*vcenter.VM{on, nil, on}, []string{"power-off"}},
		"nothing changes":                   {[]*vcenter.VM{on, on, on}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			last := map[volspec.VMID]hypervisor.VM{}
			var got []string
			var before *vcenter.VM
			for _, after := range c.states {
				got = append(got, step(last, before, after)...)
				before = after
			}
			assert.Equal(t, c.want, got)
		})
	}
}

// A deleted VM is switched off for whoever watches; a clone of one is another
// VM, which has none of its disks.
func TestVMsComeAndGo(t *testing.T) {
	s := newSite(t, FCD, control.Options{VMs: 3})
	v, ctx := s.open(t), t.Context()
	vm, r := s.vm(t, v, "vm-2"), newDisk(t, v)
	_, err := v.Attach(ctx, vm.ID, r, false)
	require.NoError(t, err)
	events, ended := make(chan hypervisor.Event, 10), make(chan error, 1)
	watched, stop := contextOf(t)
	go func() { ended <- v.Watch(watched, events) }()

	clone, err := s.sim.CloneVM(ctx, "vm-2", "copy")
	require.NoError(t, err)
	assert.NotEqual(t, string(vm.ID), clone.InstanceUUID)
	all, err := v.Attached(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1, "what the clone has is a copy of its own")
	assert.Equal(t, vm.ID, all[0].VM)

	require.NoError(t, s.sim.RemoveVM(ctx, "vm-2"))
	deadline := time.After(20 * time.Second)
	for gone := false; !gone; {
		select {
		case e := <-events: // the clone's among them
			if gone = e.VM == vm.ID; gone {
				assert.Equal(t, "power-off", e.Kind)
			}
		case <-deadline:
			require.Fail(t, "no event")
		}
	}
	all, err = v.Attached(ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
	d, err := v.Stat(ctx, r)
	require.NoError(t, err, "a first-class disk outlives the VM")
	assert.Equal(t, 16*volspec.MiB, d.Size)
	stop()
	require.NoError(t, <-ended)
}

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	return ctx, stop
}
