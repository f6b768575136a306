package backup_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Every call of a VM's backup fails in turn: the job is red and names its step,
// or nothing was lost; no snapshot stays, and no half of a set.
func TestEveryStepOfAVMFails(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	p := &plug{}
	proc := w.start(t, p)
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	for i := 1; ; i++ {
		w.vms.WriteMachineDisk(vm, "2001", int64(i*4096%vmDisk), noise(uint64(i), 4096))
		before := len(proc.pointsOf(t, ""))
		p.arm(i, false)
		jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}, Repository: "main"})
		if err != nil {
			assert.ErrorContains(t, err, "injected")
			p.disarm()
			proc.idle(t)
			continue
		}
		j := proc.finish(t, jobs[0].ID)
		name := p.disarm()
		if name == "" {
			require.Equal(t, job.Done, j.State)
			require.Greater(t, i, 25, "a backup makes more calls than that")
			return
		}
		at := fmt.Sprintf("call %d (%s, after %v): %s %q %v", i, name, i%2 == 0, j.State, j.Error, j.Warnings)
		assert.Zero(t, w.vmSnapshots(t), at)
		now := proc.pointsOf(t, "")
		switch j.State {
		case job.Done:
			assert.Len(t, now, before+1, at)
		case job.Failed:
			assert.Contains(t, j.Error, "step ", at)
		default:
			assert.Fail(t, "a state that this backup cannot end in", at)
		}
		for _, pt := range now {
			assert.NotEqual(t, volspec.Damaged, pt.State, at)
		}
		require.Equal(t, job.Done, proc.runVM(t, "web").State, at)
		assert.Equal(t, 2, w.bases(t), at)
		if j.State == job.Failed {
			last := proc.pointsOf(t, "")[0]
			for n, want := range w.disksOf(t, vm) {
				assert.True(t, bytes.Equal(want, proc.content(t, string(last.Disks[map[string]int{"2000": 0, "2001": 1}[n]].Point))), at)
			}
		}
	}
}

// The process dies at every third call in turn, which is enough to meet each
// step. The next one goes on with the job: its set shows one moment, and nothing
// is left behind.
func TestVMBackupKilled(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	setup := w.start(t, &plug{})
	setup.makeRepository(t, "main")
	require.Equal(t, job.Done, setup.runVM(t, "web").State)
	setup.end()
	for i := 1; ; i += 3 {
		w.vms.WriteMachineDisk(vm, "2001", int64(i*4096%vmDisk), noise(uint64(i), 4096))
		next, id, died, at := w.killedAt(t, i, func(proc *process) (volspec.JobID, error) {
			return proc.begin(t, wire.RunBackup{VMs: []string{"web"}, Repository: "main"})
		})
		if id != "" {
			j := next.finish(t, id)
			require.Equal(t, job.Done, j.State, "%s: %s", at, j.Error)
		} else {
			require.Equal(t, job.Done, next.runVM(t, "web").State, at)
		}
		all := next.pointsOf(t, "")
		for _, pt := range all {
			assert.NotEqual(t, volspec.Damaged, pt.State, at)
		}
		want := w.disksOf(t, vm)
		assert.True(t, bytes.Equal(want["2001"], next.content(t, string(all[0].Disks[1].Point))), at)
		assert.Zero(t, w.vmSnapshots(t), at)
		next.end()
		if !died {
			require.Greater(t, i, 25)
			return
		}
	}
}

// What a job of this catalog has left is removed at the next start; snapshots
// that another mooringd made on the same hypervisor are not.
func TestVMSnapshotsAreSwept(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	p := &plug{}
	proc := w.start(t, p)
	proc.makeRepository(t, "main")
	p.armCall("DeleteMachineSnapshot", true)
	_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}})
	require.NoError(t, err)
	require.Eventually(t, p.died, 20*time.Second, time.Millisecond)
	proc.abandon()
	_, err = w.vms.SnapshotMachine(t.Context(), vm, "0123456789ab-of-another", false)
	require.NoError(t, err)
	require.Equal(t, 2, w.vmSnapshots(t))
	next := w.start(t, &plug{})
	require.Eventually(t, func() bool { return w.vmSnapshots(t) == 1 }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, job.Done, next.runVM(t, "web").State)
	next.end()
	w.start(t, &plug{})
	all, err := w.vms.MachineSnapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, volspec.SnapshotID("0123456789ab-of-another"), all[0].ID)
}

// A snapshot that is lost between two attempts begins another set: disks of
// two moments are never put together.
func TestVMSnapshotLostOnTheWay(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	setup := w.start(t, &plug{})
	setup.makeRepository(t, "main")
	setup.end()
	p := &plug{name: "OpenMachineDisk", at: 2, dead: true} // the first disk is stored
	proc := w.start(t, p)
	jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}, Repository: "main"})
	require.NoError(t, err)
	require.Eventually(t, p.died, 20*time.Second, time.Millisecond)
	proc.abandon()
	all, err := w.vms.MachineSnapshots(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 1)
	require.NoError(t, w.vms.DeleteMachineSnapshot(t.Context(), vm, all[0].ID))
	w.vms.WriteMachineDisk(vm, "2000", 0, []byte("later"))
	w.vms.WriteMachineDisk(vm, "2001", 0, []byte("later"))
	next := w.start(t, &plug{})
	j := next.finish(t, jobs[0].ID)
	require.Equal(t, job.Done, j.State, j.Error)
	list := next.pointsOf(t, "")
	require.Len(t, list, 1, "nothing of the first moment is left")
	for i, key := range []string{"2000", "2001"} {
		assert.True(t, bytes.Equal(w.disksOf(t, vm)[key], next.content(t, string(list[0].Disks[i].Point))), key)
	}
	assert.Zero(t, w.vmSnapshots(t))
}

// A restore that was cut off between the new VM and its record finds it again.
func TestVMRestoreKilled(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	setup := w.start(t, &plug{})
	setup.makeRepository(t, "main")
	require.Equal(t, job.Done, setup.runVM(t, "web").State)
	set := string(setup.pointsOf(t, "")[0].ID)
	setup.end()
	want := w.disksOf(t, vm)
	for i := 1; ; i += 3 {
		as := fmt.Sprintf("copy-%d", i)
		next, id, died, at := w.killedAt(t, i, func(proc *process) (volspec.JobID, error) {
			j, err := proc.RestorePoint(t.Context(), admin, "Dev", set, wire.RunRestore{Name: as})
			return j.ID, err
		})
		if id != "" {
			j := next.finish(t, id)
			require.Equal(t, job.Done, j.State, "%s: %s", at, j.Error)
			all, err := w.vms.VMs(t.Context())
			require.NoError(t, err)
			found := 0
			for _, v := range all {
				if v.Name == as {
					found++
					same(t, want, w.disksOf(t, v.ID), as)
					assert.Equal(t, "Dev", w.vms.members[v.ID].Name)
				}
			}
			assert.Equal(t, 1, found)
		}
		next.end()
		if !died {
			require.Greater(t, i, 8)
			return
		}
	}
}

// A storage that does not keep what is written to it fails the restore.
func TestRestoresAreReadBack(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	w.vms.forgetful = true
	wj, err := proc.RestorePoint(t.Context(), admin, "Dev", "vm/web@latest", wire.RunRestore{Name: "copy"})
	require.NoError(t, err)
	j := proc.finish(t, wj.ID)
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "the storage does not keep it")
	all, err := w.vms.VMs(t.Context())
	require.NoError(t, err)
	assert.Len(t, all, 1)
}

// A hypervisor without images of VMs says so.
func TestNoImagesOfVMs(t *testing.T) {
	w := newWorld(t)
	w.vms = nil
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}})
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	_, err = proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "p", VMs: []string{"*"}, Repository: "main"}, false)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	_, err = os.Stat(filepath.Join(w.dir, "repo-main"))
	require.NoError(t, err)
}
