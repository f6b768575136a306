package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// tracked is a world whose storage remembers changes, with one backup of a
// volume.
func tracked(t *testing.T, p *plug) (*world, *disk, *process) {
	t.Helper()
	w := newWorld(t)
	w.disks.track(true)
	d := w.disks.add(w.group, "db", 8<<20)
	w.disks.write(d, 0, noise(1, 8<<20))
	proc := w.start(t, p)
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.run(t, "db").State)
	return w, d, proc
}

// next backs the volume up, and gives the point and what the job says of it.
func (p *process) next(t *testing.T, d *disk) (wire.Point, string) {
	t.Helper()
	j := p.run(t, "db")
	require.Equal(t, job.Done, j.State, j.Error)
	require.Empty(t, j.Warnings)
	var said struct{ Summary string }
	require.NoError(t, json.Unmarshal(j.Result, &said))
	list, err := p.Points(t.Context(), "Dev", backup.PointFilter{})
	require.NoError(t, err)
	assert.True(t, bytes.Equal(d.data, p.content(t, string(list.Points[0].ID))), "it restores bit for bit")
	return list.Points[0], said.Summary
}

// An increment starts from a moment: no snapshot is left from one backup to
// the next, and only what changed is read.
func TestIncrementWithoutASnapshot(t *testing.T) {
	w, d, proc := tracked(t, &plug{})
	for i := range uint64(3) {
		assert.Zero(t, w.disks.snapshots())
		assert.Equal(t, 1, w.bases(t))
		w.disks.write(d, int(i)<<20, noise(i+2, 8192))
		pt, said := proc.next(t, d)
		assert.Contains(t, pt.Tracking, "changed extents since")
		assert.Contains(t, said, "changed extents since")
		assert.Less(t, pt.ReadBytes, int64(4<<20))
	}
	assert.Zero(t, w.disks.snapshots())
	proc.end()
	proc = w.start(t, &plug{})
	assert.Equal(t, 1, w.bases(t), "a start of the service leaves the moment")
	require.NoError(t, proc.DeletePoint(t.Context(), admin, "Dev", "db@latest"))
	pt, _ := proc.next(t, d)
	assert.Contains(t, pt.Tracking, "gone or damaged")
}

// What makes a moment worth nothing: the next backup reads everything, says
// why, and its own moment is the start of the one after.
func TestMomentsThatAreNotBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*testing.T, *world, *disk, *process)
		why  string
		asks bool // the storage is asked
	}{
		{"refused", func(_ *testing.T, w *world, _ *disk, _ *process) { w.disks.track(true) }, "full read: tracking was begun anew", true},
		{"grown", func(_ *testing.T, w *world, d *disk, _ *process) { w.disks.grow(d, 1<<20) }, "full read: the disk has grown", false},
		{"restored in place", func(t *testing.T, _ *world, _ *disk, p *process) {
			j, err := p.RestorePoint(t.Context(), admin, "Dev", "db@latest", wire.RunRestore{InPlace: true})
			require.NoError(t, err)
			require.Equal(t, job.Done, p.finish(t, j.ID).State)
		}, "full read: no earlier backup has left anything to start from", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Bool
			w, d, proc := tracked(t, &plug{before: func(name string) {
				if name == "ChangedSince" {
					asked.Store(true)
				}
			}})
			w.disks.write(d, 1<<20, noise(2, 8192))
			c.do(t, w, d, proc)
			users := w.disks.snapshots() // what a restore keeps
			pt, said := proc.next(t, d)
			assert.Contains(t, pt.Tracking, c.why)
			assert.Contains(t, said, c.why)
			assert.Equal(t, c.asks, asked.Load())
			assert.Equal(t, users, w.disks.snapshots())
			w.disks.write(d, 1<<20, noise(3, 8192))
			pt, _ = proc.next(t, d)
			assert.Contains(t, pt.Tracking, "changed extents since")
		})
	}
}

// A snapshot that an earlier version kept is the start of one more increment;
// then it goes, and a moment is in its place.
func TestTheLastSnapshotThatWasKept(t *testing.T) {
	w := newWorld(t)
	d := w.disks.add(w.group, "db", 8<<20)
	w.disks.write(d, 0, noise(1, 8<<20))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.run(t, "db").State)
	require.Equal(t, 1, w.disks.snapshots())
	proc.end()

	w.disks.track(true)
	proc = w.start(t, &plug{})
	assert.Equal(t, 1, w.disks.snapshots(), "it is needed yet")
	w.disks.write(d, 1<<20, noise(2, 8192))
	pt, _ := proc.next(t, d)
	assert.Contains(t, pt.Tracking, "changed extents since")
	assert.Zero(t, w.disks.snapshots())
	assert.Equal(t, 1, w.bases(t))
	w.disks.write(d, 2<<20, noise(3, 8192))
	pt, _ = proc.next(t, d)
	assert.Contains(t, pt.Tracking, "changed extents since")
	assert.Zero(t, w.disks.snapshots())
}

// A moment that cannot be asked for costs no backup: the older one stays the
// start, with the point that was made at it.
func TestAMomentThatIsNotTold(t *testing.T) {
	w, d, proc := tracked(t, &plug{})
	before := base(t, w)
	w.disks.write(d, 1<<20, noise(2, 8192))
	proc.plug.armCall("Moment", false)
	j := proc.run(t, "db")
	proc.plug.disarm()
	require.Equal(t, job.Done, j.State, j.Error)
	require.Len(t, j.Warnings, 1)
	assert.Contains(t, j.Warnings[0], "the next backup may read more")
	assert.Zero(t, w.disks.snapshots())
	assert.Equal(t, before, base(t, w))
	w.disks.write(d, 2<<20, noise(3, 8192))
	pt, _ := proc.next(t, d)
	assert.Contains(t, pt.Tracking, "changed extents since")
	assert.NotEqual(t, before, base(t, w))
}

// base is the moment that the next increment starts from.
func base(t *testing.T, w *world) (b backup.Base) {
	t.Helper()
	require.NoError(t, w.store.Backup().View(context.Background(), func(tx backup.Tx) error {
		all, err := tx.Bases("")
		require.Len(t, all, 1)
		b = all[0]
		return err
	}))
	assert.NotEmpty(t, b.Change)
	assert.Equal(t, volspec.SnapshotID(""), b.Snapshot)
	return b
}
