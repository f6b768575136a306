package disk_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/disk"
	"mooring.dev/mooring/plugin/internal/disk/disktest"
	"mooring.dev/mooring/plugin/internal/driver"
)

const mib = 1 << 20

var sizes = map[string]int64{volspec.Ext4: 64 * mib, volspec.XFS: 320 * mib, volspec.Btrfs: 320 * mib}

type rig struct {
	*disk.Guest
	bay  *disktest.Bay
	root string
}

func newRig(t *testing.T) rig {
	t.Helper()
	bay := disktest.NewBay(t)
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.Mkdir(root, 0o711))
	g := disk.New(disk.Options{Root: root, Dev: bay.Dev})
	t.Cleanup(func() {
		all, err := g.Mounted()
		assert.NoError(t, err)
		for path := range all {
			assert.NoError(t, g.Unmount(context.Background(), path))
		}
		assert.NoError(t, g.Open())
	})
	return rig{g, bay, root}
}

func (r rig) path(d *disktest.Disk) string { return filepath.Join(r.root, string(d.ID)) }

func (r rig) format(t *testing.T, d *disktest.Disk, fs driver.Filesystem) {
	t.Helper()
	require.NoError(t, r.CheckBlank(t.Context(), d.Node))
	require.NoError(t, r.Format(t.Context(), d.Node, fs))
}

func (r rig) mount(t *testing.T, d *disktest.Disk, fs driver.Filesystem) string {
	t.Helper()
	require.NoError(t, r.Ready(t.Context(), d.Node, fs))
	require.NoError(t, r.Mount(t.Context(), d.Node, r.path(d), fs))
	return r.path(d)
}

func eachFS(t *testing.T, fn func(t *testing.T, r rig, fstype string)) {
	for _, fstype := range []string{volspec.Ext4, volspec.XFS, volspec.Btrfs} {
		t.Run(fstype, func(t *testing.T) { fn(t, newRig(t), fstype) })
	}
}

func TestLifeOfADisk(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		ctx := t.Context()
		d := r.bay.NewDisk(t, sizes[fstype])
		dev, err := r.Find(ctx, driver.Disk{Serial: d.Serial, Size: sizes[fstype]})
		require.NoError(t, err)
		assert.Equal(t, d.Node, dev)

		uid, gid, mode := 1001, 1002, uint32(0o1770)
		fs := driver.Filesystem{Type: fstype, UUID: uuid.NewString(), UID: &uid, GID: &gid, Mode: &mode}
		r.format(t, d, fs)
		busy, err := r.Busy(dev)
		require.NoError(t, err)
		assert.False(t, busy, "nothing of formatting stays mounted")

		path := r.mount(t, d, fs)
		require.NoError(t, r.Mount(ctx, dev, path, fs), "mounting again is harmless")
		assert.Equal(t, 1, disktest.Mounts(t, r.root))
		var st unix.Stat_t
		require.NoError(t, unix.Stat(path, &st))
		assert.EqualValues(t, 1001, st.Uid)
		assert.EqualValues(t, 1002, st.Gid)
		assert.EqualValues(t, 0o1770, st.Mode&0o7777)
		require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte("kept"), 0o600))
		busy, err = r.Busy(dev)
		require.NoError(t, err)
		assert.True(t, busy)
		assert.True(t, errkind.Is(r.Format(ctx, dev, fs), errkind.InUse), "a mounted disk is never formatted")
		assert.True(t, errkind.Is(r.CheckBlank(ctx, dev), errkind.Corrupt))

		require.NoError(t, r.Unmount(ctx, path))
		require.NoError(t, r.Unmount(ctx, path), "unmounting again is harmless")
		assert.NoDirExists(t, path)
		r.mount(t, d, fs)
		data, err := os.ReadFile(filepath.Join(path, "f"))
		require.NoError(t, err)
		assert.Equal(t, "kept", string(data))
	})
}

func TestMountIsNodevNosuidUnlessAsked(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	fs := driver.Filesystem{Type: volspec.Ext4}
	r.format(t, d, fs)
	flags := func(opts ...string) int64 {
		fs.MountOpts = opts
		path := r.mount(t, d, fs)
		var st unix.Statfs_t
		require.NoError(t, unix.Statfs(path, &st))
		require.NoError(t, r.Unmount(t.Context(), path))
		return st.Flags & (unix.MS_NODEV | unix.MS_NOSUID | unix.MS_NOEXEC)
	}
	assert.EqualValues(t, unix.MS_NODEV|unix.MS_NOSUID, flags())
	assert.EqualValues(t, unix.MS_NOSUID|unix.MS_NOEXEC, flags("dev", "noexec", "commit=30"))
	assert.EqualValues(t, unix.MS_NODEV, flags("suid"))
}

func TestBusyInAnotherMountNamespace(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		d := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype}
		r.format(t, d, fs)
		path := r.mount(t, d, fs)
		stop := disktest.Hide(t, path)
		require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte("one filesystem"), 0o600))
		require.NoError(t, r.Unmount(t.Context(), path))
		assert.Zero(t, disktest.Mounts(t, r.root), "not in this namespace any more")

		busy, err := r.Busy(d.Node)
		require.NoError(t, err)
		assert.True(t, busy, "but alive in the other one")
		// Mounting it again joins the same filesystem: what the other side
		// wrote without syncing is there.
		require.NoError(t, r.Mount(t.Context(), d.Node, path, fs))
		data, err := os.ReadFile(filepath.Join(path, "f"))
		require.NoError(t, err)
		assert.Equal(t, "one filesystem", string(data))
		require.NoError(t, r.Unmount(t.Context(), path))

		stop()
		assert.Eventually(t, func() bool {
			busy, err := r.Busy(d.Node)
			return err == nil && !busy
		}, 5*time.Second, 10*time.Millisecond)
	})
}

func TestMountRefusesADeviceHeldByAnother(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	fs := driver.Filesystem{Type: volspec.Ext4}
	r.format(t, d, fs)
	fd, err := unix.Open(d.Node, unix.O_RDWR|unix.O_EXCL, 0)
	require.NoError(t, err)
	err = r.Mount(t.Context(), d.Node, r.path(d), fs)
	assert.True(t, errkind.Is(err, errkind.InUse), "%v", err)
	assert.NoDirExists(t, r.path(d))
	require.NoError(t, unix.Close(fd))
}

func TestGuardBelowTheMount(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	fs := driver.Filesystem{Type: volspec.Ext4}
	r.format(t, d, fs)
	path := r.mount(t, d, fs)
	// Pull the mount away behind the plugin's back: what remains is closed.
	require.NoError(t, unix.Unmount(path, 0))
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Zero(t, st.Mode().Perm())
	err = os.WriteFile(filepath.Join(path, "stray"), []byte("x"), 0o600)
	assert.ErrorIs(t, err, unix.EPERM, "even root cannot write where the disk is not")
	assert.Error(t, os.Remove(path))
	r.mount(t, d, fs)
	// With the mount in place the folder below can still be opened up.
	require.NoError(t, r.Open())
	require.NoError(t, unix.Unmount(path, 0))
	assert.NoError(t, os.Remove(path), "docker plugin rm can remove it")
}

func TestGrow(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		ctx := t.Context()
		d := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype}
		r.format(t, d, fs)
		path := r.mount(t, d, fs)
		sp, err := r.Grow(ctx, path, d.Node, false)
		require.NoError(t, err)
		assert.InDelta(t, sizes[fstype], sp.Bytes, 8*mib)
		assert.Empty(t, sp.Note)

		want := sizes[fstype] + 200*mib
		d.Grow(t, want)
		sp, err = r.Grow(ctx, path, d.Node, true)
		require.NoError(t, err)
		assert.Less(t, sp.Bytes, want, "read-only is left alone")
		sp, err = r.Grow(ctx, path, d.Node, false)
		require.NoError(t, err)
		if sp.Note == "" {
			assert.InDelta(t, want, sp.Bytes, 8*mib)
			return
		}
		require.Equal(t, volspec.Ext4, fstype, "only ext4 may refuse: %s", sp.Note)
		assert.Contains(t, sp.Note, "grows at the next mount")
		require.NoError(t, r.Unmount(ctx, path))
		r.mount(t, d, fs)
		sp, err = r.Grow(ctx, path, d.Node, false)
		require.NoError(t, err)
		assert.Empty(t, sp.Note)
		assert.InDelta(t, want, sp.Bytes, 8*mib)
	})
}

func TestCloneGetsItsOwnUUID(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		a := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype, UUID: uuid.NewString()}
		r.format(t, a, fs)
		path := r.mount(t, a, fs)
		require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte("copied"), 0o600))
		b := a.Clone(t) // while mounted: with a dirty journal
		own := fs
		own.UUID = uuid.NewString()
		r.mount(t, b, own)
		data, err := os.ReadFile(filepath.Join(r.path(b), "f"))
		require.NoError(t, err)
		assert.Equal(t, "copied", string(data))
		require.NoError(t, r.Unmount(t.Context(), r.path(b)))
		require.NoError(t, r.Ready(t.Context(), b.Node, own), "a second time there is nothing to do")
	})
}

func TestDirtyAndReadOnly(t *testing.T) {
	eachFS(t, func(t *testing.T, r rig, fstype string) {
		a := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype}
		r.format(t, a, fs)
		path := r.mount(t, a, fs)
		require.NoError(t, os.WriteFile(filepath.Join(path, "f"), []byte("dirty"), 0o600))
		b := a.Clone(t)
		require.NoError(t, r.Unmount(t.Context(), path))
		a.Unplug(t) // its twin is mounted next
		b.Unplug(t)
		b.Plug(t, true)
		ro := fs
		ro.ReadOnly = true
		r.mount(t, b, ro)
		err := os.WriteFile(filepath.Join(r.path(b), "g"), nil, 0o600)
		assert.ErrorIs(t, err, unix.EROFS)
		require.NoError(t, r.Unmount(t.Context(), r.path(b)))
		b.Unplug(t)
		b.Plug(t, false)
		r.mount(t, b, fs)
		data, err := os.ReadFile(filepath.Join(r.path(b), "f"))
		require.NoError(t, err)
		assert.Equal(t, "dirty", string(data))
	})
}

func TestDamagedFilesystemIsLeftAlone(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	f, err := os.OpenFile(d.Node, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("not a filesystem"), 4096)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	err = r.Ready(t.Context(), d.Node, driver.Filesystem{Type: volspec.Ext4})
	assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)
	err = r.Mount(t.Context(), d.Node, r.path(d), driver.Filesystem{Type: volspec.Ext4})
	assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)
}

func TestFindVerifies(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	_, err := r.Find(t.Context(), driver.Disk{Serial: "../../etc/passwd"})
	assert.True(t, errkind.Is(err, errkind.Invalid))
	_, err = r.Find(short(), driver.Disk{Serial: "0123456789abcdef0123"})
	assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	_, err = r.Lookup(driver.Disk{Serial: "0123456789abcdef0123"})
	assert.True(t, errkind.Is(err, errkind.NotFound), "%v", err)
	_, err = r.Lookup(driver.Disk{Serial: d.Serial, Size: 65 * mib})
	assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)

	// Another disk under this disk's name.
	other := r.bay.NewDisk(t, 64*mib)
	require.NoError(t, os.Rename(other.Node, d.Node))
	_, err = r.Find(short(), driver.Disk{Serial: d.Serial, Size: 64 * mib})
	assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	assert.ErrorContains(t, err, other.Serial)
	require.NoError(t, os.Rename(d.Node, other.Node))
	require.NoError(t, os.WriteFile(d.Node, make([]byte, 64), 0o600))
	_, err = r.Lookup(driver.Disk{Serial: d.Serial})
	assert.True(t, errkind.Is(err, errkind.Corrupt), "%v", err)
}

// A loop device is used again for other disks: it is not made read-only for
// ever.
func TestFindReadOnlyLeavesLoopDevices(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	dev, err := r.Find(t.Context(), driver.Disk{Serial: d.Serial, ReadOnly: true})
	require.NoError(t, err)
	f, err := os.OpenFile(dev, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(make([]byte, 4096), 0)
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
}

func TestFindWaitsForHotplug(t *testing.T) {
	r := newRig(t)
	d := r.bay.NewDisk(t, 64*mib)
	d.Unplug(t)
	found := make(chan error, 1)
	go func() {
		_, err := r.Find(t.Context(), driver.Disk{Serial: d.Serial, Size: 64 * mib})
		found <- err
	}()
	time.Sleep(50 * time.Millisecond)
	d.Plug(t, false)
	require.NoError(t, <-found)
}

func TestMkfsOptions(t *testing.T) {
	r := newRig(t)
	for fstype, opts := range map[string][]string{
		volspec.Ext4:  {"-E", "nodiscard", "-m", "0", "-b", "4096"},
		volspec.XFS:   {"-m", "reflink=0", "-K"},
		volspec.Btrfs: {"-m", "single", "-K"},
	} {
		d := r.bay.NewDisk(t, sizes[fstype])
		fs := driver.Filesystem{Type: fstype, UUID: uuid.NewString(), MkfsOpts: opts}
		r.format(t, d, fs)
		r.mount(t, d, fs)
	}
}
