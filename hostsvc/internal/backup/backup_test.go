package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// A check makes a catalog, repositories and dozens of backups.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "4"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (w *world) points(t testing.TB) []backup.Point {
	t.Helper()
	var out []backup.Point
	require.NoError(t, w.store.Backup().View(context.Background(), func(tx backup.Tx) (err error) {
		out, err = tx.Points(backup.PointQuery{Group: w.group.ID})
		return err
	}))
	return out
}

func (w *world) bases(t testing.TB) (n int) {
	t.Helper()
	require.NoError(t, w.store.Backup().View(context.Background(), func(tx backup.Tx) error {
		all, err := tx.Bases("")
		n = len(all)
		return err
	}))
	return n
}

// storages are those that remember changes, of which no snapshot is kept, and
// those of which the last one is.
var storages = []struct {
	name   string
	tracks bool
	kept   int
}{{"snapshots", false, 1}, {"moments", true, 0}}

// Every call of a backup to the outside fails in turn, before it was carried
// out or after: the job is red and names its step, or nothing was lost and a
// warning says so; no snapshot stays that nobody needs; the next backup works.
func TestEveryStepFails(t *testing.T) {
	for _, c := range storages {
		t.Run(c.name, func(t *testing.T) { everyStepFails(t, c.tracks, c.kept) })
	}
}

func everyStepFails(t *testing.T, tracks bool, kept int) {
	w := newWorld(t)
	w.disks.track(tracks)
	d := w.disks.add(w.group, "db", 3<<20)
	p := &plug{}
	proc := w.start(t, p)
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.run(t, "db").State)
	for i := 1; ; i++ {
		w.disks.write(d, i*4096%(2<<20), noise(uint64(i), 4096))
		before := len(w.points(t))
		p.arm(i, false)
		jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Volumes: []string{"db"}, Repository: "main"})
		if err != nil {
			assert.ErrorContains(t, err, "injected")
			p.disarm()
			proc.idle(t)
			continue
		}
		j := proc.finish(t, jobs[0].ID)
		name := p.disarm()
		if name == "" { // it makes no such call any more
			require.Equal(t, job.Done, j.State)
			require.Greater(t, i, 20, "a backup makes more calls than that")
			return
		}
		at := fmt.Sprintf("call %d (%s, after %v): %s %q %v", i, name, i%2 == 0, j.State, j.Error, j.Warnings)
		switch j.State {
		case job.Done:
			assert.Len(t, w.points(t), before+1, at)
		case job.Failed:
			assert.Contains(t, j.Error, "step ", at)
			assert.NotEmpty(t, j.Stage, at)
		default:
			assert.Fail(t, "a state that a backup cannot end in", at)
		}
		require.Equal(t, job.Done, proc.run(t, "db").State, at)
		assert.Equal(t, 1, w.bases(t), at)
		assert.Equal(t, kept, w.disks.snapshots(), at)
		if j.State == job.Failed {
			assert.True(t, bytes.Equal(d.data, proc.content(t, "db@latest")), at)
		}
	}
}

// The process dies at every call in turn. The next one goes on with the job or
// undoes it; nothing stays running, and no snapshot or point is left behind.
func TestKilledAtEveryCall(t *testing.T) {
	for _, c := range storages {
		t.Run(c.name, func(t *testing.T) { killedAtEveryCall(t, c.tracks, c.kept) })
	}
}

func killedAtEveryCall(t *testing.T, tracks bool, kept int) {
	w := newWorld(t)
	w.disks.track(tracks)
	d := w.disks.add(w.group, "db", 3<<20)
	setup := w.start(t, &plug{})
	setup.makeRepository(t, "main")
	require.Equal(t, job.Done, setup.run(t, "db").State)
	setup.end()
	for i := 1; ; i++ {
		w.disks.write(d, i*4096%(2<<20), noise(uint64(i), 4096))
		next, id, died, at := w.killedAt(t, i, func(proc *process) (volspec.JobID, error) {
			return proc.begin(t, wire.RunBackup{Volumes: []string{"db"}, Repository: "main"})
		})
		if id != "" {
			j := next.finish(t, id)
			require.Equal(t, job.Done, j.State, "%s: %s", at, j.Error)
			assert.True(t, bytes.Equal(d.data, next.content(t, "db@latest")), at)
		} else {
			require.Equal(t, job.Done, next.run(t, "db").State, at)
		}
		assert.Equal(t, kept, w.disks.snapshots(), at)
		assert.Equal(t, 1, w.bases(t), at)
		next.end()
		if !died {
			require.Greater(t, i, 20)
			return
		}
	}
}

// Restore is the oracle: whatever happens to a volume and its points, every
// point that is listed reads as the volume was when it was made.
func TestEveryListedPointRestores(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		d := w.disks.add(w.group, "db", 5<<20)
		p := &plug{}
		proc := w.start(t, p)
		proc.makeRepository(t, "main")
		model := map[volspec.PointID][]byte{}
		var seed uint64
		note := func(j job.Job) {
			if j.State != job.Done {
				return
			}
			// Others that are new are of failed jobs that had stored theirs.
			var made struct{ Point volspec.PointID }
			require.NoError(t, json.Unmarshal(j.Result, &made))
			model[made.Point] = bytes.Clone(d.data)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				seed++
				n := rapid.IntRange(1, 300<<10).Draw(rt, "bytes")
				off := rapid.IntRange(0, len(d.data)-n).Draw(rt, "offset")
				w.disks.write(d, off, noise(seed, n))
			},
			"discard": func(rt *rapid.T) {
				n := rapid.IntRange(1, 2<<20).Draw(rt, "bytes")
				off := rapid.IntRange(0, len(d.data)-n).Draw(rt, "offset")
				w.disks.write(d, off, make([]byte, n))
			},
			"grow": func(rt *rapid.T) {
				if len(d.data) > 9<<20 {
					rt.Skip("large enough")
				}
				w.disks.grow(d, rapid.IntRange(1, 3).Draw(rt, "blocks")*512<<10)
			},
			"blind": func(rt *rapid.T) {
				w.disks.mu.Lock()
				w.disks.blind = rapid.Bool().Draw(rt, "blind")
				w.disks.mu.Unlock()
			},
			"track": func(rt *rapid.T) { w.disks.track(rapid.Bool().Draw(rt, "tracks")) },
			"restore in place": func(rt *rapid.T) {
				all := w.points(t)
				if len(all) == 0 {
					rt.Skip("nothing to restore")
				}
				pt := all[rapid.IntRange(0, len(all)-1).Draw(rt, "point")]
				j, err := proc.RestorePoint(context.Background(), admin, "Dev", string(pt.ID), wire.RunRestore{InPlace: true})
				require.NoError(t, err)
				require.Equal(t, job.Done, proc.finish(t, j.ID).State)
			},
			"backup": func(*rapid.T) { note(proc.run(t, "db")) },
			"restart": func(*rapid.T) {
				proc.end()
				proc = w.start(t, p)
			},
			"fail": func(rt *rapid.T) {
				p.mu.Lock()
				p.calls, p.at, p.after = 0, rapid.IntRange(8, 60).Draw(rt, "call"), rapid.Bool().Draw(rt, "after")
				p.mu.Unlock()
				note(proc.run(t, "db"))
				p.mu.Lock()
				p.at = 0
				p.mu.Unlock()
			},
			"delete": func(rt *rapid.T) {
				all := w.points(t)
				if len(all) == 0 {
					rt.Skip("nothing to delete")
				}
				victim := all[rapid.IntRange(0, len(all)-1).Draw(rt, "point")].ID
				require.NoError(t, proc.DeletePoint(context.Background(), admin, "Dev", string(victim)))
				delete(model, victim)
			},
			"": func(rt *rapid.T) {
				all := w.points(t)
				if len(all) == 0 {
					return
				}
				pt := all[rapid.IntRange(0, len(all)-1).Draw(rt, "check")]
				want, known := model[pt.ID]
				if !known { // a failed job that had stored its point: it shows a moment of the past
					model[pt.ID] = proc.content(t, string(pt.ID))
					return
				}
				if !bytes.Equal(want, proc.content(t, string(pt.ID))) {
					rt.Fatalf("point %s does not restore (%s)", pt.ID, pt.Body.Point.Tracking)
				}
			},
		})
		proc.end()
	})
}

// Tracking that does not tell of a change is caught by the sample and not
// believed: the job warns, and the point is whole.
func TestTrackingThatLies(t *testing.T) {
	for _, c := range storages {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.disks.track(c.tracks)
			d := w.disks.add(w.group, "db", 8<<20)
			w.disks.write(d, 0, noise(1, 8<<20))
			proc := w.start(t, &plug{})
			proc.makeRepository(t, "main")
			require.Equal(t, job.Done, proc.run(t, "db").State)
			w.disks.write(d, 0, noise(2, 8<<20)) // every sample is another block now
			w.disks.lies = true
			j := proc.run(t, "db")
			require.Equal(t, job.Done, j.State, j.Error)
			require.NotEmpty(t, j.Warnings)
			assert.Contains(t, j.Warnings[0], "did not tell of a change")
			assert.True(t, bytes.Equal(d.data, proc.content(t, "db@latest")))
			assert.Equal(t, c.kept, w.disks.snapshots())
		})
	}
}

// A storage that cannot tell changes keeps no snapshot, and says why it reads
// everything.
func TestFullReadAsFallback(t *testing.T) {
	w := newWorld(t)
	d := w.disks.add(w.group, "db", 4<<20)
	w.disks.write(d, 0, noise(1, 4<<20))
	w.disks.blind = true
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	for range 2 {
		require.Equal(t, job.Done, proc.run(t, "db").State)
		assert.Zero(t, w.disks.snapshots())
	}
	pts, err := proc.Points(t.Context(), "Dev", backup.PointFilter{})
	require.NoError(t, err)
	require.Len(t, pts.Points, 2)
	assert.Contains(t, pts.Points[0].Tracking, "full read")
	assert.Less(t, pts.Points[0].StoredBytes, int64(256<<10), "only what differs is stored")
}

// Damage is found, named, not built upon, and healed by the next backup of
// what the volume still has.
func TestDamageIsHealed(t *testing.T) {
	w := newWorld(t)
	d := w.disks.add(w.group, "db", 4<<20)
	w.disks.write(d, 0, noise(1, 4<<20))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.run(t, "db").State)
	hurt(t, filepath.Join(w.dir, "repo-main"))

	vj, err := proc.Verify(t.Context(), admin, "Dev", "db@latest", wire.RunVerify{Mode: "full"})
	require.NoError(t, err)
	j := proc.finish(t, vj.ID)
	assert.Equal(t, job.Failed, j.State)
	assert.Contains(t, j.Error, "is damaged")
	pt := w.points(t)[0]
	assert.Equal(t, volspec.Damaged, pt.State)
	alarms, err := proc.Alarms(t.Context(), "Dev")
	require.NoError(t, err)
	assert.NotEmpty(t, alarms)
	_, err = proc.RestorePoint(t.Context(), admin, "Dev", string(pt.ID), wire.RunRestore{})
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))

	require.Equal(t, job.Done, proc.run(t, "db").State)
	assert.True(t, bytes.Equal(d.data, proc.content(t, "db@latest")))
	require.EventuallyWithT(t, func(c *assert.CollectT) { // looked at again by itself
		for _, pt := range w.points(t) {
			assert.NotEqual(c, volspec.Damaged, pt.State)
		}
	}, 20*time.Second, 50*time.Millisecond)
	alarms, err = proc.Alarms(t.Context(), "Dev")
	require.NoError(t, err)
	for _, a := range alarms {
		assert.NotEqual(t, "point-damaged", a.Kind)
	}
}

// hurt flips a byte in the middle of every pack of data.
func hurt(t *testing.T, place string) {
	t.Helper()
	n := 0
	require.NoError(t, filepath.Walk(place, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || info.Size() < 64<<10 {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 0xff
		n++
		return os.WriteFile(path, b, 0o600)
	}))
	require.NotZero(t, n)
}

// A copy outlives the first repository.
func TestCopyToASecondRepository(t *testing.T) {
	w := newWorld(t)
	d := w.disks.add(w.group, "db", 4<<20)
	w.disks.write(d, 0, noise(1, 3<<20))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	require.Equal(t, job.Done, proc.run(t, "db").State)
	cj, err := proc.CopyPoint(t.Context(), admin, "Dev", "db@latest", wire.RunCopy{Repository: "far"})
	require.NoError(t, err)
	require.Equal(t, job.Done, proc.finish(t, cj.ID).State)
	again, err := proc.CopyPoint(t.Context(), admin, "Dev", "db@latest", wire.RunCopy{Repository: "far"})
	if err == nil {
		require.Equal(t, job.Done, proc.finish(t, again.ID).State)
	}
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "repo-main")))
	list, err := proc.Points(t.Context(), "Dev", backup.PointFilter{Repository: "far"})
	require.NoError(t, err)
	require.Len(t, list.Points, 1, "the same copy once")
	assert.NotEmpty(t, list.Points[0].CopyOf)
	assert.True(t, bytes.Equal(d.data, proc.content(t, string(list.Points[0].ID))))
}

// Copies that a policy asks for are kept by rules of their own.
func TestCopiesAreKeptByTheirRules(t *testing.T) {
	w := newWorld(t)
	w.disks.add(w.group, "db", 1<<20)
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.makeRepository(t, "far")
	for range 3 {
		require.Equal(t, job.Done, proc.run(t, "db").State)
	}
	_, err := proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{
		Name: "nightly", Volumes: []string{"db"}, Repository: "main",
		Copy: wire.CopyPolicy{Repository: "far", Schedule: "daily", Keep: wire.Keep{Last: 1}},
	}, false)
	require.NoError(t, err)
	require.Equal(t, job.Done, proc.scheduled(t, 2).State)
	assert.Len(t, proc.in(t, "main"), 3)
	far := proc.in(t, "far")
	require.Len(t, far, 1)
	assert.Equal(t, proc.in(t, "main")[0].ID, far[0].CopyOf)
}

// Keys: a new master key, the same secrets; a secret of another row does not
// open.
func TestRotatedKeyOpensRepositories(t *testing.T) {
	w := newWorld(t)
	w.disks.write(w.disks.add(w.group, "db", 1<<20), 0, noise(1, 1<<20))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	r, err := proc.RotateKey(t.Context(), admin)
	require.NoError(t, err)
	assert.Equal(t, 1, r.Resealed)
	require.Equal(t, job.Done, proc.run(t, "db").State)
}
