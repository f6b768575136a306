package hypervisortest

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// WholeMachines makes VMs with disks of their own and does what is done in
// them.
type WholeMachines interface {
	// Add makes a VM that is on, whose guest has no tools, with two disks of
	// 16 MiB on Fixture.Datastore that read as zeros and one that snapshots leave
	// out.
	Add(t *testing.T, name string) volspec.VMID
	// Write and Read are what programs in a VM do to one of its disks; also of a
	// VM that is off.
	Write(t *testing.T, vm volspec.VMID, key string, off int64, data []byte)
	Read(t *testing.T, vm volspec.VMID, key string, off int64, n int) []byte
	// LoseTrack makes the hypervisor forget what changed on a disk until now.
	LoseTrack(t *testing.T, vm volspec.VMID, key string)
	// Foreign takes a snapshot that is not Mooring's.
	Foreign(t *testing.T, vm volspec.VMID, name string)
}

var machineImages = []sentence{
	{"MachineDisks", "MachineDisks lists the disks of a VM, in the order of its slots.", machineDisksAreListed},
	{"SnapshotMachine", "SnapshotMachine freezes the disks of a VM under id, all at one moment.", machineIsFrozen},
	{"SnapshotMachine", "With quiesce the guest's tools are asked to write everything first; where they are not there the snapshot is taken all the same, with a Note.", machineQuiesce},
	{"SnapshotMachine", "Repeated: the same snapshot.", machineAgain},
	{"DeleteMachineSnapshot", "DeleteMachineSnapshot removes one.", machineSnapshotGoes},
	{"DeleteMachineSnapshot", "Absent, or the VM is gone: nil.", machineSnapshotAbsent},
	{"MachineSnapshots", "MachineSnapshots lists those that SnapshotMachine made on all VMs, and no others.", machineSnapshotsListed},
	{"OpenMachineDisk", "OpenMachineDisk opens a disk of a snapshot for reading.", machineIsFrozen},
	{"OpenMachineDisk", "No such snapshot or disk: not-found.", machineDiskAbsent},
	{"OpenMachineDisk", "One with a Refusal: unsupported with the reason.", machineDiskRefused},
	{"ChangedMachineDisk", "ChangedMachineDisk yields the ranges in which a disk of snapshot id may differ from the moment that since (a Change) names: perhaps too much, never too little.", machineChanges},
	{"ChangedMachineDisk", "It works after the snapshot of that moment is gone.", machineChanges},
	{"ChangedMachineDisk", "Where changes were not tracked all the time, or since is of another disk: unsupported with the reason, as the only element.", machineChangesLost},
}

// machinesWith is the ability and a VM to test it on; the test is skipped
// where the hypervisor has no images of VMs.
func (e *env) machinesWith(t *testing.T, name string) (hypervisor.MachineImager, volspec.VMID) {
	m, ok := hypervisor.As[hypervisor.MachineImager](e.h)
	if !ok {
		t.Skip("the hypervisor has no images of VMs")
	}
	require.NotNil(t, e.Machines, "the fixture makes no VMs for the images of VMs that the hypervisor has")
	return m, e.Machines.Add(t, name)
}

// ownDisks are the keys of a VM's disks of which there are images, and that of
// the one of which there is none.
func (e *env) ownDisks(t *testing.T, m hypervisor.MachineImager, vm volspec.VMID) (keys []string, refused string) {
	all, err := m.MachineDisks(e.ctx, vm)
	require.NoError(t, err)
	for _, d := range all {
		if d.Refusal != "" {
			refused = d.Key
		} else if d.Volume == "" {
			keys = append(keys, d.Key)
		}
	}
	require.Len(t, keys, 2)
	require.NotEmpty(t, refused)
	return keys, refused
}

func (e *env) freeze(t *testing.T, m hypervisor.MachineImager, vm volspec.VMID, id volspec.SnapshotID) hypervisor.MachineSnapshot {
	s, err := m.SnapshotMachine(e.ctx, vm, id, false)
	require.NoError(t, err)
	return s
}

func diskOf(t *testing.T, all []hypervisor.MachineDisk, key string) hypervisor.MachineDisk {
	for _, d := range all {
		if d.Key == key {
			return d
		}
	}
	require.Fail(t, "disk not listed", key)
	return hypervisor.MachineDisk{}
}

func machineDisksAreListed(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "listed")
	keys, refused := e.ownDisks(t, m, vm)
	r := e.disk(t)
	_, err := e.h.Attach(e.ctx, vm, r, false)
	require.NoError(t, err)
	all, err := m.MachineDisks(e.ctx, vm)
	require.NoError(t, err)
	require.Len(t, all, 4)
	seen, volumes := map[string]bool{}, 0
	for _, d := range all {
		assert.True(t, hypervisor.ValidID(d.Key), "key %q", d.Key)
		assert.False(t, seen[d.Key], "a key names one disk")
		seen[d.Key] = true
		assert.NotEmpty(t, d.Label)
		assert.Empty(t, d.Change, "only a snapshot has it")
		if d.Volume != "" {
			volumes++
			assert.Equal(t, r.Volume, d.Volume)
		} else {
			assert.EqualValues(t, size, d.Size)
			assert.Equal(t, e.Datastore, d.Datastore)
		}
	}
	assert.Equal(t, 1, volumes)
	assert.Less(t, strings.Index(keysOf(all), keys[0]), strings.Index(keysOf(all), keys[1]))
	assert.True(t, seen[refused])
	require.NoError(t, e.h.Fence(e.ctx, vm, r))
	_, err = m.MachineDisks(e.ctx, volspec.VMID(uuid.NewString()))
	requireKind(t, errkind.NotFound, err)
}

func keysOf(all []hypervisor.MachineDisk) (s string) {
	for _, d := range all {
		s += d.Key + "|"
	}
	return s
}

func machineIsFrozen(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "frozen")
	keys, _ := e.ownDisks(t, m, vm)
	for _, k := range keys {
		e.Machines.Write(t, vm, k, 1<<20, []byte("before "+k))
	}
	s := e.freeze(t, m, vm, "s1")
	assert.False(t, s.At.IsZero())
	assert.False(t, s.Quiesced)
	assert.Empty(t, s.Note)
	assert.NotEmpty(t, s.Config)
	assert.LessOrEqual(t, len(s.Config), 1<<20)
	for _, k := range keys {
		e.Machines.Write(t, vm, k, 1<<20, []byte("behind"))
		e.Machines.Write(t, vm, k, 8<<20, []byte("more"))
	}
	for _, k := range keys {
		d := diskOf(t, s.Disks, k)
		img, err := m.OpenMachineDisk(e.ctx, vm, "s1", k)
		require.NoError(t, err)
		want := make([]byte, d.Size)
		copy(want[1<<20:], "before "+k)
		assert.EqualValues(t, d.Size, img.Size())
		assert.True(t, bytes.Equal(want, e.whole(t, img)), k)
		require.NoError(t, img.Close())
	}
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	for _, k := range keys {
		assert.Equal(t, "behind", string(e.Machines.Read(t, vm, k, 1<<20, 6)), "the VM goes on with what it wrote")
		assert.Equal(t, "more", string(e.Machines.Read(t, vm, k, 8<<20, 4)))
	}
	_, err := m.SnapshotMachine(e.ctx, vm, "../x", false)
	requireKind(t, errkind.Invalid, err)
	_, err = m.SnapshotMachine(e.ctx, volspec.VMID(uuid.NewString()), "s1", false)
	requireKind(t, errkind.NotFound, err)
}

func machineQuiesce(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "without-tools")
	s, err := m.SnapshotMachine(e.ctx, vm, "s1", true)
	require.NoError(t, err)
	assert.False(t, s.Quiesced)
	assert.NotEmpty(t, s.Note)
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
}

func machineAgain(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "again")
	keys, _ := e.ownDisks(t, m, vm)
	e.Machines.Write(t, vm, keys[0], 0, []byte("one"))
	first := e.freeze(t, m, vm, "s1")
	e.Machines.Write(t, vm, keys[0], 0, []byte("two"))
	again := e.freeze(t, m, vm, "s1")
	assert.True(t, first.At.Equal(again.At))
	assert.Equal(t, first.Disks, again.Disks)
	assert.JSONEq(t, string(first.Config), string(again.Config))
	assert.Equal(t, "one", string(e.frozenBytes(t, m, vm, "s1", keys[0])[:3]))
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
}

func (e *env) frozenBytes(t *testing.T, m hypervisor.MachineImager, vm volspec.VMID, id volspec.SnapshotID, key string) []byte {
	img, err := m.OpenMachineDisk(e.ctx, vm, id, key)
	require.NoError(t, err)
	defer func() { require.NoError(t, img.Close()) }()
	return e.whole(t, img)
}

func machineSnapshotGoes(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "goes")
	keys, _ := e.ownDisks(t, m, vm)
	e.freeze(t, m, vm, "s1")
	e.freeze(t, m, vm, "s2")
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	_, err := m.OpenMachineDisk(e.ctx, vm, "s1", keys[0])
	requireKind(t, errkind.NotFound, err)
	assert.Len(t, e.frozenBytes(t, m, vm, "s2", keys[0]), int(size), "the other one stays")
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s2"))
}

func machineSnapshotAbsent(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "absent")
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, volspec.VMID(uuid.NewString()), "s1"))
}

func machineSnapshotsListed(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "snapshots")
	other := e.Machines.Add(t, "other")
	e.Machines.Foreign(t, other, "before the update")
	mine := func() (out []hypervisor.MachineSnapshotRef) {
		all, err := m.MachineSnapshots(e.ctx)
		require.NoError(t, err)
		for _, s := range all {
			if s.VM == vm || s.VM == other {
				out = append(out, s)
			}
		}
		return out
	}
	assert.Empty(t, mine())
	e.freeze(t, m, vm, "s1")
	e.freeze(t, m, other, "s2")
	assert.ElementsMatch(t, []hypervisor.MachineSnapshotRef{{VM: vm, ID: "s1"}, {VM: other, ID: "s2"}}, mine())
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, other, "s2"))
	assert.Empty(t, mine())
}

func machineDiskAbsent(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "nothing")
	keys, _ := e.ownDisks(t, m, vm)
	e.freeze(t, m, vm, "s1")
	for _, c := range []struct {
		vm  volspec.VMID
		id  volspec.SnapshotID
		key string
	}{{vm, "s9", keys[0]}, {vm, "s1", "none"}, {volspec.VMID(uuid.NewString()), "s1", keys[0]}} {
		_, err := m.OpenMachineDisk(e.ctx, c.vm, c.id, c.key)
		requireKind(t, errkind.NotFound, err)
		requireKind(t, errkind.NotFound, refused(t, m.ChangedMachineDisk(e.ctx, c.vm, c.id, c.key, "x")))
	}
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
}

func machineDiskRefused(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "refused")
	_, key := e.ownDisks(t, m, vm)
	s := e.freeze(t, m, vm, "s1")
	d := diskOf(t, s.Disks, key)
	assert.NotEmpty(t, d.Refusal)
	assert.Empty(t, d.Change)
	_, err := m.OpenMachineDisk(e.ctx, vm, "s1", key)
	requireKind(t, errkind.Unsupported, err)
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
}

func machineChanges(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "changes")
	keys, _ := e.ownDisks(t, m, vm)
	e.Machines.Write(t, vm, keys[0], 0, bytes.Repeat([]byte("a"), 2<<20))
	first := e.freeze(t, m, vm, "s1")
	old := e.frozenBytes(t, m, vm, "s1", keys[0])
	since := diskOf(t, first.Disks, keys[0]).Change
	require.NotEmpty(t, since)
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))

	e.Machines.Write(t, vm, keys[0], 1<<20, []byte("inside"))
	e.Machines.Write(t, vm, keys[0], 9<<20, []byte("new"))
	second := e.freeze(t, m, vm, "s2")
	e.Machines.Write(t, vm, keys[0], 12<<20, []byte("later"))
	now := e.frozenBytes(t, m, vm, "s2", keys[0])
	var n int64
	for _, x := range extents(t, m.ChangedMachineDisk(e.ctx, vm, "s2", keys[0], since), int64(len(now))) {
		copy(old[x.Offset:x.End()], now[x.Offset:])
		n += x.Length
	}
	assert.True(t, bytes.Equal(now, old))
	assert.Positive(t, n)
	assert.LessOrEqual(t, n, int64(1<<20), "it costs what changed")
	n = 0
	for _, x := range extents(t, m.ChangedMachineDisk(e.ctx, vm, "s2", keys[0], diskOf(t, second.Disks, keys[0]).Change), int64(len(now))) {
		n += x.Length
	}
	assert.Zero(t, n, "since this very moment")
	ended, cancel := context.WithCancel(e.ctx)
	cancel()
	requireKind(t, errkind.Unavailable, refused(t, m.ChangedMachineDisk(ended, vm, "s2", keys[0], since)))
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s2"))
}

func machineChangesLost(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "lost")
	keys, _ := e.ownDisks(t, m, vm)
	s := e.freeze(t, m, vm, "s1")
	since, other := diskOf(t, s.Disks, keys[0]).Change, diskOf(t, s.Disks, keys[1]).Change
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	e.freeze(t, m, vm, "s2")
	for _, bad := range []string{other, "nonsense"} {
		requireKind(t, errkind.Unsupported, refused(t, m.ChangedMachineDisk(e.ctx, vm, "s2", keys[0], bad)))
	}
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s2"))
	e.Machines.LoseTrack(t, vm, keys[0])
	e.freeze(t, m, vm, "s3")
	err := refused(t, m.ChangedMachineDisk(e.ctx, vm, "s3", keys[0], since))
	requireKind(t, errkind.Unsupported, err)
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s3"))
}

// fillBy writes to each disk what fills gives for its key.
func fillBy(fills map[string]filler) func(context.Context, string, image.Target) error {
	return func(ctx context.Context, key string, to image.Target) error {
		if f := fills[key]; f != nil {
			return f(ctx, to)
		}
		return nil
	}
}
