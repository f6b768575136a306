package imagefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	testGroup  volspec.VMGroupID = "6f0f7d0e-0000-4000-8000-000000000001"
	testVolume volspec.VolumeID  = "6f0f7d0e-0000-4000-8000-000000000002"
)

var testRef = hypervisor.Ref{Datastore: "views", Group: testGroup, Volume: testVolume}

func opener(img image.Image) func(context.Context) (image.Image, error) {
	return func(context.Context) (image.Image, error) { return img, nil }
}

// runViews mounts and runs views until stop, or the end of the test.
func runViews(t *testing.T, dir string) (v *Views, stop func()) {
	t.Helper()
	v, err := NewViews(dir)
	require.NoError(t, err)
	require.NoError(t, v.Mount(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(stop)
	return v, stop
}

func newLocal(t *testing.T, store string) (*local.Local, volspec.VMID, string) {
	t.Helper()
	dev := filepath.Join(t.TempDir(), "dev")
	require.NoError(t, os.Mkdir(dev, 0o755))
	l, err := local.New(local.Options{
		Datastores: []local.Datastore{{Name: "views", Path: store}},
		VMs:        []local.VM{{Name: "imagefs-vm", DevDir: dev}}, Settle: time.Second,
	})
	require.NoError(t, err)
	vm := local.VMID("imagefs-vm")
	t.Cleanup(func() { _ = l.Fence(context.Background(), vm, testRef) })
	return l, vm, filepath.Join(dev, "mooring", volspec.Serial(testVolume))
}

// detach detaches what was unmounted. Other tests on this machine copy mounts
// into namespaces of their own and keep them for a while.
func detach(t *testing.T, l *local.Local, vm volspec.VMID) {
	t.Helper()
	var err error
	require.Eventually(t, func() bool {
		err = l.Detach(context.Background(), vm, testRef)
		return !errkind.Is(err, errkind.InUse)
	}, time.Minute, 10*time.Millisecond, "%v", err)
	require.NoError(t, err)
}

// A crashed point is plugged in by the hypervisor and mounted by the guest.
func TestViewAsADisk(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		data := pattern(5<<20+3, 9)
		d.write("data/file", data)
		path := d.crash()
		before, dir := hashOf(t, path), filepath.Join(t.TempDir(), "views")
		v, stop := runViews(t, dir)
		img := openImage(t, path)
		require.NoError(t, v.Add(t.Context(), testGroup, testVolume, opener(img)))
		assert.Equal(t, []ViewKey{{testGroup, testVolume}}, v.List())

		l, vm, node := newLocal(t, v.Path())
		stores, err := l.Datastores(t.Context())
		require.NoError(t, err)
		assert.Equal(t, hypervisor.ReadOnlyStore, stores[0].State, stores[0].Detail)
		assert.Equal(t, ViewsID, stores[0].ID)
		_, err = l.Attach(t.Context(), vm, testRef, false)
		requireKind(t, errkind.Unavailable, err)
		disk, err := l.Stat(t.Context(), testRef)
		require.NoError(t, err)
		assert.EqualValues(t, img.Size(), disk.Size)
		dev, err := l.Attach(t.Context(), vm, testRef, true)
		require.NoError(t, err)
		assert.True(t, dev.ReadOnly)
		assert.EqualValues(t, img.Size(), dev.Size)
		all, err := l.Attached(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []hypervisor.Device{dev}, all)

		d.umount() // as on another machine
		at := t.TempDir()
		run(t, "mount", "-o", "ro", node, at)
		have, err := os.ReadFile(filepath.Join(at, "data/file"))
		require.NoError(t, err)
		assert.Equal(t, data, have)
		requireKind(t, errkind.InUse, l.Detach(t.Context(), vm, testRef))
		run(t, "umount", at)
		detach(t, l, vm)
		checkView(t, fstype, filepath.Join(v.Path(), "dockvols", string(testGroup), string(testVolume)+".img"), path)

		require.NoError(t, v.Remove(testGroup, testVolume))
		assert.EqualValues(t, 1, img.closed.Load())
		_, err = l.Stat(t.Context(), testRef)
		requireKind(t, errkind.NotFound, err)
		assert.Empty(t, v.List())
		assert.Equal(t, before, hashOf(t, path), "the point was changed")
		stop()
		require.NoError(t, os.Remove(filepath.Join(dir, "store")))
		requireNothing(t, dir)
	})
}

// checkView: the view shows the same identity as the point, and a filesystem
// that its own tools find clean.
func checkView(t *testing.T, fstype, view, point string) {
	id := func(path string) string { return run(t, "blkid", "-p", "-o", "value", "-s", "UUID", path) }
	assert.Equal(t, id(point), id(view))
	switch fstype {
	case "ext4":
		out := run(t, "dumpe2fs", "-h", view)
		assert.NotContains(t, out, "needs_recovery")
		for _, what := range []string{"Mount count", "Last mount time"} {
			assert.Equal(t, lineOf(run(t, "dumpe2fs", "-h", point), what), lineOf(out, what))
		}
	case "xfs":
		run(t, "xfs_repair", "-n", "-f", view)
	case "btrfs":
		run(t, "btrfs", "check", "--readonly", view)
		out := run(t, "btrfs", "inspect-internal", "dump-super", view)
		assert.NotContains(t, out, "METADATA_UUID")
		assert.Equal(t, "0", strings.Fields(lineOf(out, "log_root"))[1])
	}
}

func lineOf(text, begin string) string {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, begin) {
			return line
		}
	}
	return ""
}

func TestFenceOfAView(t *testing.T) {
	d := newDisk(t, "ext4")
	d.write("f", pattern(8<<20, 1))
	v, _ := runViews(t, filepath.Join(t.TempDir(), "views"))
	require.NoError(t, v.Add(t.Context(), testGroup, testVolume, opener(openImage(t, d.clean()))))
	l, vm, node := newLocal(t, v.Path())
	_, err := l.Attach(t.Context(), vm, testRef, true)
	require.NoError(t, err)
	at := t.TempDir()
	run(t, "mount", "-o", "ro", node, at)
	require.NoError(t, l.Fence(t.Context(), vm, testRef))
	_, err = os.ReadFile(filepath.Join(at, "f"))
	assert.ErrorIs(t, err, unix.EIO)
	run(t, "umount", at)
	all, err := l.Attached(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
}

// The image is opened late and once, and again after it could not be opened.
func TestViewOpensLate(t *testing.T) {
	d := newDisk(t, "ext4")
	path := d.clean()
	v, _ := runViews(t, filepath.Join(t.TempDir(), "views"))
	var calls atomic.Int32
	var good atomic.Bool
	require.NoError(t, v.Add(t.Context(), testGroup, testVolume, func(context.Context) (image.Image, error) {
		calls.Add(1)
		if !good.Load() {
			return nil, errors.New("the repository is away")
		}
		return openImage(t, path), nil
	}))
	requireKind(t, errkind.Exists, v.Add(t.Context(), testGroup, testVolume, nil))
	requireKind(t, errkind.Invalid, v.Add(t.Context(), "../x", testVolume, nil))
	assert.Zero(t, calls.Load())
	file := filepath.Join(v.Path(), "dockvols", string(testGroup), string(testVolume)+".img")
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
	assert.Zero(t, calls.Load(), "a list opens nothing")
	for range 3 {
		_, err = os.Stat(file)
		require.ErrorIs(t, err, unix.EIO)
	}
	assert.EqualValues(t, 1, calls.Load(), "not again at once")
	good.Store(true)
	one := v.views[ViewKey{testGroup, testVolume}]
	one.mu.Lock()
	one.failed = time.Time{}
	one.mu.Unlock()
	for range 3 {
		st, err := os.Stat(file)
		require.NoError(t, err)
		assert.EqualValues(t, testMB<<20, st.Size())
	}
	assert.EqualValues(t, 2, calls.Load())
}

func TestDamageInAView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	require.NoError(t, os.WriteFile(path, pattern(8<<20, 2), 0o600))
	img := openImage(t, path)
	v, _ := runViews(t, filepath.Join(t.TempDir(), "views"))
	require.NoError(t, v.Add(t.Context(), testGroup, testVolume, opener(img)))
	bad := image.Extent{Offset: 4 << 20, Length: 64 << 10}
	img.damage(bad)
	file := filepath.Join(v.Path(), "dockvols", string(testGroup), string(testVolume)+".img")
	_, err := os.ReadFile(file)
	require.ErrorIs(t, err, unix.EIO)
	ranges, err := v.Damaged(testGroup, testVolume)
	assert.Equal(t, []image.Extent{bad}, ranges)
	requireKind(t, errkind.Corrupt, err)
}

func childView(dir string, img *fileImage) error {
	v, err := NewViews(dir)
	if err == nil {
		err = v.Mount(context.Background())
	}
	if err == nil {
		err = v.Add(context.Background(), testGroup, testVolume, opener(img))
	}
	if err == nil {
		fmt.Println("ready")
		err = v.Run(context.Background())
	}
	return err
}

// loopsOn are the loop devices on disks of a volume, of any datastore.
func loopsOn(t *testing.T, id volspec.VolumeID) (names []string) {
	t.Helper()
	files, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), string(id)) {
			names = append(names, f)
		}
	}
	return names
}

// A view that is attached when the service stops is let go.
func TestStopWhileAViewIsInUse(t *testing.T) {
	d := newDisk(t, "xfs")
	d.write("f", pattern(8<<20, 1))
	v, stop := runViews(t, filepath.Join(t.TempDir(), "views"))
	require.NoError(t, v.Add(t.Context(), testGroup, testVolume, opener(openImage(t, d.clean()))))
	l, vm, node := newLocal(t, v.Path())
	_, err := l.Attach(t.Context(), vm, testRef, true)
	require.NoError(t, err)
	at := t.TempDir()
	run(t, "mount", "-o", "ro", node, at)
	t.Cleanup(func() { _ = exec.Command("umount", "-l", at).Run() })
	stop()
	_, err = os.ReadFile(filepath.Join(at, "f"))
	require.ErrorIs(t, err, unix.EIO)
	run(t, "umount", at)
	assert.Eventually(t, func() bool { return len(loopsOn(t, testVolume)) == 0 }, time.Minute, 5*time.Millisecond)
	require.NoError(t, l.Detach(t.Context(), vm, testRef))
}

// The process dies while a guest has a view mounted.
func TestKilledWhileAViewIsInUse(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		d.write("f", pattern(8<<20, 1))
		path, dir := d.clean(), filepath.Join(t.TempDir(), "views")
		cmd := startChild(t, path, dir, "IMAGEFS_TEST_VIEW=1")
		store := filepath.Join(dir, "store")
		l, vm, node := newLocal(t, store)
		_, err := l.Attach(t.Context(), vm, testRef, true)
		require.NoError(t, err)
		at := t.TempDir()
		run(t, "mount", "-o", "ro", node, at)
		t.Cleanup(func() { _ = exec.Command("umount", "-l", at).Run() })
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()

		_, err = os.ReadFile(filepath.Join(at, "f"))
		require.ErrorIs(t, err, unix.EIO)
		_, err = os.Stat(filepath.Join(store, ".mooring-datastore"))
		require.ErrorIs(t, err, unix.ENOTCONN)
		stores, err := l.Datastores(t.Context())
		require.NoError(t, err)
		assert.Equal(t, hypervisor.Offline, stores[0].State)

		// The next process shows the same view again.
		v, _ := runViews(t, dir)
		require.NoError(t, v.Add(t.Context(), testGroup, testVolume, opener(openImage(t, path))))
		stores, err = l.Datastores(t.Context())
		require.NoError(t, err)
		assert.Equal(t, hypervisor.ReadOnlyStore, stores[0].State)
		all, err := l.Attached(t.Context())
		require.NoError(t, err)
		assert.Empty(t, all, "the dead disk is no attachment any more")
		require.NoError(t, l.Detach(t.Context(), vm, testRef))
		assert.NotEmpty(t, loopsOn(t, testVolume))
		run(t, "umount", at)
		assert.Eventually(t, func() bool { return len(loopsOn(t, testVolume)) == 0 }, time.Minute, 5*time.Millisecond)
		_, err = l.Attach(t.Context(), vm, testRef, true)
		require.NoError(t, err)
		run(t, "mount", "-o", "ro", node, at)
		b, err := os.ReadFile(filepath.Join(at, "f"))
		require.NoError(t, err)
		assert.Equal(t, pattern(8<<20, 1), b)
		run(t, "umount", at)
		detach(t, l, vm)
	})
}
