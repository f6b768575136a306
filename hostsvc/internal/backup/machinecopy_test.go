package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// drills are the drills of one process: they read the whole image.
type drills struct {
	w *world
	p *plug
}

func (d drills) Open(context.Context, image.Image) (backup.FS, error) {
	if d.w.files != nil {
		return d.w.files, nil
	}
	return nil, errors.New("not in this world")
}

func (d drills) Drill(_ context.Context, img image.Image, disk bool, _ func(done, total int64)) (out backup.Drilled, err error) {
	err = d.p.do("Drill", func() error {
		_, err := img.ReadAt(make([]byte, img.Size()), 0)
		out = backup.Drilled{Bytes: img.Size()}
		if disk {
			out.Parts = []backup.DrillPart{{Name: "partition 1", Filesystem: "ext4", Files: 3}, {Name: "partition 2", Holds: "swap space"}}
		}
		if d.w.drill != nil {
			out = d.w.drill(img)
		}
		return err
	})
	return out, err
}

func (p *process) in(t *testing.T, repository string) []wire.Point {
	t.Helper()
	list, err := p.Points(t.Context(), "Dev", backup.PointFilter{Repository: repository})
	require.NoError(t, err)
	return list.Points
}

// copyTo copies a point to another repository and waits for the end.
func (p *process) copyTo(t *testing.T, ref, to string) job.Job {
	t.Helper()
	j, err := p.CopyPoint(t.Context(), admin, "Dev", ref, wire.RunCopy{Repository: to})
	require.NoError(t, err)
	return p.finish(t, j.ID)
}

// A copy is a point of the VM like the original: whole, and all there is when
// the first repository is lost.
func TestVMsAreCopied(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	for _, name := range []string{"main", "far", "third"} {
		proc.makeRepository(t, name)
	}
	var want []map[string][]byte
	for i := range 2 {
		w.vms.WriteMachineDisk(vm, "2001", 1<<20, noise(uint64(7+i), 8192))
		require.Equal(t, job.Done, proc.runVM(t, "web").State)
		want = append(want, w.disksOf(t, vm))
	}
	originals := proc.in(t, "main") // newest first
	for _, i := range []int{1, 0, 0} {
		j := proc.copyTo(t, string(originals[i].ID), "far")
		require.Equal(t, job.Done, j.State, j.Error)
		assert.Contains(t, string(j.Result), "2 disks")
	}
	copies := proc.in(t, "far")
	require.Len(t, copies, 2, "the same copy once")
	for i, c := range copies {
		assert.Equal(t, []any{"vm/web", originals[i].ID, volspec.Completed, "2 disks"}, []any{c.Volume, c.CopyOf, c.State, fmt.Sprint(len(c.Disks), " disks")})
		assert.True(t, c.Created.Equal(originals[i].Created))
		assert.NotEqual(t, originals[i].ID, c.ID)
	}
	assert.Contains(t, copies[0].Disks[1].Tracking, "the differences of the points it was copied from")
	latest, err := proc.Point(t.Context(), "Dev", "vm/web@latest")
	require.NoError(t, err)
	assert.Equal(t, originals[0].ID, latest.ID, "the original comes before its copy")

	again := proc.copyTo(t, string(copies[0].ID), "third")
	require.Equal(t, job.Done, again.State, again.Error)
	require.Equal(t, job.Done, proc.copyTo(t, string(originals[0].ID), "third").State)
	assert.Len(t, proc.in(t, "third"), 1, "a copy of a copy is the copy of the same moment")
	_, err = proc.CopyPoint(t.Context(), admin, "Dev", string(originals[0].ID), wire.RunCopy{Repository: "main"})
	assert.Equal(t, errkind.Invalid, errkind.Of(err))

	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "repo-main")))
	for i, c := range copies {
		_, got := proc.restoreVM(t, string(c.ID), fmt.Sprint("web-", i))
		same(t, want[1-i], got, string(c.ID))
	}
	vj, err := proc.Verify(t.Context(), admin, "Dev", string(copies[0].ID), wire.RunVerify{})
	require.NoError(t, err)
	require.Equal(t, job.Done, proc.finish(t, vj.ID).State)
	p, err := proc.Point(t.Context(), "Dev", string(copies[0].ID))
	require.NoError(t, err)
	assert.Equal(t, volspec.Verified, p.State)
	require.NoError(t, proc.DeletePoint(t.Context(), admin, "Dev", string(copies[1].ID)))
	assert.Len(t, proc.in(t, "far"), 1)

	k, err := proc.Kit(t.Context(), admin, "Dev", "far", wire.KitOptions{Credentials: true})
	require.NoError(t, err)
	proc.end()
	next := newWorld(t).start(t, &plug{})
	_, err = next.CreateRepository(t.Context(), admin, "Dev", wire.CreateRepository{Name: "old", Kit: k.Text})
	require.NoError(t, err)
	list := next.in(t, "old")
	require.Len(t, list, 1)
	assert.Equal(t, copies[0].ID, list[0].ID, "from the kit alone it has the same name")
	_, got := next.restoreVM(t, "vm/web@latest", "web")
	same(t, want[1], got, "from the kit")
}

// scheduled does what the policies ask for some days later.
func (p *process) scheduled(t *testing.T, days int) job.Job {
	t.Helper()
	all, err := p.Scheduled(t.Context())
	require.NoError(t, err)
	before, err := p.queue.List(t.Context(), job.Query{Kind: "policy"})
	require.NoError(t, err)
	require.NoError(t, p.queue.Tick(t.Context(), time.Now().Add(time.Duration(days)*24*time.Hour), all))
	now, err := p.queue.List(t.Context(), job.Query{Kind: "policy"})
	require.NoError(t, err)
	require.Len(t, now, len(before)+1)
	return p.finish(t, now[0].ID)
}

// Policies copy whole VMs and drill them; each repository keeps what its rules
// say, all disks together.
func TestPoliciesCopyAndDrillVMs(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	pol := wire.Policy{
		Name: "vms", VMs: []string{"web"}, Repository: "main", Keep: wire.Keep{Last: 9},
		Copy: wire.CopyPolicy{Repository: "far", Schedule: "daily", Keep: wire.Keep{Last: 2}},
	}
	_, err := proc.PutPolicy(t.Context(), admin, "Dev", pol, false)
	require.NoError(t, err)
	run := func(n int) {
		for range n {
			jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Policy: "vms"})
			require.NoError(t, err)
			require.Equal(t, job.Done, proc.finish(t, jobs[0].ID).State)
		}
	}
	run(3)
	j := proc.scheduled(t, 2)
	require.Equal(t, job.Done, j.State, j.Error)
	assert.Len(t, proc.in(t, "main"), 3)
	assert.Len(t, proc.in(t, "far"), 2, "copies have rules of their own")
	run(1)
	require.Equal(t, job.Done, proc.scheduled(t, 4).State)
	for i, c := range proc.in(t, "far") {
		assert.Equal(t, proc.in(t, "main")[i].ID, c.CopyOf, "the newest are copied")
		assert.Equal(t, volspec.Completed, c.State)
	}
	assert.Len(t, w.points(t), 2*(4+2))

	pol.Copy, pol.DrillSched = wire.CopyPolicy{}, "daily"
	_, err = proc.PutPolicy(t.Context(), admin, "Dev", pol, true)
	require.NoError(t, err)
	require.Equal(t, job.Done, proc.scheduled(t, 6).State)
	all := proc.in(t, "main")
	assert.Equal(t, []volspec.PointState{volspec.Proven, volspec.Completed}, []volspec.PointState{all[0].State, all[1].State}, "the newest one is proven")
	assert.False(t, all[0].ProvenAt.IsZero())
}

// A drill proves all disks of a point and says what was found on each. The
// disk and the step that are no good are named, with an alarm until it is well.
func TestVMsAreDrilled(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	w.vms.WriteMachineDisk(vm, "2001", 0, []byte("second disk"))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	drill := func() job.Job {
		wj, err := proc.Drill(t.Context(), admin, "Dev", "vm/web@latest")
		require.NoError(t, err)
		assert.Equal(t, "vm/web", wj.Object)
		return proc.finish(t, wj.ID)
	}
	alarms := func(want ...string) {
		t.Helper()
		require.EventuallyWithT(t, func(c *assert.CollectT) { // that of the job comes after its end
			all, err := proc.Alarms(t.Context(), "Dev")
			assert.NoError(c, err)
			kinds := []string{}
			for _, a := range all {
				kinds = append(kinds, a.Kind+" "+a.Object)
			}
			assert.ElementsMatch(c, want, kinds)
		}, 20*time.Second, 20*time.Millisecond)
	}
	w.drill = func(img image.Image) backup.Drilled {
		head := make([]byte, 11)
		_, _ = img.ReadAt(head, 0)
		if string(head) == "second disk" {
			return backup.Drilled{Failed: "check of partition 2", Why: "inode 7 is bent"}
		}
		return backup.Drilled{}
	}
	j := drill()
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "failed at Hard disk 2 in step check of partition 2: inode 7 is bent")
	alarms("drill-failed vm/web", "job-failed drill of vm/web")
	p := proc.pointsOf(t, "")[0]
	assert.Equal(t, []string{"proven", "completed"}, []string{p.Disks[0].State, p.Disks[1].State})
	assert.Equal(t, volspec.Completed, p.State, "it is as good as its worst disk")

	w.drill = nil
	j = drill()
	require.Equal(t, job.Done, j.State, j.Error)
	assert.Contains(t, string(j.Result), "Hard disk 1: partition 1 ext4 checked and mounted, 3 files, partition 2 holds swap space, not checked")
	alarms()
	p = proc.pointsOf(t, "")[0]
	assert.Equal(t, volspec.Proven, p.State)
	assert.False(t, p.ProvenAt.IsZero())
}

// Copies and drills are of points that are whole.
func TestIncompletePointsOfVMsAreNotCopied(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	p := proc.in(t, "main")[0]
	require.NoError(t, w.store.Backup().Update(t.Context(), func(tx backup.Tx) error { return tx.DeletePoint(p.Disks[1].Point) }))
	_, err := proc.CopyPoint(t.Context(), admin, "Dev", string(p.ID), wire.RunCopy{Repository: "far"})
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	_, err = proc.Drill(t.Context(), admin, "Dev", string(p.ID))
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	assert.ErrorContains(t, err, "Hard disk 2 has no point")
}

// While disks of a copy are on their way, nobody takes what is there already
// for a point.
func TestVMCopiesAreNotListedBeforeTheyAreWhole(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	p := &plug{}
	proc := w.start(t, p)
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	copies, seen := 0, []wire.Point{{}}
	p.hook(func(name string) {
		if name != "Copy" {
			return
		}
		if copies++; copies != 2 {
			return
		}
		_, err := proc.CheckRepository(context.Background(), "Dev", "far") // the first disk is there
		assert.NoError(t, err)
		list, err := proc.Points(context.Background(), "Dev", backup.PointFilter{Repository: "far"})
		assert.NoError(t, err)
		seen = list.Points
	})
	require.Equal(t, job.Done, proc.copyTo(t, "vm/web@latest", "far").State)
	assert.Empty(t, seen)
	assert.Len(t, proc.in(t, "far"), 1)
}
