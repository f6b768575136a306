package backup_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// same compares the disks of two VMs in order: a new VM gives them keys of its
// own.
func same(t *testing.T, want, got map[string][]byte, at string) {
	t.Helper()
	require.Len(t, got, len(want), at)
	for key, b := range want {
		assert.True(t, bytes.Equal(b, got[key]), "%s: disk %s", at, key)
	}
}

func (p *process) pointsOf(t *testing.T, object string) []wire.Point {
	t.Helper()
	list, err := p.Points(t.Context(), "Dev", backup.PointFilter{Volume: object})
	require.NoError(t, err)
	return list.Points
}

// A VM is backed up whole, then by what changed, and every point of it becomes
// a VM again that holds what it held.
func TestVMsComeBack(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	j := proc.runVM(t, "web")
	require.Equal(t, job.Done, j.State, j.Error)
	first := w.disksOf(t, vm)
	w.vms.WriteMachineDisk(vm, "2001", 1<<20, noise(7, 8192))
	j = proc.runVM(t, "vm/web")
	require.Equal(t, job.Done, j.State, j.Error)
	second := w.disksOf(t, vm)
	assert.Zero(t, w.vmSnapshots(t))
	assert.Equal(t, 2, w.bases(t))

	all := proc.pointsOf(t, "")
	require.Len(t, all, 2, "one row for each moment")
	p := all[0]
	assert.Equal(t, []any{"vm", "vm/web", vm, volspec.Completed, int64(2 * vmDisk)}, []any{p.Kind, p.Volume, p.VMID, p.State, p.SizeBytes})
	require.Len(t, p.Disks, 2)
	assert.Contains(t, p.Disks[0].Tracking, "changed extents since")
	assert.Less(t, p.ReadBytes, int64(2*vmDisk), "what changed is read, and what chance chose")
	assert.Len(t, proc.pointsOf(t, "vm/web"), 2)
	assert.Empty(t, proc.pointsOf(t, "vm/other"))

	for i, want := range []map[string][]byte{second, first} {
		as := fmt.Sprintf("web-%d", i)
		id, got := proc.restoreVM(t, string(all[i].ID), as)
		same(t, want, got, as)
		v, err := w.vms.VM(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, hypervisor.Off, v.Power)
		assert.Equal(t, "Dev", w.vms.members[id].Name, "it is its tenant's")
		_, err = proc.RestorePoint(t.Context(), admin, "Dev", string(all[i].ID), wire.RunRestore{Name: as})
		assert.Equal(t, errkind.Exists, errkind.Of(err))
	}
	wj, err := proc.RestorePoint(t.Context(), admin, "Dev", "vm/web@latest", wire.RunRestore{Datastore: "two"})
	require.NoError(t, err)
	require.Equal(t, job.Done, proc.finish(t, wj.ID).State)
	assert.Equal(t, "restore vm/web-restored", wj.Object)
}

// Changes that were lost, a disk that has grown, and a tracking that lies all
// end in a full read of that disk alone, which is said.
func TestVMDisksFallBackToFullReads(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	w.vms.LoseTrack(vm, "2000", false)
	w.vms.WriteMachineDisk(vm, "2000", 0, noise(3, 4096))
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	p := proc.pointsOf(t, "")[0]
	assert.Contains(t, p.Disks[0].Tracking, "full read: what changed on disk 2000")
	assert.Contains(t, p.Disks[1].Tracking, "changed extents since")
	w.vms.GrowMachineDisk(vm, "2001", 2*vmDisk)
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	p = proc.pointsOf(t, "")[0]
	assert.Contains(t, p.Disks[1].Tracking, "has grown")
	_, got := proc.restoreVM(t, string(p.ID), "copy")
	same(t, w.disksOf(t, vm), got, "copy")
}

// A disk of which there is no image makes the result a part, with its name and
// the remedy; a VM that has none but such fails. Disks that are volumes are
// left to their policies.
func TestVMDisksThatAreLeftOut(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "it is independent: make it dependent, or protect its files")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	v := w.disks.add(w.group, "db", 1<<20)
	r := hypervisor.Ref{Datastore: "one", Group: w.group.ID, Volume: v.v.ID}
	require.NoError(t, w.vms.Create(t.Context(), r, volspec.MiB, volspec.Thin))
	_, err := w.vms.Attach(t.Context(), vm, r, false)
	require.NoError(t, err)
	_, err = proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "nightly", Volumes: []string{"*"}, Repository: "main"}, false)
	require.NoError(t, err)

	j := proc.runVM(t, "web")
	assert.Equal(t, job.Partial, j.State)
	assert.Contains(t, j.Error, "Hard disk 3 of VM web was not backed up: it is independent: make it dependent")
	p := proc.pointsOf(t, "")[0]
	require.Len(t, p.Disks, 4)
	assert.Equal(t, []string{"completed", "completed", "left-out", "left-out"}, []string{p.Disks[0].State, p.Disks[1].State, p.Disks[2].State, p.Disks[3].State})
	assert.Contains(t, p.Disks[3].Damage, "it is volume db@d1, protected by policy nightly")
	assert.Equal(t, volspec.Completed, p.State, "what it holds is whole")
	_, got := proc.restoreVM(t, string(p.ID), "copy")
	assert.Len(t, got, 2)
	_, err = proc.RestorePoint(t.Context(), admin, "Dev", string(p.ID), wire.RunRestore{Disk: "Hard disk 3"})
	require.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "it is independent")

	odd := volspec.VMID(uuid.NewString())
	w.vms.AddVM(hypervisor.VM{ID: odd, Name: "odd", Datastore: "one"})
	w.vms.members[odd] = w.group
	j = proc.runVM(t, "odd")
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "has no disk of its own")
	w.vms.AddMachineDisk(odd, hypervisor.MachineDisk{Key: "1", Label: "Hard disk 1", Size: vmDisk, Datastore: "one", Refusal: "it is a raw device: use the agent"})
	j = proc.runVM(t, "odd")
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "use the agent")
	assert.Zero(t, w.vmSnapshots(t))
}

// What is less than a quiesced guest is said, and refused where nothing less is
// wanted.
func TestVMsAreQuiesced(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	run := func(word string) job.Job {
		jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}, Consistency: word})
		require.NoError(t, err)
		return proc.finish(t, jobs[0].ID)
	}
	j := run("")
	assert.Equal(t, job.Done, j.State)
	assert.Contains(t, strings.Join(j.Warnings, " "), "no guest tools")
	assert.Equal(t, volspec.CrashConsistent, proc.pointsOf(t, "")[0].Consistency)
	assert.Empty(t, run("crash").Warnings)
	j = run("filesystem-required")
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "could not be quiesced")
	assert.Zero(t, w.vmSnapshots(t))
	w.vms.SetTools(vm, true)
	require.Equal(t, job.Done, run("filesystem-required").State)
	assert.Equal(t, volspec.FilesystemConsistent, proc.pointsOf(t, "")[0].Consistency)
}

// A single disk comes back as a volume or into its VM, which must be off.
func TestSingleDisksOfVMs(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	want := w.disksOf(t, vm)
	p := proc.pointsOf(t, "")[0]
	assert.True(t, bytes.Equal(want["2001"], proc.content(t, string(p.Disks[1].Point))), "the point of one disk is a point as any other")

	in, err := proc.Resolve(t.Context(), w.group.ID, "", string(p.Disks[1].Point))
	require.NoError(t, err)
	assert.Equal(t, []any{volspec.Formatted, volspec.Size(vmDisk)}, []any{in.Format, in.Size}, "a volume of it is never formatted")
	wj, err := proc.RestorePoint(t.Context(), admin, "Dev", string(p.ID), wire.RunRestore{Disk: "Hard disk 2"})
	require.NoError(t, err)
	assert.Equal(t, "restore web-Hard-disk-2-restored", wj.Object)
	proc.finish(t, wj.ID) // volumes are made elsewhere

	w.vms.WriteMachineDisk(vm, "2000", 0, []byte("wrong"))
	w.vms.WriteMachineDisk(vm, "2001", 0, []byte("wrong"))
	inPlace := func(ref, disk string) job.Job {
		wj, err := proc.RestorePoint(t.Context(), admin, "Dev", ref, wire.RunRestore{InPlace: true, Disk: disk})
		require.NoError(t, err)
		return proc.finish(t, wj.ID)
	}
	j := inPlace(string(p.ID), "2001")
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "power it off")
	w.vms.SetPower(vm, hypervisor.Off)
	j = inPlace(string(p.ID), "2001")
	require.Equal(t, job.Done, j.State, j.Error)
	var res struct{ Summary string }
	require.NoError(t, json.Unmarshal(j.Result, &res))
	assert.Contains(t, res.Summary, "is kept: Hard disk 2 as [one] web/2001-replaced")
	got := w.disksOf(t, vm)
	assert.True(t, bytes.Equal(want["2001"], got["2001"]))
	assert.Equal(t, "wrong", string(got["2000"][:5]), "the other one is as it was")
	assert.Equal(t, 1, w.bases(t), "what was told of changes before is not believed any more")
	j = inPlace("vm/web@latest", "")
	require.Equal(t, job.Done, j.State, j.Error)
	same(t, want, w.disksOf(t, vm), "in place")
	j = inPlace(string(p.Disks[0].Point), "")
	require.Equal(t, job.Done, j.State, j.Error)
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	assert.Contains(t, proc.pointsOf(t, "")[0].Disks[0].Tracking, "full read")
}

// What can be done to points is done to whole sets: hold, verify, delete. What
// is about one disk only is refused in words.
func TestPointsOfVMsAreWhole(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	for range 2 {
		require.Equal(t, job.Done, proc.runVM(t, "web").State)
	}
	all := proc.pointsOf(t, "")
	set, disk := string(all[1].ID), string(all[1].Disks[0].Point)
	on := true
	p, err := proc.SetPoint(t.Context(), admin, "Dev", set, wire.SetPoint{Hold: &on})
	require.NoError(t, err)
	assert.True(t, p.Hold)
	assert.Equal(t, errkind.InUse, errkind.Of(proc.DeletePoint(t.Context(), admin, "Dev", set)))
	for _, err := range []error{
		proc.DeletePoint(t.Context(), admin, "Dev", disk),
		second(proc.SetPoint(t.Context(), admin, "Dev", disk, wire.SetPoint{Hold: &on})),
		second(proc.Files(t.Context(), admin, "Dev", set, "/", "", 0)),
		second(proc.CopyPoint(t.Context(), admin, "Dev", disk, wire.RunCopy{Repository: "far"})),
		second(proc.Drill(t.Context(), admin, "Dev", disk)),
		second(proc.RestorePoint(t.Context(), admin, "Dev", set, wire.RunRestore{Options: map[string]string{"size": "1gb"}})),
	} {
		assert.Error(t, err)
	}
	off := false
	_, err = proc.SetPoint(t.Context(), admin, "Dev", set, wire.SetPoint{Hold: &off})
	require.NoError(t, err)
	vj, err := proc.Verify(t.Context(), admin, "Dev", set, wire.RunVerify{})
	require.NoError(t, err)
	j := proc.finish(t, vj.ID)
	require.Equal(t, job.Done, j.State, j.Error)
	assert.Contains(t, string(j.Result), "of 2 disks looked at")
	p, err = proc.Point(t.Context(), "Dev", set)
	require.NoError(t, err)
	assert.Equal(t, volspec.Verified, p.State)
	assert.False(t, p.VerifiedAt.IsZero())
	require.NoError(t, proc.DeletePoint(t.Context(), admin, "Dev", set))
	assert.Len(t, w.points(t), 2, "both disks are gone")
	_, err = proc.Point(t.Context(), "Dev", set)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	require.Equal(t, job.Done, proc.runVM(t, "web").State, "and the repository lacks nothing")
}

func second[T any](_ T, err error) error { return err }

// A point of which a disk cannot be read, or is gone, does not become a VM;
// the disks that are left still come back.
func TestDamagedPointsOfVMs(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	p := proc.pointsOf(t, "")[0]
	require.NoError(t, w.store.Backup().Update(t.Context(), func(tx backup.Tx) error { return tx.DeletePoint(p.Disks[1].Point) }))
	p, err := proc.Point(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err)
	assert.Equal(t, volspec.Damaged, p.State)
	assert.Contains(t, p.Damage, "Hard disk 2 has no point")
	assert.Equal(t, "missing", p.Disks[1].State)
	_, err = proc.RestorePoint(t.Context(), admin, "Dev", string(p.ID), wire.RunRestore{Name: "x"})
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	assert.NotEmpty(t, proc.content(t, string(p.Disks[0].Point)))
}

// Policies protect VMs by patterns: preview, run, retention of whole sets and
// the watch over their age.
func TestPoliciesProtectVMs(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	w.addVM(w.group, "web-test", "")
	w.addVM(w.group, "other", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	pol := wire.Policy{Name: "vms", VMs: []string{"web*"}, Exclude: []string{"vm/*-test"}, Repository: "main", Keep: wire.Keep{Last: 2}, RPO: "26h"}
	_, err := proc.PutPolicy(t.Context(), admin, "Dev", pol, false)
	require.NoError(t, err)
	prev, err := proc.PreviewPolicy(t.Context(), "Dev", "vms")
	require.NoError(t, err)
	assert.Equal(t, []string{"web"}, prev.VMs)
	prot, err := proc.Protection(t.Context(), "Dev")
	require.NoError(t, err)
	require.Len(t, prot, 1, "VMs that nobody asked for are not shown")
	assert.Equal(t, []any{"vm/web", "pending"}, []any{prot[0].Volume, prot[0].State})
	for range 3 {
		jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Policy: "vms"})
		require.NoError(t, err)
		require.Len(t, jobs, 1)
		require.Equal(t, job.Done, proc.finish(t, jobs[0].ID).State)
	}
	assert.Len(t, proc.pointsOf(t, ""), 2, "a set goes whole")
	assert.Len(t, w.points(t), 4)
	prot, err = proc.Protection(t.Context(), "Dev")
	require.NoError(t, err)
	assert.Equal(t, []any{"ok", "vms"}, []any{prot[0].State, prot[0].Policies[0]})
	pruned, err := proc.Prune(t.Context(), admin, "Dev", wire.Prune{Policy: "vms", DryRun: true})
	require.NoError(t, err)
	require.Len(t, pruned.Decisions, 2)
	assert.Equal(t, "vm/web", pruned.Decisions[0].Volume)
	assert.Equal(t, []string{"newest good point", "last 1 of 2"}, pruned.Decisions[0].Reasons)
}

// A tenant reaches its own VMs and points only; another's are not there.
func TestVMsOfOtherTenants(t *testing.T) {
	w := newWorld(t)
	var other volspec.VMGroup
	require.NoError(t, w.store.Tenancy().View(t.Context(), func(tx tenancy.Tx) (err error) { other, err = tx.GroupByName("Test"); return err }))
	w.addVM(w.group, "web", "")
	theirs := w.addVM(other, "theirs", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	for _, name := range []string{"theirs", string(theirs), "vm/theirs", "none"} {
		_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{name}})
		assert.Equal(t, errkind.NotFound, errkind.Of(err), name)
	}
	_, err := proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "all", VMs: []string{"*"}, Repository: "main"}, false)
	require.NoError(t, err)
	prev, err := proc.PreviewPolicy(t.Context(), "Dev", "all")
	require.NoError(t, err)
	assert.Equal(t, []string{"web"}, prev.VMs)
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	p := proc.pointsOf(t, "")[0]
	for _, ref := range []string{string(p.ID), "vm/web@latest", string(p.Disks[0].Point)} {
		_, err := proc.Point(t.Context(), "Test", ref)
		assert.Equal(t, errkind.NotFound, errkind.Of(err), ref)
		_, err = proc.RestorePoint(t.Context(), admin, "Test", ref, wire.RunRestore{})
		assert.Equal(t, errkind.NotFound, errkind.Of(err), ref)
		assert.Equal(t, errkind.NotFound, errkind.Of(proc.DeletePoint(t.Context(), admin, "Test", ref)), ref)
	}
	_, err = proc.RestorePoint(t.Context(), volspec.Caller{Actor: "vm:x"}, "Dev", string(p.ID), wire.RunRestore{Name: "x", Datastore: "two"})
	assert.Equal(t, errkind.Denied, errkind.Of(err))
}

// A VM that was moved to another tenant, or out of a folder that was granted,
// while its job waited is left alone.
func TestVMsMovedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		add  func(*world) volspec.VMID
		move func(*vms, volspec.VMID)
	}{
		"to another vmgroup": {
			func(w *world) volspec.VMID { return w.addVM(w.group, "web", "") },
			func(v *vms, vm volspec.VMID) { v.members[vm] = volspec.VMGroup{ID: "other", Name: "Test"} },
		},
		"out of its folder": {
			func(w *world) volspec.VMID {
				w.vms.granted[ofDev] = w.group
				return w.addVMIn(ofDev, "web")
			},
			func(v *vms, vm volspec.VMID) { v.MoveVM(vm, "") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			vm := c.add(w)
			proc := w.start(t, &plug{})
			proc.makeRepository(t, "main")
			require.Equal(t, job.Done, proc.runVM(t, "web").State)
			w.vms.SetPower(vm, hypervisor.Off)
			proc.end() // what is asked for now waits
			jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}})
			require.NoError(t, err)
			wj, err := proc.RestorePoint(t.Context(), admin, "Dev", "vm/web@latest", wire.RunRestore{InPlace: true})
			require.NoError(t, err)
			c.move(w.vms, vm)
			w.vms.WriteMachineDisk(vm, "2000", 0, []byte("theirs"))
			next := w.start(t, &plug{})
			for _, id := range []volspec.JobID{jobs[0].ID, wj.ID} {
				j := next.finish(t, id)
				assert.Equal(t, job.Failed, j.State)
				assert.Contains(t, j.Error, "is not in the vmgroup any more that this was asked for, nor in a folder of it")
			}
			assert.Equal(t, "theirs", string(w.disksOf(t, vm)["2000"][:6]))
			assert.Len(t, next.pointsOf(t, ""), 1)
			_, err = next.RestorePoint(t.Context(), admin, "Dev", "vm/web@latest", wire.RunRestore{InPlace: true})
			assert.Equal(t, errkind.NotFound, errkind.Of(err))
		})
	}
}

// With the recovery kit alone a VM comes back: what a point of a VM is stands
// in the repository.
func TestVMsComeBackFromTheKit(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	want := w.disksOf(t, vm)
	k, err := proc.Kit(t.Context(), admin, "Dev", "main", wire.KitOptions{Credentials: true})
	require.NoError(t, err)
	proc.end()

	after := newWorld(t)
	next := after.start(t, &plug{})
	_, err = next.CreateRepository(t.Context(), admin, "Dev", wire.CreateRepository{Name: "old", Kit: k.Text})
	require.NoError(t, err)
	list := next.pointsOf(t, "")
	require.Len(t, list, 1)
	assert.Equal(t, "web", list[0].VM)
	_, got := next.restoreVM(t, "vm/web@latest", "web")
	same(t, want, got, "from the kit")
}
