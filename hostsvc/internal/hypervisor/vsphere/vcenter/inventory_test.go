package vcenter_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/simvc/control"
)

func named(t *testing.T, inv *vcenter.Inventory, name string) vcenter.VM {
	t.Helper()
	all, err := inv.VMs(t.Context())
	require.NoError(t, err)
	for _, v := range all {
		if v.Name == name {
			return v
		}
	}
	require.Fail(t, "VM not listed", name)
	return vcenter.VM{}
}

func run(t *testing.T, c *vcenter.Client, start func(ctx context.Context, vc *vim25.Client) (*object.Task, error)) error {
	_, err := c.Task(t.Context(), "a test", func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		task, err := start(ctx, vc)
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return task.Reference(), nil
	})
	return err
}

func TestTheInventoryIsCurrent(t *testing.T) {
	sim := start(t, control.Options{VMs: 3})
	ctx := t.Context()
	c := connect(t, options(sim))
	inv := vcenter.NewInventory(c)
	there, err := sim.VMs(ctx)
	require.NoError(t, err)
	all, err := inv.VMs(ctx)
	require.NoError(t, err)
	require.Len(t, all, 3)
	for i, v := range all {
		assert.Equal(t, there[i].Name, v.Name)
		assert.Equal(t, there[i].InstanceUUID, v.ID)
		assert.Equal(t, there[i].Moref, v.Ref.Value)
		assert.Equal(t, "ds-0", v.Datastore)
		assert.Equal(t, types.VirtualMachinePowerStatePoweredOn, v.Power)
		assert.True(t, v.Connected)
		assert.False(t, v.BootTime.IsZero(), "a VM that is on was powered on at some time")
		assert.NotEmpty(t, v.Host.Value)
	}

	before := named(t, inv, "vm-1")
	require.NoError(t, sim.Power(ctx, "vm-1", false))
	off := named(t, inv, "vm-1")
	assert.Equal(t, types.VirtualMachinePowerStatePoweredOff, off.Power)
	assert.NotEqual(t, before.Version, off.Version)
	require.NoError(t, sim.Power(ctx, "vm-1", true))
	on := named(t, inv, "vm-1")
	assert.Equal(t, types.VirtualMachinePowerStatePoweredOn, on.Power)
	assert.NotEqual(t, before.BootTime, on.BootTime)
	assert.Equal(t, named(t, inv, "vm-1"), on, "nothing changed")

	require.NoError(t, run(t, c, func(ctx context.Context, vc *vim25.Client) (*object.Task, error) {
		return object.NewVirtualMachine(vc, on.Ref).Rename(ctx, "renamed")
	}))
	renamed := named(t, inv, "renamed")
	assert.Equal(t, on.ID, renamed.ID)
	require.NoError(t, run(t, c, func(ctx context.Context, vc *vim25.Client) (*object.Task, error) {
		return object.NewVirtualMachine(vc, on.Ref).Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "guestinfo.x", Value: "y"}}})
	}))
	changed := named(t, inv, "renamed")
	assert.NotEqual(t, renamed.Version, changed.Version)
	renamed = changed
	one, err := inv.VM(ctx, on.ID)
	require.NoError(t, err)
	assert.Equal(t, renamed, one)

	require.NoError(t, sim.Power(ctx, "vm-2", false))
	gone := named(t, inv, "vm-2")
	require.NoError(t, run(t, c, func(ctx context.Context, vc *vim25.Client) (*object.Task, error) {
		return object.NewVirtualMachine(vc, gone.Ref).Destroy(ctx)
	}))
	_, err = inv.VM(ctx, gone.ID)
	require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	all, err = inv.VMs(ctx)
	require.NoError(t, err)
	assert.Len(t, all, 2)
}

func TestPlacesOfTheInventory(t *testing.T) {
	for name, esx := range map[string]bool{"vCenter": false, "ESXi": true} {
		t.Run(name, func(t *testing.T) {
			sim := start(t, control.Options{Datastores: []string{"b", "a"}, ESX: esx})
			inv := vcenter.NewInventory(connect(t, options(sim)))
			stores, err := inv.Datastores(t.Context())
			require.NoError(t, err)
			require.Len(t, stores, 2)
			assert.Equal(t, "a", stores[0].Name)
			assert.NotEqual(t, stores[0].URL, stores[1].URL)
			for _, d := range stores {
				assert.True(t, d.Accessible && d.Writable && !d.Maintenance)
				assert.Positive(t, d.Free)
				assert.GreaterOrEqual(t, d.Capacity, d.Free)
				assert.NotEmpty(t, d.Type)
				one, err := inv.Datastore(t.Context(), d.Name)
				require.NoError(t, err)
				assert.Equal(t, d.Ref, one.Ref)
			}
			_, err = inv.Datastore(t.Context(), "none")
			require.Equal(t, errkind.NotFound, errkind.Of(err))
			hosts, err := inv.Hosts(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, hosts)
			for _, h := range hosts {
				assert.True(t, h.Connected)
				assert.Positive(t, h.Sockets)
				assert.Contains(t, stores[0].Hosts, h.Ref)
			}
			require.NoError(t, sim.SetDatastore(t.Context(), "a", control.Offline))
			away, err := inv.Datastore(t.Context(), "a")
			require.NoError(t, err)
			assert.Empty(t, away.Hosts)
			networks, err := inv.Networks(t.Context())
			require.NoError(t, err)
			assert.NotEmpty(t, networks)
		})
	}
}

func TestFollowingTheInventory(t *testing.T) {
	sim := start(t, control.Options{VMs: 2})
	inv := vcenter.NewInventory(connect(t, options(sim)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	power := map[string]types.VirtualMachinePowerState{}
	ended := make(chan error, 1)
	go func() {
		ended <- inv.Follow(ctx, func(_, after *vcenter.VM) {
			mu.Lock()
			defer mu.Unlock()
			if after != nil {
				power[after.Name] = after.Power
			}
		})
	}()
	is := func(name string, want types.VirtualMachinePowerState) {
		t.Helper()
		require.Eventually(t, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return power[name] == want
		}, 20*time.Second, 10*time.Millisecond)
	}
	is("vm-0", types.VirtualMachinePowerStatePoweredOn)
	require.NoError(t, sim.Power(ctx, "vm-0", false))
	is("vm-0", types.VirtualMachinePowerStatePoweredOff)
	_, err := inv.VMs(ctx)
	require.NoError(t, err, "it does not stand in the way of others")

	require.NoError(t, sim.Kill())
	require.NoError(t, sim.Restart(ctx))
	require.Eventually(t, func() bool { return sim.Power(ctx, "vm-1", false) == nil }, 10*time.Second, 50*time.Millisecond)
	is("vm-1", types.VirtualMachinePowerStatePoweredOff)
	cancel()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(15 * time.Second):
		require.Fail(t, "it goes on after its context has ended")
	}
}
