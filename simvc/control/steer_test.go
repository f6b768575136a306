package control_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/event"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/simvc/control"
)

func (s *site) set(vm, key, value string) error {
	_, err := s.wait(s.vm(vm).Reconfigure(s.t.Context(), types.VirtualMachineConfigSpec{
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}},
	}))
	return err
}

func TestRules(t *testing.T) {
	s := start(t, control.Options{VMs: 2})
	ctx := t.Context()
	assert.ErrorContains(t, s.Fault(ctx, control.Fault{Method: "x", Kind: "NoSuchFault"}), "no fault")

	require.NoError(t, s.Fault(ctx, control.Fault{
		Method: "ReconfigVM_Task", Object: s.vm("vm-0").Reference().Value, Kind: "TaskInProgress", Skip: 1, Count: 2,
	}))
	require.NoError(t, s.set("vm-0", "a", "1"))
	for range 2 {
		err := s.set("vm-0", "a", "2")
		assert.True(t, fault.Is(err, &types.TaskInProgress{}), "%v", err)
		require.NoError(t, s.set("vm-1", "a", "2"))
	}
	require.NoError(t, s.set("vm-0", "a", "3"))

	require.NoError(t, s.Fault(ctx, control.Fault{Method: "CreateSnapshot_Task", Kind: "ApplicationQuiesceFault", InTask: true, Count: 1}))
	_, err := s.wait(s.vm("vm-0").CreateSnapshot(ctx, "q", "", false, true))
	assert.True(t, fault.Is(err, &types.ApplicationQuiesceFault{}), "%v", err)

	require.NoError(t, s.Fault(ctx, control.Fault{Method: "VslmCreateDisk_Task", Kind: "NoDiskSpace", InTask: true, Count: 1}))
	_, err = s.vslmWait(s.catalog().CreateDisk(ctx, types.VslmCreateSpec{Name: "x", CapacityInMB: 1, BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
		VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: s.datastore("ds-0").Reference()},
	}}))
	assert.True(t, fault.Is(err, &types.NoDiskSpace{}), "%v", err)

	require.NoError(t, s.Fault(ctx, control.Fault{Method: "GET", Kind: "503"}))
	assert.ErrorContains(t, s.datastore("ds-0").DownloadFile(ctx, "vm-0/vm-0.vmx", t.TempDir()+"/x", nil), "503")
	require.NoError(t, s.ClearFaults(ctx))
	require.NoError(t, s.datastore("ds-0").DownloadFile(ctx, "vm-0/vm-0.vmx", t.TempDir()+"/x", nil))

	require.NoError(t, s.Fault(ctx, control.Fault{Method: "CurrentTime", Delay: 200 * time.Millisecond}))
	begin := time.Now()
	_, err = methods.GetCurrentTime(ctx, s.vc)
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(begin), 200*time.Millisecond)
}

func TestLostReplies(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	require.NoError(t, s.Fault(ctx, control.Fault{Method: "ReconfigVM_Task", DropReply: true, Count: 1}))
	err := s.set("vm-0", "guestinfo.x", "done")
	require.Error(t, err)
	assert.True(t, errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF), "%v", err)
	info, err := s.GuestInfo(ctx, "vm-0")
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"guestinfo.x": "done"}, info)

	require.NoError(t, s.Fault(ctx, control.Fault{Method: "VslmCreateDisk_Task", DropReply: true, Count: 1}))
	_, err = s.vslmWait(s.catalog().CreateDisk(ctx, types.VslmCreateSpec{Name: "x", CapacityInMB: 1, BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
		VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: s.datastore("ds-0").Reference()},
	}, Metadata: []types.KeyValue{{Key: "op", Value: "4711"}}}))
	require.Error(t, err)
	res, err := s.catalog().ListObjectsForSpec(ctx, []vslmtypes.VslmVsoVStorageObjectQuerySpec{
		{QueryField: "metadataValue", QueryOperator: "equals", QueryValue: []string{"4711"}},
	}, 10)
	require.NoError(t, err)
	assert.Len(t, res.Id, 1)
}

func TestCallsAndSessions(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	require.NoError(t, s.ResetCalls(ctx))
	require.NoError(t, s.set("vm-0", "a", "1"))
	calls, err := s.Calls(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, calls["ReconfigVM_Task"])

	require.NoError(t, s.EndSessions(ctx))
	_, err = methods.GetCurrentTime(ctx, s.vc)
	assert.True(t, fault.Is(err, &types.NotAuthenticated{}), "%v", err)
	s.login()
	require.NoError(t, s.Sever(ctx, 300*time.Millisecond))
	assert.Eventually(t, func() bool {
		_, err := methods.GetCurrentTime(ctx, s.vc)
		return err != nil
	}, time.Second, 5*time.Millisecond)
	assert.Eventually(t, func() bool {
		_, err := methods.GetCurrentTime(ctx, s.vc)
		return err == nil
	}, 5*time.Second, 20*time.Millisecond, "the session is still there")
}

func TestMigrateAndClone(t *testing.T) {
	s := start(t, control.Options{VMs: 1, Hosts: 2})
	ctx := t.Context()
	before, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	other := map[string]string{"DC0_C0_H0": "DC0_C0_H1", "DC0_C0_H1": "DC0_C0_H0"}[before.Host]
	require.NoError(t, s.Migrate(ctx, "vm-0", other))
	vm, err := s.VM(ctx, "vm-0")
	require.NoError(t, err)
	assert.Equal(t, other, vm.Host)
	assert.Equal(t, "poweredOn", vm.Power)
	events, err := event.NewManager(s.vc).QueryEvents(ctx, types.EventFilterSpec{EventTypeId: []string{"VmMigratedEvent"}})
	require.NoError(t, err)
	assert.Len(t, events, 1)
	assert.Error(t, s.Migrate(ctx, "vm-0", "nowhere"))

	s.write("vm-0", 0, 0, "content")
	require.NoError(t, s.SetGuestInfo(ctx, "vm-0", "guestinfo.nonce", "secret"))
	assert.Error(t, s.SetGuestInfo(ctx, "vm-0", "other", "x"))
	clone, err := s.CloneVM(ctx, "vm-0", "copy")
	require.NoError(t, err)
	assert.NotEqual(t, vm.InstanceUUID, clone.InstanceUUID)
	assert.NotEqual(t, vm.Disks[0].UUID, clone.Disks[0].UUID)
	assert.Equal(t, "content", s.read(clone.Disks[0].File, 0, 8))
	info, err := s.GuestInfo(ctx, "copy")
	require.NoError(t, err)
	assert.Equal(t, "secret", info["guestinfo.nonce"])

	added, err := s.AddVM(ctx, "more", "", "ds-1")
	require.NoError(t, err)
	assert.Equal(t, "ds-1", added.Disks[0].Datastore)
	require.NoError(t, s.RemoveVM(ctx, "more"))
	assert.NoFileExists(t, added.Disks[0].Path)
}

func TestRestart(t *testing.T) {
	s := start(t, control.Options{VMs: 3})
	ctx := t.Context()
	o := s.fcd("vol", 8, types.KeyValue{Key: "k", Value: "v"})
	_, err := s.vslmWait(s.catalog().AttachDisk(ctx, o.Config.Id, s.vm("vm-1"), 0, nil))
	require.NoError(t, err)
	require.NoError(t, s.catalog().SetControlFlags(ctx, o.Config.Id, []string{"enableChangedBlockTracking"}))
	snap, err := s.vslmWait(s.catalog().CreateSnapshot(ctx, o.Config.Id, "one"))
	require.NoError(t, err)
	details, err := s.catalog().RetrieveSnapshotDetails(ctx, o.Config.Id, snap.(types.ID))
	require.NoError(t, err)
	require.NoError(t, s.set("vm-1", "guestinfo.x", "y"))
	s.write("vm-1", 0, 0, "before")
	ref := s.snapshot("vm-1", "kept")
	s.write("vm-1", 0, 0, "after!")
	require.NoError(t, s.Power(ctx, "vm-2", false))
	_, err = s.wait(s.vm("vm-2").Rename(ctx, "renamed"))
	require.NoError(t, err)
	require.NoError(t, s.set("renamed", "a", "b"))
	require.NoError(t, s.RemoveVM(ctx, "vm-0"))
	_, err = s.AddVM(ctx, "late", "", "")
	require.NoError(t, err)
	before, err := s.VMs(ctx)
	require.NoError(t, err)
	url, thumbprint := s.URL, s.Thumbprint

	require.NoError(t, s.Kill())
	require.NoError(t, s.Restart(ctx))
	assert.Equal(t, url, s.URL)
	assert.Equal(t, thumbprint, s.Thumbprint)
	_, err = methods.GetCurrentTime(ctx, s.vc)
	assert.Error(t, err, "the session is gone")
	s.login()
	after, err := s.VMs(ctx)
	require.NoError(t, err)
	assert.Equal(t, before, after)

	var m mo.VirtualMachine
	require.NoError(t, s.vm("vm-1").Properties(ctx, s.vm("vm-1").Reference(), []string{"snapshot", "runtime", "config"}, &m))
	require.NotNil(t, m.Snapshot)
	assert.Equal(t, ref, *m.Snapshot.CurrentSnapshot)
	assert.NotNil(t, m.Runtime.BootTime)
	info, err := s.GuestInfo(ctx, "vm-1")
	require.NoError(t, err)
	assert.Equal(t, "y", info["guestinfo.x"])
	got, err := s.catalog().Retrieve(ctx, o.Config.Id)
	require.NoError(t, err)
	require.Len(t, got.Config.ConsumerId, 1)
	assert.Equal(t, []types.KeyValue{{Key: "k", Value: "v"}}, got.Config.Metadata)
	again, err := s.catalog().RetrieveSnapshotDetails(ctx, o.Config.Id, snap.(types.ID))
	require.NoError(t, err)
	assert.Equal(t, details, again)
	_, err = s.catalog().QueryChangedDiskAreas(ctx, o.Config.Id, snap.(types.ID), 0, "*")
	require.NoError(t, err)

	require.NoError(t, s.RevertVM(ctx, "vm-1", "kept"))
	vm, err := s.VM(ctx, "vm-1")
	require.NoError(t, err)
	assert.Equal(t, "before", s.read(vm.Disks[0].File, 0, 8))
	require.NoError(t, s.RemoveSnapshot(ctx, "vm-1", "kept"))
	require.NoError(t, s.RemoveVM(ctx, "vm-1"))
}
