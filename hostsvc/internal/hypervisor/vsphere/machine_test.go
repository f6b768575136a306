package vsphere

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vapi/rest"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// whole is a site for the tests of whole VMs.
func whole(t *testing.T, o control.Options) (*site, *VSphere, machines) {
	t.Helper()
	s := newSite(t, FCD, o)
	v := s.open(t)
	return s, v, machines{s, v}
}

// frozenContent is all of a disk of a snapshot, read as a backup does.
func frozenContent(t *testing.T, v *VSphere, vm volspec.VMID, id volspec.SnapshotID, key string) []byte {
	t.Helper()
	img, err := v.OpenMachineDisk(t.Context(), vm, id, key)
	require.NoError(t, err)
	all := make([]byte, img.Size())
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		_, err = img.ReadAt(all[e.Offset:e.End()], e.Offset)
		require.NoError(t, err)
	}
	require.NoError(t, img.Close())
	return all
}

func changedMachine(t *testing.T, v *VSphere, vm volspec.VMID, id volspec.SnapshotID, key, since string) (all []image.Extent, err error) {
	t.Helper()
	for e, err := range v.ChangedMachineDisk(t.Context(), vm, id, key, since) {
		if err != nil {
			require.Empty(t, all, "the error is the only element")
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// names are the snapshots of a VM.
func names(t *testing.T, v *VSphere, vm volspec.VMID) (all []string) {
	t.Helper()
	m, err := v.inv.VM(t.Context(), string(vm))
	require.NoError(t, err)
	now, err := v.condition(t.Context(), "a test", m)
	require.NoError(t, err)
	for _, s := range allOf(now.Snapshot) {
		all = append(all, s.Name)
	}
	return all
}

// disksIn are the descriptors of the disks below the datastores.
func (s *site) disksIn(t *testing.T) (all []string) {
	t.Helper()
	for _, ds := range []string{"ds-0", "ds-1"} {
		root := filepath.Join(s.sim.Dir, ds)
		require.NoError(t, filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && filepath.Ext(p) == ".vmdk" && !bytes.HasSuffix([]byte(p), []byte("-flat.vmdk")) {
				all = append(all, p)
			}
			return err
		}))
	}
	return all
}

func TestForeignSnapshotsStayAndAreReadThrough(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	ctx := t.Context()
	m.Write(t, vm, "2000", 0, []byte("first"))
	m.Foreign(t, vm, "before the update")
	m.Foreign(t, vm, "mooring-of-somebody")
	m.Write(t, vm, "2000", 1<<20, []byte("second"))
	before := s.disksIn(t)

	snap, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	assert.Empty(t, snap.Disks[0].Change, "tracking cannot begin while there is a snapshot")
	m.Foreign(t, vm, "on top")
	m.Write(t, vm, "2000", 0, []byte("later"))
	got := frozenContent(t, v, vm, "s1", "2000")
	assert.Equal(t, "first", string(got[:5]))
	assert.Equal(t, "second", string(got[1<<20:1<<20+6]))
	_, err = changedMachine(t, v, vm, "s1", "2000", "16777216@52 aa")
	requireKind(t, errkind.Unsupported, err)

	all, err := v.MachineSnapshots(ctx)
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.MachineSnapshotRef{{VM: vm, ID: "s1"}}, all, "not what somebody else has named so")
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "of-somebody"))
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s1"))
	assert.Equal(t, []string{"before the update", "mooring-of-somebody", "on top"}, names(t, v, vm))
	assert.Equal(t, "later", string(m.Read(t, vm, "2000", 0, 5)))
	require.NoError(t, s.sim.RemoveSnapshot(ctx, string(vm), "on top"))
	assert.Len(t, s.disksIn(t), len(before), "no copy is left")
}

func TestACopyThatWasNotClosedGoesWithTheSnapshot(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	m.Foreign(t, vm, "before the update")
	_, err := v.SnapshotMachine(t.Context(), vm, "s1", false)
	require.NoError(t, err)
	before := s.disksIn(t)
	d, err := v.findMachineDisk(t.Context(), vm, "s1", "2000")
	require.NoError(t, err)
	left := "[ds-0] " + d.readName("left")
	require.NoError(t, v.copyDisk(t.Context(), d.at, left, volspec.Thin))
	require.Len(t, s.disksIn(t), len(before)+1)
	require.NoError(t, v.DeleteMachineSnapshot(t.Context(), vm, "s1"))
	for _, p := range s.disksIn(t) {
		assert.NotContains(t, p, "mooring-read")
	}
}

func TestQuiescing(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	ctx := t.Context()
	snap := func(id volspec.SnapshotID) hypervisor.MachineSnapshot {
		got, err := v.SnapshotMachine(ctx, vm, id, true)
		require.NoError(t, err)
		again, err := v.SnapshotMachine(ctx, vm, id, true)
		require.NoError(t, err)
		assert.Equal(t, got, again)
		require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, id))
		return got
	}
	none := snap("s1")
	assert.False(t, none.Quiesced)
	assert.Contains(t, none.Note, "no guest tools")

	m.tools(t, "db", types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	good := snap("s2")
	assert.True(t, good.Quiesced)
	assert.Empty(t, good.Note)

	for _, f := range []control.Fault{
		{Kind: "ApplicationQuiesceFault", InTask: true}, {Kind: "FilesystemQuiesceFault", InTask: true}, {Kind: "ToolsUnavailable"},
	} {
		f.Method, f.Count = "CreateSnapshot_Task", 1
		require.NoError(t, s.sim.Fault(ctx, f))
		failed := snap("s3")
		require.NoError(t, s.sim.ClearFaults(ctx))
		assert.False(t, failed.Quiesced, f.Kind)
		assert.Contains(t, failed.Note, "could not quiesce", f.Kind)
		assert.NotContains(t, failed.Note, "\n")
	}

	require.NoError(t, s.sim.Fault(ctx, control.Fault{Method: "CreateSnapshot_Task", Kind: "NoDiskSpace", InTask: true, Count: 1}))
	_, err := v.SnapshotMachine(ctx, vm, "s4", true)
	require.NoError(t, s.sim.ClearFaults(ctx))
	requireKind(t, errkind.Quota, err)

	require.NoError(t, s.sim.Power(ctx, "db", false))
	off := snap("s5")
	assert.Contains(t, off.Note, "off")
}

func TestAVMWithAVolume(t *testing.T) {
	_, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	ctx := t.Context()
	r, ro := newDisk(t, v), newDisk(t, v)
	_, err := v.Attach(ctx, vm, r, false)
	require.NoError(t, err)
	_, err = v.Attach(ctx, vm, ro, true)
	require.NoError(t, err)
	snap, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	volumes := map[volspec.VolumeID]bool{}
	for _, d := range snap.Disks {
		if d.Volume != "" {
			volumes[d.Volume] = true
		}
	}
	assert.Equal(t, map[volspec.VolumeID]bool{r.Volume: true, ro.Volume: true}, volumes)
	var c machineConfig
	require.NoError(t, json.Unmarshal(snap.Config, &c))
	assert.Len(t, c.Disks, 2, "volumes are no part of the VM")
	err = v.Detach(ctx, vm, r)
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, errkind.Text(err), "mooring-s1")
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s1"))
	require.NoError(t, v.Detach(ctx, vm, r))

	again, err := v.Attach(ctx, vm, r, false)
	require.NoError(t, err)
	assert.Equal(t, r, again.Ref)
	disks, err := v.MachineDisks(ctx, vm)
	require.NoError(t, err)
	for _, d := range disks {
		if d.Volume == r.Volume {
			require.NoError(t, m.s.sim.Power(ctx, "db", false))
			_, err := v.BuildMachineDisk(ctx, vm, d.Key, 16*volspec.MiB, word("x"))
			requireKind(t, errkind.Unsupported, err)
		}
	}
}

func TestFilesThatARemovedSnapshotLeavesAreSaid(t *testing.T) {
	_, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	ctx := t.Context()
	_, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	d, err := v.findMachineDisk(ctx, vm, "s1", "2000")
	require.NoError(t, err)
	unit := int32(5)
	hold := func(op types.VirtualDeviceConfigSpecOperation) {
		reconfigure(t, v, "vm-1", func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) {
			disk := &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
				Key: 2005, ControllerKey: 1000, UnitNumber: &unit,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: d.at}, DiskMode: readOnlyMode,
				},
			}}
			return o.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
				&types.VirtualDeviceConfigSpec{Operation: op, Device: disk},
			}})
		})
	}
	hold(types.VirtualDeviceConfigSpecOperationAdd)
	err = v.DeleteMachineSnapshot(ctx, vm, "s1")
	require.Error(t, err)
	assert.Contains(t, errkind.Text(err), "consolidate")
	all, err := v.MachineSnapshots(ctx)
	require.NoError(t, err)
	assert.Empty(t, all)
	hold(types.VirtualDeviceConfigSpecOperationRemove)
	_, err = v.SnapshotMachine(ctx, vm, "s2", false)
	require.NoError(t, err)
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s2"), "it is made up for")
}

func TestARestoredVMIsLikeTheOneThatWasBackedUp(t *testing.T) {
	s, v, m := whole(t, control.Options{Hosts: 2})
	ctx := t.Context()
	b := hollow(t, "ds-0", 16*volspec.MiB, 8*volspec.MiB)
	b.Name = "original"
	var c machineConfig
	require.NoError(t, json.Unmarshal(b.Config, &c))
	c.Annotation, c.CPUs, c.MemoryMB, c.Tags = "of the shop", 2, 1024, []string{"none/such"}
	c.Cards = []networkCardConfig{{Kind: "e1000e", Label: "Network adapter 1", Network: "VM Network", Connected: true}, {Kind: "vmxnet3", Label: "Network adapter 2", Network: "gone"}}
	c.Disks[1].Format = volspec.ZeroedThick
	var err error
	b.Config, err = json.Marshal(c)
	require.NoError(t, err)
	hosts, err := v.Hosts(ctx)
	require.NoError(t, err)
	b.Host = hosts[1].Name
	noise := make([]byte, 8<<20)
	_, err = rand.Read(noise)
	require.NoError(t, err)
	vm, err := v.BuildMachine(ctx, b, func(ctx context.Context, key string, to image.Target) error {
		if key == "2001" {
			_, err := to.WriteAt(noise, 0)
			return err
		}
		return nil
	})
	require.NoError(t, err)
	got, err := s.sim.VM(ctx, string(vm))
	require.NoError(t, err)
	assert.Equal(t, hosts[1].Name, got.Host)
	set(t, v, "original", "guestinfo.token", "secret")

	snap, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	assert.NotContains(t, string(snap.Config), "secret")
	content := frozenContent(t, v, vm, "s1", snap.Disks[1].Key)
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s1"))
	assert.True(t, bytes.Equal(noise, content))
	var back machineConfig
	require.NoError(t, json.Unmarshal(snap.Config, &back))
	assert.Equal(t, int32(2), back.CPUs)
	assert.Equal(t, int32(1024), back.MemoryMB)
	assert.Equal(t, "of the shop\n\nRestored without: Network adapter 2 (network gone)", back.Annotation)
	require.Len(t, back.Cards, 1)
	assert.Equal(t, "e1000e", back.Cards[0].Kind)
	assert.Equal(t, "VM Network", back.Cards[0].Network)
	assert.Equal(t, volspec.ZeroedThick, back.Disks[1].Format)
	assert.Equal(t, volspec.Thin, back.Disks[0].Format)

	second, err := v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "second", Config: snap.Config, Datastore: "ds-1", Disks: snap.Disks[1:]}, func(_ context.Context, _ string, to image.Target) error {
		_, err := to.WriteAt(content, 0)
		return err
	})
	require.NoError(t, err)
	one, err := s.sim.VM(ctx, "original")
	require.NoError(t, err)
	two, err := s.sim.VM(ctx, string(second))
	require.NoError(t, err)
	assert.NotEqual(t, one.BIOSUUID, two.BIOSUUID)
	require.Len(t, two.Disks, 1)
	assert.NotEqual(t, one.Disks[1].UUID, two.Disks[0].UUID)
	assert.Equal(t, one.Disks[1].Unit, two.Disks[0].Unit)
	assert.True(t, bytes.Equal(noise, m.Read(t, second, snap.Disks[1].Key, 0, len(noise))))
	require.NoError(t, s.sim.Power(ctx, "second", true))

	for name, kind := range map[string]errkind.Kind{"nowhere": errkind.NotFound} {
		_, err := v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "third", Config: snap.Config, Host: name}, nil)
		requireKind(t, kind, err)
		_, err = v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "third", Config: snap.Config, Datastore: name}, nil)
		requireKind(t, kind, err)
	}
	_, err = v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "third", Config: snap.Config, Disks: append(snap.Disks[:1:1], snap.Disks[0])}, nil)
	requireKind(t, errkind.Invalid, err)
	_, err = v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "", Config: snap.Config}, nil)
	requireKind(t, errkind.Invalid, err)
	left, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-*", buildRecords, "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}

func TestTagsGoWithAVM(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	ctx := t.Context()
	vm := m.Add(t, "db")
	at, err := v.inv.VM(ctx, string(vm))
	require.NoError(t, err)
	tagging := func(f func(*tags.Manager) error) {
		require.NoError(t, v.c.Do(ctx, "a test", func(ctx context.Context, vc *vim25.Client) error {
			r := rest.NewClient(vc)
			if err := r.Login(ctx, url.UserPassword(s.sim.User, s.sim.Password)); err != nil {
				return err
			}
			defer r.Logout(ctx)
			return f(tags.NewManager(r))
		}))
	}
	var gone string
	tagging(func(m *tags.Manager) error {
		category, err := m.CreateCategory(ctx, &tags.Category{Name: "team", Cardinality: "MULTIPLE"})
		if err != nil {
			return err
		}
		for _, name := range []string{"shop", "old"} {
			if gone, err = m.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: category}); err != nil {
				return err
			}
			if err := m.AttachTag(ctx, gone, at.Ref); err != nil {
				return err
			}
		}
		return nil
	})
	snap, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s1"))
	var c machineConfig
	require.NoError(t, json.Unmarshal(snap.Config, &c))
	assert.Equal(t, []string{"team/old", "team/shop"}, c.Tags)
	tagging(func(m *tags.Manager) error { return m.DeleteTag(ctx, &tags.Tag{ID: gone}) })

	second, err := v.BuildMachine(ctx, hypervisor.MachineBuild{Name: "second", Config: snap.Config}, nil)
	require.NoError(t, err)
	to, err := v.inv.VM(ctx, string(second))
	require.NoError(t, err)
	has, err := v.c.TagsOf(ctx, to.Ref)
	require.NoError(t, err)
	assert.Equal(t, []string{"team/shop"}, has, "those that are there")
}
