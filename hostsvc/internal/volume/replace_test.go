package volume_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (w *world) inPlace(ctx context.Context, volume, point, keep string) (wire.Volume, error) {
	p, err := w.points.Resolve(ctx, w.dev, volume, point)
	if err != nil {
		return wire.Volume{}, err
	}
	return w.svc.RestoreInPlace(ctx, admin, "dev", volume, p, keep)
}

func TestRestoreInPlaceKeepsTheOldContent(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	before := w.id(t, "db")
	v, err := w.inPlace(t.Context(), "db", "p1", "before")
	require.NoError(t, err)
	assert.Equal(t, before, v.ID, "the same volume")
	assert.Equal(t, 1, v.Snapshots)
	assert.Equal(t, volspec.XFS, v.Spec.FSType, "the filesystem is the point's")
	assert.Equal(t, "new content", w.content(t, "db", 11))
	w.agree(t) // the kept content is in the quota
	_, err = w.inPlace(t.Context(), "db", "p1", "before")
	requireKind(t, errkind.Exists, err)

	// Back again, out of the snapshot, and away with what was kept.
	w.mustCreate(t, vm1, "old", "clone-from", "db", "from-snapshot", "before")
	assert.Equal(t, "old content", w.content(t, "old", 11))
	require.NoError(t, w.svc.DeleteSnapshot(t.Context(), admin, "dev", "db", "before"))
	assert.Equal(t, "new content", w.content(t, "db", 11))
	w.agree(t)
}

func TestFilesystemUUIDOfRestoredContent(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	p, err := w.points.Resolve(t.Context(), w.dev, "db", "p1")
	require.NoError(t, err)
	uuid := func(name string) string {
		v, err := w.svc.BackupTarget(t.Context(), vm1, "", name)
		require.NoError(t, err)
		return v.FSUUID
	}
	_, err = w.inPlace(t.Context(), "db", "p1", "one")
	require.NoError(t, err)
	assert.Equal(t, p.FSUUID, uuid("db"), "nobody else has it: nothing to renew")
	w.mustCreate(t, vm1, "twin", "size", "1gb")
	_, err = w.svc.RestoreInPlace(t.Context(), admin, "dev", "twin", p, "one")
	require.NoError(t, err)
	assert.NotEqual(t, p.FSUUID, uuid("twin"), "db has it: the guest renews the copy's")
	_, err = w.inPlace(t.Context(), "db", "p1", "two")
	require.NoError(t, err)
	assert.Equal(t, p.FSUUID, uuid("db"), "its own")

	// Not even what lies in the trash may come back to a twin.
	require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
	_, err = w.svc.RestoreInPlace(t.Context(), admin, "dev", "twin", p, "two")
	require.NoError(t, err)
	assert.NotEqual(t, p.FSUUID, uuid("twin"))
	p.FSUUID = ""
	_, err = w.svc.RestoreInPlace(t.Context(), admin, "dev", "twin", p, "three")
	require.NoError(t, err)
	assert.NotEmpty(t, uuid("twin"))
	w.agree(t)
}

func TestRestoresInPlaceThatAreRefused(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	w.points.add(w.dev, "db", "big", "x")
	w.points.change("big", func(x *aPoint) { x.Size = 2 * volspec.GiB })
	_, err := w.inPlace(t.Context(), "db", "big", "s")
	requireKind(t, errkind.Invalid, err)
	assert.Contains(t, err.Error(), "resize the volume first")
	for _, bad := range []string{"", "a/b", "a@b", "backup/filesystem/x"} {
		_, err = w.inPlace(t.Context(), "db", "p1", bad)
		requireKind(t, errkind.Invalid, err)
	}
	_, err = w.svc.CreateSnapshot(t.Context(), admin, "dev", "db", wire.CreateSnapshot{Name: "taken"})
	require.NoError(t, err)
	_, err = w.inPlace(t.Context(), "db", "p1", "taken")
	requireKind(t, errkind.Exists, err)
	w.mustCreate(t, vm1, "rest", "size", "8gb") // 1 + 1 + 8 of 10
	_, err = w.inPlace(t.Context(), "db", "p1", "s")
	requireKind(t, errkind.Quota, err)
	lines, err := w.audit(t, "dev", 1)
	require.NoError(t, err)
	assert.Equal(t, "volume restore", lines[0].Action)
	require.NoError(t, w.svc.Remove(t.Context(), admin, "dev", "rest", true))

	p, err := w.points.Resolve(t.Context(), w.dev, "db", "p1")
	require.NoError(t, err)
	_, err = w.svc.RestoreInPlace(t.Context(), vm3, "", "db", p, "s") // of another vmgroup
	requireKind(t, errkind.NotFound, err)
	assert.Equal(t, "Volume db not found", errkind.Text(err))

	_, err = w.attach(t, vm1, "db")
	require.NoError(t, err)
	_, err = w.inPlace(t.Context(), "db", "p1", "s")
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, err.Error(), "is attached to VM vm1 and cannot be restored in place")
	assert.Contains(t, err.Error(), "restore-from=p1")
	w.agree(t)
	w.hv.SetPower(vm1.VM, hypervisor.Off)
	_, err = w.inPlace(t.Context(), "db", "p1", "s")
	require.NoError(t, err, "a holder that is gone does not hold")
	w.agree(t)
}

func TestRestoreInPlaceOfOtherSizesAndFormats(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	_, err := w.svc.Resize(t.Context(), admin, "dev", "db", wire.Resize{Size: 2 * volspec.GiB})
	require.NoError(t, err)
	v, err := w.inPlace(t.Context(), "db", "p1", "one")
	require.NoError(t, err)
	assert.Equal(t, int64(2*volspec.GiB), v.SizeBytes, "a larger volume stays as large")
	assert.Equal(t, "the filesystem grows at the next mount", v.FSNote)
	w.points.change("p1", func(x *aPoint) { x.Format, x.content = volspec.Blank, "" })
	v, err = w.inPlace(t.Context(), "db", "p1", "two")
	require.NoError(t, err)
	assert.Equal(t, volspec.Blank, v.Format)
	assert.Empty(t, v.FSNote)
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.format(t, vm1, a)
	w.agree(t)
}

func TestAFailedRestoreInPlaceChangesNothing(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	v, err := w.svc.BackupTarget(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	w.points.calls, w.points.fail = 0, 1
	_, err = w.inPlace(t.Context(), "db", "p1", "s")
	requireKind(t, errkind.Unavailable, err)
	ctx, cancel := context.WithCancel(t.Context())
	w.points.filling = cancel
	_, err = w.inPlace(ctx, "db", "p1", "s")
	require.Error(t, err)
	now, err := w.svc.BackupTarget(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, v, now)
	assert.Equal(t, "old content", w.content(t, "db", 11))
	list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db")
	require.NoError(t, err)
	assert.Empty(t, list)
	w.agree(t)
}

func TestWhileAVolumeIsRestoredInPlace(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.points.filling = func() { close(begun); <-goOn }
	go func() {
		_, err := w.inPlace(t.Context(), "db", "p1", "before")
		done <- err
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	busy := "volume db@fast is being restored: repeat the command when that job has ended"
	for what, do := range map[string]func() error{
		"remove": func() error { return w.svc.Remove(ctx, vm1, "", "db", true) },
		"clone":  func() error { return create(ctx, w, "copy", map[string]string{"clone-from": "db"}) },
		"kept": func() error {
			return create(ctx, w, "copy", map[string]string{"clone-from": "db", "from-snapshot": "before"})
		},
		"snapshot": func() error {
			_, err := w.svc.CreateSnapshot(ctx, admin, "dev", "db", wire.CreateSnapshot{Name: "x"})
			return err
		},
		"unsnap": func() error { return w.svc.DeleteSnapshot(ctx, admin, "dev", "db", "before") },
		"resize": func() error {
			_, err := w.svc.Resize(ctx, admin, "dev", "db", wire.Resize{Size: 2 * volspec.GiB})
			return err
		},
		"set": func() error {
			p := true
			_, err := w.svc.Set(ctx, admin, "dev", "db", wire.SetVolume{Protect: &p})
			return err
		},
		"detach": func() error { return w.svc.ForceDetach(ctx, admin, "dev", "db", wire.DetachVolume{Force: true}) },
		"backup": func() error { _, err := w.svc.TakeBackupSnapshot(ctx, w.id(t, "db"), "s", "job", ""); return err },
	} {
		require.EqualError(t, do(), busy, what)
	}
	w.svc.Round(ctx)
	require.NoError(t, ctx.Err(), "nothing waited for the restore")

	attached := make(chan error, 1)
	go func() {
		_, err := w.svc.Attach(t.Context(), vm1, "db", wire.Attach{WaitMS: 60000})
		attached <- err
	}()
	close(goOn)
	require.NoError(t, <-done)
	require.NoError(t, <-attached, "whoever waited for it has it now")
	w.agree(t)
}

// onLocal is the world of w on the local hypervisor, with a volume db and its
// old content, and the path of its image.
func onLocal(t *testing.T) (*world, string) {
	w := newWorld(t)
	dir := t.TempDir()
	hv, err := local.New(local.Options{Datastores: []local.Datastore{{Name: "disk", Path: dir}}})
	require.NoError(t, err)
	w.front = hv
	w.points.add(w.dev, "db", "p1", "new content")
	w.start(t)
	c, err := w.svc.Create(t.Context(), admin, "dev", wire.CreateVolume{Name: "db@disk", Options: map[string]string{"size": "1gb"}})
	require.NoError(t, err)
	image := filepath.Join(dir, "dockvols", string(w.dev), string(c.ID)+".img")
	f, err := os.OpenFile(image, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("old content"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return w, image
}

func head(t *testing.T, path string) string {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	b := make([]byte, 11)
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	return string(b)
}

// TestCrashInsideAReplacement stops the process at each step that the local
// hypervisor makes: afterwards the volume is as it was without the snapshot,
// or restored with it, and catalog and disk say the same.
func TestCrashInsideAReplacement(t *testing.T) {
	for point, replaced := range map[string]bool{
		"volume.replace.intent": false, "volume.replace.meta": false,
		"local.replace.filled": false, "local.replace.linked": false, "local.replace.renamed": true,
		"volume.replace.disk": true, "volume.replace.done": true,
	} {
		t.Run(point, func(t *testing.T) {
			w, image := onLocal(t)
			var passed bool
			crashpoint.Set(func(p string) {
				if p == point && !passed {
					passed = true
					runtime.Goexit()
				}
			})
			t.Cleanup(func() { crashpoint.Set(nil) })
			var wg sync.WaitGroup
			wg.Go(func() { _, _ = w.inPlace(t.Context(), "db@disk", "p1", "before") })
			wg.Wait()
			require.True(t, passed)

			w.start(t)
			v, err := w.svc.BackupTarget(t.Context(), admin, "dev", "db@disk")
			require.NoError(t, err)
			list, err := w.svc.Snapshots(t.Context(), admin, "dev", "db@disk")
			require.NoError(t, err)
			ids, err := w.front.(hypervisor.Snapshotter).Snapshots(t.Context(), hypervisor.Ref{Datastore: "disk", Group: w.dev, Volume: v.ID})
			require.NoError(t, err)
			if !replaced {
				assert.Equal(t, volspec.Blank, v.Format)
				assert.Equal(t, "old content", head(t, image))
				assert.Empty(t, list)
				assert.Empty(t, ids)
				left, err := filepath.Glob(filepath.Dir(image) + "/*")
				require.NoError(t, err)
				assert.Len(t, left, 2, "the image and its metadata: %v", left)
				_, err = w.inPlace(t.Context(), "db@disk", "p1", "before")
				require.NoError(t, err, "the retry")
				v, err = w.svc.BackupTarget(t.Context(), admin, "dev", "db@disk")
				require.NoError(t, err)
				list, err = w.svc.Snapshots(t.Context(), admin, "dev", "db@disk")
				require.NoError(t, err)
			}
			assert.Equal(t, volspec.Formatted, v.Format)
			assert.Equal(t, volspec.XFS, v.Spec.FSType)
			assert.Equal(t, "aaaaaaaa-0000-4000-8000-000000000001", v.FSUUID)
			assert.Equal(t, "new content", head(t, image))
			require.Len(t, list, 1)
			assert.Equal(t, "old content", head(t, image[:len(image)-len(".img")]+"."+string(list[0].ID)+".snap"))
			require.NoError(t, w.store.View(t.Context(), func(tx volume.Tx) error {
				r, err := tx.Volume(v.ID)
				assert.Empty(t, r.Op.Kind)
				return err
			}))
		})
	}
}
