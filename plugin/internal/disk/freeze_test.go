package disk_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/disk"
	"mooring.dev/mooring/plugin/internal/disk/disktest"
	"mooring.dev/mooring/plugin/internal/driver"
)

const slack = 2 * time.Second // beyond a lease, on a busy machine

// busy is a mounted filesystem with somebody who writes to it.
func (r rig) busy(t *testing.T, fstype string) (*disktest.Disk, string, *disktest.Writer) {
	t.Helper()
	d := r.bay.NewDisk(t, sizes[fstype])
	fs := driver.Filesystem{Type: fstype}
	r.format(t, d, fs)
	path := r.mount(t, d, fs)
	t.Cleanup(func() { // a test that fails must not leave the machine with it
		assert.NoError(t, onDir(path, func(fd int) error { _ = unix.IoctlSetInt(fd, 0xc0045878, 0); return nil }))
	})
	w, _ := disktest.Write(t, path)
	w.Goes(t, slack)
	return d, path, w
}

func onDir(path string, fn func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return fn(int(f.Fd()))
}

func (r rig) records(t *testing.T) (names []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(r.root, ".state", "freezes"))
	require.NoError(t, err)
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

// guard finds the process that holds the one freeze of this test.
func guard(t *testing.T) int {
	t.Helper()
	pids := disktest.Children(t, os.Getpid())
	require.Len(t, pids, 1)
	return pids[0]
}

func TestFreezeStopsWritersUntilThaw(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		d, path, w := r.busy(t, fstype)
		begin := time.Now()
		f, err := r.Freeze(t.Context(), d.Node, path, wire.MaxFreezeLease)
		require.NoError(t, err)
		frozen := time.Now()
		assert.True(t, w.Stands(), "nothing is written")
		assert.Equal(t, []string{string(d.ID)}, r.records(t))
		assert.Greater(t, f.Left(), 5*time.Second)
		_, err = r.Freeze(t.Context(), d.Node, path, time.Second)
		assert.True(t, errkind.Is(err, errkind.InUse), "one at a time: %v", err)
		assert.True(t, w.Stands(), "the refused one did not thaw it")
		select {
		case <-f.Ended():
			t.Error("it has ended")
		default:
		}
		got := f.Thaw()
		total := time.Since(begin)
		assert.True(t, got.Held, got.Why)
		assert.GreaterOrEqual(t, got.Stall, 400*time.Millisecond)
		assert.Less(t, got.Stall, total)
		assert.Equal(t, got, f.Thaw(), "again: the same")
		<-f.Ended()
		w.Goes(t, slack)
		assert.Less(t, w.Longest(), total+slack, "the writer waited for the hold and no longer, which was %s", time.Since(frozen))
		assert.Empty(t, r.records(t))
		assert.Empty(t, disktest.Children(t, os.Getpid()))
	})
}

func TestFreezeEndsWithItsLease(t *testing.T) {
	r := newRig(t)
	d, path, w := r.busy(t, volspec.Ext4)
	begin := time.Now()
	f, err := r.Freeze(t.Context(), d.Node, path, time.Second)
	require.NoError(t, err)
	<-f.Ended()
	assert.GreaterOrEqual(t, time.Since(begin), time.Second)
	assert.Less(t, time.Since(begin), time.Second+slack)
	w.Goes(t, slack)
	got := f.Thaw()
	assert.False(t, got.Held)
	assert.Equal(t, "the lease was over", got.Why)
	assert.Zero(t, f.Left())
}

// Whatever signal reaches the guard, the filesystem goes on.
func TestFreezeOutlivesItsGuard(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			r := newRig(t)
			d, path, w := r.busy(t, volspec.XFS)
			f, err := r.Freeze(t.Context(), d.Node, path, wire.MaxFreezeLease)
			require.NoError(t, err)
			assert.True(t, w.Stands())
			require.NoError(t, syscall.Kill(guard(t), sig))
			w.Goes(t, slack)
			got := f.Thaw()
			assert.False(t, got.Held)
			assert.NotEmpty(t, got.Why)
			assert.Positive(t, got.Stall)
			assert.Empty(t, r.records(t))
		})
	}
}

// A guard that sleeps through its lease, or through being told, is killed.
func TestFreezeOutlivesAStoppedGuard(t *testing.T) {
	for _, told := range []bool{false, true} {
		r := newRig(t)
		d, path, w := r.busy(t, volspec.Ext4)
		f, err := r.Freeze(t.Context(), d.Node, path, time.Second)
		require.NoError(t, err)
		require.NoError(t, syscall.Kill(guard(t), syscall.SIGSTOP))
		if told {
			assert.False(t, f.Thaw().Held, "nobody knows")
		}
		w.Goes(t, time.Second+slack)
		assert.False(t, f.Thaw().Held)
		assert.Empty(t, disktest.Children(t, os.Getpid()))
	}
}

// Somebody else's thaw is noticed, somebody else's freeze is left alone.
func TestFreezeAmongOthers(t *testing.T) {
	r := newRig(t)
	d, path, w := r.busy(t, volspec.Ext4)
	f, err := r.Freeze(t.Context(), d.Node, path, wire.MaxFreezeLease)
	require.NoError(t, err)
	require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045878, 0) }))
	w.Goes(t, slack)
	assert.Equal(t, "somebody else thawed it", f.Thaw().Why)
	assert.False(t, f.Thaw().Held)

	require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045877, 0) }))
	assert.True(t, w.Stands())
	_, err = r.Freeze(t.Context(), d.Node, path, wire.MaxFreezeLease)
	assert.Equal(t, "it is frozen already, by somebody else", errkind.Text(err))
	assert.True(t, w.Stands(), "it is still theirs")
	require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045878, 0) }))
	w.Goes(t, slack)
	assert.Empty(t, r.records(t))
}

func TestFreezeIsGivenUpWithItsCaller(t *testing.T) {
	r := newRig(t)
	d, path, w := r.busy(t, volspec.Ext4)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Freeze(ctx, d.Node, path, wire.MaxFreezeLease)
	assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	w.Goes(t, slack)
	assert.Empty(t, r.records(t))
	assert.Empty(t, disktest.Children(t, os.Getpid()))
}

// A freeze goes to the filesystem that a folder lies on: one that is not the
// volume's own mount would be somebody else's.
func TestFreezeRefusesWhatIsNotTheVolume(t *testing.T) {
	r := newRig(t)
	d, path, w := r.busy(t, volspec.Ext4)
	other, otherPath, _ := r.busy(t, volspec.Btrfs)
	folder := filepath.Join(r.root, "folder")
	require.NoError(t, os.Mkdir(folder, 0o755))
	link := filepath.Join(r.root, "link")
	require.NoError(t, os.Symlink(path, link))
	host := filepath.Join(r.root, "host")
	require.NoError(t, os.Mkdir(host, 0o755))
	require.NoError(t, unix.Mount(t.TempDir(), host, "", unix.MS_BIND, ""))
	inside := filepath.Join(path, "inside")
	require.NoError(t, os.Mkdir(inside, 0o755))
	for what, at := range map[string][2]string{
		"the disk of another volume":       {other.Node, path},
		"the same, btrfs":                  {d.Node, otherPath},
		"a folder that nothing is mounted": {d.Node, folder},
		"a link":                           {d.Node, link},
		"the machine's own filesystem":     {d.Node, host},
		"a folder of the volume":           {d.Node, inside},
		"the root":                         {d.Node, r.root},
		"a place elsewhere":                {d.Node, t.TempDir()},
		"no disk":                          {d.Image, path},
	} {
		_, err := r.Freeze(t.Context(), at[0], at[1], time.Second)
		assert.Error(t, err, what)
	}
	assert.Less(t, w.Longest(), slack)
	for _, lease := range []time.Duration{0, -1, wire.MaxFreezeLease + 1} {
		_, err := r.Freeze(t.Context(), d.Node, path, lease)
		assert.True(t, errkind.Is(err, errkind.Invalid), "%v", err)
	}
	require.NoError(t, unix.Unmount(host, 0))
	require.NoError(t, os.Remove(host))
	require.NoError(t, os.Remove(link))
}

// left freezes path as a plugin does that was killed with its guard.
func (r rig) left(t *testing.T, d *disktest.Disk, path string) {
	t.Helper()
	dir := filepath.Join(r.root, ".state", "freezes")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, string(d.ID)), nil, 0o600))
	require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045877, 0) }))
}

func TestRecoverThawsWhatWasLeftFrozen(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		settled, err := r.Recover(t.Context(), volspec.Serial)
		require.NoError(t, err)
		assert.True(t, settled, "the first start of all")
		d, path, w := r.busy(t, fstype)
		settled, err = r.Recover(t.Context(), volspec.Serial)
		require.NoError(t, err)
		assert.True(t, settled, "nothing is frozen")

		r.left(t, d, path)
		assert.True(t, w.Stands())
		settled, err = r.Recover(t.Context(), volspec.Serial)
		require.NoError(t, err)
		assert.True(t, settled)
		w.Goes(t, slack)
		assert.Empty(t, r.records(t))

		// Without a record, as when the state was lost.
		require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045877, 0) }))
		assert.True(t, w.Stands())
		_, err = r.Recover(t.Context(), volspec.Serial)
		require.NoError(t, err)
		w.Goes(t, slack)
	})
}

// The engine took the mount away here, containers have it still: the record
// is all that is left.
func TestRecoverThawsWhatOnlyContainersSee(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		d := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype}
		r.format(t, d, fs)
		path := r.mount(t, d, fs)
		stop := disktest.Hide(t, path)
		r.left(t, d, path)
		require.NoError(t, r.Unmount(t.Context(), path))
		busy, err := r.Busy(d.Node)
		require.NoError(t, err)
		require.True(t, busy)

		settled, err := r.Recover(t.Context(), volspec.Serial)
		require.NoError(t, err)
		assert.True(t, settled)
		assert.Empty(t, r.records(t))
		// Mounted again it shares the filesystem, on which writing goes on.
		r2 := disk.New(disk.Options{Root: r.root, Dev: r.bay.Dev})
		require.NoError(t, r2.Mount(t.Context(), d.Node, path, fs))
		wrote := make(chan error, 1)
		go func() { wrote <- os.WriteFile(filepath.Join(path, "f"), []byte("x"), 0o600) }()
		select {
		case err := <-wrote:
			assert.NoError(t, err)
		case <-time.After(slack):
			t.Error("it is frozen")
			require.NoError(t, onDir(path, func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045878, 0) }))
		}
		require.NoError(t, r.Unmount(t.Context(), path))
		stop()
	})
}

// Records of disks that are gone, and what is no record, are no obstacle.
func TestRecoverOfNothing(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, sizes[volspec.Ext4]) // never mounted
	dir := filepath.Join(r.root, ".state", "freezes")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	for _, name := range []string{string(d.ID), "11111111-2222-4333-8444-555555555555", "odd name"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	settled, err := r.Recover(t.Context(), volspec.Serial)
	require.NoError(t, err)
	assert.True(t, settled)
	assert.Empty(t, r.records(t))
}

// While a guard of an earlier plugin lives it may still freeze: only when it
// is dead the matter is settled.
func TestRecoverWaitsForAGuardThatLives(t *testing.T) {
	r := newRig(t)
	d, path, w := r.busy(t, volspec.Ext4)
	f, err := r.Freeze(t.Context(), d.Node, path, wire.MaxFreezeLease)
	require.NoError(t, err)
	assert.True(t, w.Stands())
	settled, err := r.Recover(t.Context(), volspec.Serial)
	require.NoError(t, err)
	assert.False(t, settled)
	w.Goes(t, slack)
	assert.Len(t, r.records(t), 1)
	assert.False(t, f.Thaw().Held, "it was thawed under its hands")
	settled, err = r.Recover(t.Context(), volspec.Serial)
	require.NoError(t, err)
	assert.True(t, settled)
}
