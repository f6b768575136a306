package hypervisortest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var machineBuilds = []sentence{
	{"BuildMachine", "BuildMachine makes a new VM, powered off, with an identity of its own, and its disks with the content that fill writes.", machineIsBuilt},
	{"BuildMachine", "A disk of the Config that Disks leaves out is left out of the VM.", machineIsBuilt},
	{"BuildMachine", "Until it returns nil there is no such VM, and after an error nothing is left.", machineIsNotBuilt},
	{"BuildMachine", "Where the VM of that Name was made under that ID already, it is that.", machineIsBuiltOnce},
	{"BuildMachine", "A Config that is none: invalid.", machineConfigIsNone},
	{"BuildMachine", "No room: quota.", machineNoRoom},
	{"BuildMachine", "No such folder: not-found.", machineInFolder},
	{"BuildMachineDisk", "BuildMachineDisk replaces the content of one disk of a VM that is off; on: in-use.", machineDiskIsReplaced},
	{"BuildMachineDisk", "The old content stays as a file on the same datastore, which kept names.", machineDiskIsReplaced},
	{"BuildMachineDisk", "Until it returns nil, and after an error, everything is as it was.", machineDiskStays},
	{"BuildMachineDisk", "A snapshot on the VM: in-use, with its name.", machineDiskPinned},
}

// wanted is a VM to be made of a snapshot: of all disks of which there are
// images.
func (e *env) wanted(t *testing.T, m hypervisor.MachineImager, vm volspec.VMID, name string) hypervisor.MachineBuild {
	s := e.freeze(t, m, vm, "s1")
	require.NoError(t, m.DeleteMachineSnapshot(e.ctx, vm, "s1"))
	b := hypervisor.MachineBuild{Name: name, Config: s.Config}
	for _, d := range s.Disks {
		if d.Refusal == "" && d.Volume == "" {
			b.Disks = append(b.Disks, d)
		}
	}
	return b
}

func (e *env) called(t *testing.T, name string) (found []hypervisor.VM) {
	all, err := e.h.VMs(e.ctx)
	require.NoError(t, err)
	return slices.DeleteFunc(all, func(v hypervisor.VM) bool { return v.Name != name })
}

func machineIsBuilt(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "original")
	for i, where := range []string{"", e.Other} {
		name := []string{"copy", "elsewhere"}[i]
		b := e.wanted(t, m, vm, name)
		b.Datastore = where
		fills := map[string]filler{b.Disks[0].Key: fillAll(t, bytes.Repeat([]byte("0123456789abcdef"), int(size)/16)), b.Disks[1].Key: word("second")}
		id, err := m.BuildMachine(e.ctx, b, fillBy(fills))
		require.NoError(t, err)
		require.NotEqual(t, vm, id)
		found := e.called(t, name)
		require.Len(t, found, 1)
		assert.Equal(t, id, found[0].ID)
		assert.Equal(t, hypervisor.Off, found[0].Power)
		disks, err := m.MachineDisks(e.ctx, id)
		require.NoError(t, err)
		require.Len(t, disks, 2, "and not the one that is left out")
		for n, d := range disks {
			assert.EqualValues(t, size, d.Size)
			if where != "" {
				assert.Equal(t, where, d.Datastore)
			} else {
				assert.Equal(t, e.Datastore, d.Datastore)
			}
			assert.Equal(t, []string{"012345", "second"}[n], string(e.Machines.Read(t, id, d.Key, 0, 6)))
			assert.Equal(t, make([]byte, 512), e.Machines.Read(t, id, d.Key, 5<<20, 512), "a hole")
		}
		s := e.freeze(t, m, id, "s1")
		assert.Len(t, s.Disks, 2, "it can be backed up as any other")
		require.NoError(t, m.DeleteMachineSnapshot(e.ctx, id, "s1"))
	}
	b := e.wanted(t, m, vm, "copy")
	_, err := m.BuildMachine(e.ctx, b, func(context.Context, string, image.Target) error {
		assert.Fail(t, "there was nothing to fill")
		return nil
	})
	requireKind(t, errkind.Exists, err)
}

func machineIsBuiltOnce(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "whole")
	b := e.wanted(t, m, vm, "once")
	b.ID = "deed-1"
	id, err := m.BuildMachine(e.ctx, b, fillBy(nil))
	require.NoError(t, err)
	untouched := func(context.Context, string, image.Target) error {
		assert.Fail(t, "there was nothing to fill")
		return nil
	}
	again, err := m.BuildMachine(e.ctx, b, untouched)
	require.NoError(t, err)
	assert.Equal(t, id, again)
	assert.Len(t, e.called(t, "once"), 1)
	b.ID = "deed-2"
	_, err = m.BuildMachine(e.ctx, b, untouched)
	requireKind(t, errkind.Exists, err)
	// What it was made by is no part of it.
	copied := e.wanted(t, m, id, "once")
	copied.ID = "deed-1"
	assert.NotContains(t, string(copied.Config), "deed-1")
}

// settled is the free space of a datastore. A vCenter tells of it when it comes to
// it: it is believed when it stays what it is.
func (e *env) settled(t *testing.T, datastore string) volspec.Size {
	t.Helper()
	const enough = 3 * time.Second
	for free, since := volspec.Size(-1), time.Now(); ; <-time.After(50 * time.Millisecond) {
		if now := e.store(t, datastore).Free; now != free {
			free, since = now, time.Now()
		} else if time.Since(since) > enough {
			return free
		}
	}
}

func machineIsNotBuilt(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "whole")
	b := e.wanted(t, m, vm, "half")
	boom := errors.New("boom")
	before := e.settled(t, e.Datastore)
	_, err := m.BuildMachine(e.ctx, b, func(_ context.Context, key string, to image.Target) error {
		assert.Empty(t, e.called(t, "half"))
		if key == b.Disks[1].Key {
			return boom
		}
		_, err := to.WriteAt(bytes.Repeat([]byte("x"), 4<<20), 0)
		return err
	})
	require.ErrorIs(t, err, boom)
	assert.Empty(t, e.called(t, "half"))
	assert.GreaterOrEqual(t, e.settled(t, e.Datastore)+volspec.MiB, before, "nothing is left")
	_, err = m.BuildMachine(e.ctx, b, fillBy(nil))
	require.NoError(t, err, "and nothing stands in the way")
}

func machineConfigIsNone(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "config")
	b := e.wanted(t, m, vm, "none")
	for _, bad := range []string{"", "nonsense", "{}"} {
		b.Config = []byte(bad)
		_, err := m.BuildMachine(e.ctx, b, fillBy(nil))
		requireKind(t, errkind.Invalid, err)
	}
	assert.Empty(t, e.called(t, "none"))
}

func machineNoRoom(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "small")
	b := e.wanted(t, m, vm, "large")
	free := e.store(t, e.Datastore).Free
	const step = int64(volspec.MiB)
	b.Disks[0].Size = hypervisor.RoundUp(free, volspec.MiB) + volspec.MiB
	_, err := m.BuildMachine(e.ctx, b, func(_ context.Context, key string, to image.Target) error {
		data := bytes.Repeat([]byte("full"), int(step)/4)
		for off := int64(0); key == b.Disks[0].Key && off+step <= to.Size(); off += step {
			if _, err := to.WriteAt(data, off); err != nil {
				return err
			}
		}
		return nil
	})
	requireKind(t, errkind.Quota, err)
	assert.Empty(t, e.called(t, "large"))
}

func machineDiskIsReplaced(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "replaced")
	keys, _ := e.ownDisks(t, m, vm)
	e.Machines.Write(t, vm, keys[0], 0, []byte("old"))
	e.Machines.Write(t, vm, keys[1], 0, []byte("other"))
	_, err := m.BuildMachineDisk(e.ctx, vm, keys[0], size, neverFilled(t))
	requireKind(t, errkind.InUse, err)
	e.SetPower(t, vm, false)
	kept, err := m.BuildMachineDisk(e.ctx, vm, keys[0], size, fillAll(t, bytes.Repeat([]byte("0123456789abcdef"), int(size)/16)))
	require.NoError(t, err)
	assert.Contains(t, kept, e.Datastore)
	assert.Equal(t, "0123", string(e.Machines.Read(t, vm, keys[0], 0, 4)))
	assert.Equal(t, "other", string(e.Machines.Read(t, vm, keys[1], 0, 5)))
	again, err := m.BuildMachineDisk(e.ctx, vm, keys[0], 2*size, word("larger"))
	require.NoError(t, err)
	assert.NotEqual(t, kept, again, "one replacement does not take away what another has kept")
	all, err := m.MachineDisks(e.ctx, vm)
	require.NoError(t, err)
	assert.EqualValues(t, 2*size, diskOf(t, all, keys[0]).Size)
	assert.Equal(t, "larger", string(e.Machines.Read(t, vm, keys[0], 0, 6)))
	_, err = m.BuildMachineDisk(e.ctx, vm, "none", size, neverFilled(t))
	requireKind(t, errkind.NotFound, err)
	_, err = m.BuildMachineDisk(e.ctx, volspec.VMID(uuid.NewString()), keys[0], size, neverFilled(t))
	requireKind(t, errkind.NotFound, err)
}

func machineDiskStays(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "stays")
	keys, _ := e.ownDisks(t, m, vm)
	e.Machines.Write(t, vm, keys[0], 0, []byte("old"))
	e.SetPower(t, vm, false)
	boom := errors.New("boom")
	_, err := m.BuildMachineDisk(e.ctx, vm, keys[0], size, func(_ context.Context, to image.Target) error {
		_, err := to.WriteAt([]byte("new"), 0)
		require.NoError(t, err)
		assert.Equal(t, "old", string(e.Machines.Read(t, vm, keys[0], 0, 3)))
		return boom
	})
	require.ErrorIs(t, err, boom)
	assert.Equal(t, "old", string(e.Machines.Read(t, vm, keys[0], 0, 3)))
}

func machineDiskPinned(t *testing.T, e *env) {
	m, vm := e.machinesWith(t, "pinned")
	keys, _ := e.ownDisks(t, m, vm)
	e.SetPower(t, vm, false)
	e.Machines.Foreign(t, vm, "before the update")
	_, err := m.BuildMachineDisk(e.ctx, vm, keys[0], size, neverFilled(t))
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, errkind.Text(err), "before the update")
}
