package local

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// loopsOf are the loop devices on the image of r.
func (w *world) loopsOf(t *testing.T, r hypervisor.Ref) []*loop {
	t.Helper()
	all, err := loops(func(file string) bool { return file == w.path(r) })
	require.NoError(t, err)
	return all
}

func requireKind(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, errkind.Of(err), "%v", err)
}

// The guest checks the name before it uses a device; the loop device stays
// when the service ends.
func TestLoopDeviceAsTheGuestFindsIt(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	f, err := os.OpenFile(guest{w}.node(dev), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	require.NoError(t, err)
	name := unix.ByteSliceToString(info.File_name[:])
	assert.Equal(t, "m:"+volspec.Serial(r.Volume)+":"+string(w.a.id), name)
	assert.Len(t, name, 59)
	assert.Zero(t, info.Flags&unix.LO_FLAGS_AUTOCLEAR)
	sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	require.NoError(t, err)
	assert.Equal(t, 512, sector)
	st, err := f.Stat()
	require.NoError(t, err)
	assert.Equal(t, os.ModeDevice|0o600, st.Mode())
}

// A device that the kernel let go by itself, as that of a recovery point when
// its service has ended, leaves its node: it must not lead to the next use.
func TestDetachOfWhatTheKernelLetGo(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	node := guest{w}.node(w.attach(t, w.a, r, false))
	all := w.loopsOf(t, r)
	require.Len(t, all, 1)
	require.NoError(t, all[0].unbind(t.Context(), patience, true))
	require.FileExists(t, node)
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
	require.NoFileExists(t, node)
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
}

// Of several that attach one disk at the same time, in two services and for
// two VMs, one gets it.
func TestConcurrentAttach(t *testing.T) {
	w := newWorld(t, t.TempDir())
	other := w.open(t)
	for range 10 {
		r := w.disk(t, 16*volspec.MiB)
		var wg sync.WaitGroup
		results := make(chan error, 8)
		for i := range cap(results) {
			l, v := []*Local{w.Local, other}[i%2], []*vm{w.a, w.b}[i/2%2]
			wg.Go(func() {
				_, err := l.Attach(context.Background(), v.id, r, false)
				results <- err
			})
		}
		wg.Wait()
		close(results)
		var got int
		for err := range results {
			if err == nil {
				got++
				continue
			}
			requireKind(t, errkind.InUse, err)
		}
		assert.Equal(t, 4, got, "one VM has it, each time it asked")
		assert.Len(t, w.loopsOf(t, r), 1)
		all, err := other.Attached(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.NoError(t, other.Detach(t.Context(), all[0].VM, r))
		require.NoError(t, w.Delete(t.Context(), r))
	}
}

// A program that has the device open without having it mounted is in the way
// of detaching; and afterwards the device is what it was.
func TestDetachWhileRawOpen(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	f, err := os.OpenFile(guest{w}.node(dev), os.O_RDWR, 0)
	require.NoError(t, err)
	requireKind(t, errkind.InUse, w.Detach(t.Context(), w.a.id, r))
	assert.Zero(t, w.loopsOf(t, r)[0].info.Flags&unix.LO_FLAGS_AUTOCLEAR)
	_, err = f.WriteAt([]byte("works"), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	b, err := guest{w}.Read(dev, 0, 5)
	require.NoError(t, err, "it is not unbound when the program closes it")
	assert.Equal(t, "works", string(b))
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
	assert.Empty(t, w.loopsOf(t, r))
}

func TestReadOnlyCannotBeUndoneInTheGuest(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	before := w.hash(t, r)
	dev := w.attach(t, w.a, r, true)
	err := guest{w}.Write(dev, 0, []byte("x"))
	assert.True(t, errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EROFS), "%v", err)
	f, err := os.Open(guest{w}.node(dev))
	require.NoError(t, err)
	defer f.Close()
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 0) // root in the guest makes the device writable
	assert.Error(t, guest{w}.Write(dev, 0, []byte("x")))
	assert.Equal(t, before, w.hash(t, r))
}

// A node of an earlier use must not lead to another disk.
func TestStaleNodesAreRemoved(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	number := w.loopsOf(t, r)[0].dev
	node := guest{w}.node(dev)

	// after a crash between the loop device and its node, or with a wrong node
	for _, wrong := range []func(){
		func() {},
		func() { require.NoError(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(1, 0)))) },
		func() { require.NoError(t, unix.Mknod(node, unix.S_IFBLK|0o666, int(number))) },
		func() { require.NoError(t, os.WriteFile(node, []byte("x"), 0o666)) },
		func() { require.NoError(t, os.Symlink("/dev/null", node)) },
		func() { require.NoError(t, os.MkdirAll(filepath.Join(node, "sub"), 0o755)) },
	} {
		require.NoError(t, os.Remove(node))
		wrong()
		assert.Equal(t, dev, w.attach(t, w.a, r, false))
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(node, &st))
		assert.Equal(t, number, st.Rdev)
		assert.EqualValues(t, unix.S_IFBLK|0o600, st.Mode)
	}
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))

	// left with another VM, from a time before a reboot, say
	stale := filepath.Join(w.b.DevDir, "mooring", "00000000000000000000")
	require.NoError(t, os.MkdirAll(filepath.Dir(stale), 0o755))
	for n := range 64 {
		require.NoError(t, unix.Mknod(stale+"-"+string(rune('A'+n)), unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))))
	}
	w.attach(t, w.a, r, false)
	number = w.loopsOf(t, r)[0].dev
	require.Less(t, unix.Minor(number), uint32(64))
	left, err := os.ReadDir(filepath.Dir(stale))
	require.NoError(t, err)
	assert.Len(t, left, 63)
	for _, e := range left {
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(filepath.Join(filepath.Dir(stale), e.Name()), &st))
		assert.NotEqual(t, number, st.Rdev)
	}
}

// A VM owns its /dev. What it puts there harms nobody outside.
func TestHostileDevFolder(t *testing.T) {
	w := newWorld(t, t.TempDir())
	outside := t.TempDir()
	r := w.disk(t, 16*volspec.MiB)
	require.NoError(t, os.Symlink(outside, filepath.Join(w.a.DevDir, "mooring")))
	_, err := w.Attach(t.Context(), w.a.id, r, false)
	require.Error(t, err)
	left, err := os.ReadDir(outside)
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, w.loopsOf(t, r), "nothing is left behind")
	require.NoError(t, w.Delete(t.Context(), r))
}

func TestAttachWithoutDevFolder(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	require.NoError(t, os.RemoveAll(w.a.DevDir))
	_, err := w.Attach(t.Context(), w.a.id, r, false)
	requireKind(t, errkind.Unavailable, err)
	assert.Empty(t, w.loopsOf(t, r))
	w.attach(t, w.b, r, false)
	require.NoError(t, w.Detach(t.Context(), w.b.id, r))
}

// Somebody who puts an image on a loop device by hand has it.
func TestForeignLoopDevice(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	name := strings.TrimSpace(run(t, "losetup", "--find", "--show", w.path(r)))
	detach := func() { run(t, "losetup", "--detach", name) }
	_, err := w.Attach(t.Context(), w.a.id, r, false)
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, errkind.Text(err), name)
	requireKind(t, errkind.InUse, w.Delete(t.Context(), r))
	requireKind(t, errkind.Unsupported, w.Snapshot(t.Context(), r, "s1"))
	all, err := w.Attached(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
	detach()
	require.Eventually(t, func() bool { return len(w.loopsOf(t, r)) == 0 }, 5e9, 1e6)
	w.attach(t, w.a, r, false)
}

func TestManyAttachments(t *testing.T) {
	const n = 40
	w := newWorld(t, t.TempDir())
	var refs []hypervisor.Ref
	for i := range n {
		r := w.disk(t, 16*volspec.MiB)
		refs = append(refs, r)
		dev := w.attach(t, []*vm{w.a, w.b}[i%2], r, false)
		require.NoError(t, guest{w}.Write(dev, 0, []byte(r.Volume)))
	}
	all, err := w.Attached(t.Context())
	require.NoError(t, err)
	require.Len(t, all, n)
	for _, dev := range all {
		b, err := guest{w}.Read(dev, 0, 36)
		require.NoError(t, err)
		assert.Equal(t, string(dev.Volume), string(b), "each leads to its own disk")
	}
	var wg sync.WaitGroup
	for i, r := range refs {
		wg.Go(func() { assert.NoError(t, w.Detach(context.Background(), []*vm{w.a, w.b}[i%2].id, r)) })
	}
	wg.Wait()
	all, err = w.Attached(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
}

// The disk of an image that was removed behind the service's back is still
// attached: that is the truth. It can be detached.
func TestAttachedWithoutAnImage(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	require.NoError(t, os.Remove(w.path(r)))
	all, err := w.Attached(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
}

// The datastore's configured path may be a link, and its file system may be
// mounted in two places.
func TestAttachmentsUnderOtherPaths(t *testing.T) {
	base := t.TempDir()
	w := newWorld(t, filepath.Join(base, "real"))
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)

	require.NoError(t, os.Symlink(filepath.Join(base, "real"), filepath.Join(base, "link")))
	require.NoError(t, os.Mkdir(filepath.Join(base, "bind"), 0o755))
	run(t, "mount", "--bind", filepath.Join(base, "real"), filepath.Join(base, "bind"))
	t.Cleanup(func() { run(t, "umount", filepath.Join(base, "bind")) })
	for _, way := range []string{"link", "bind"} {
		o := w.o
		o.Datastores = nil
		for _, d := range w.o.Datastores {
			o.Datastores = append(o.Datastores, Datastore{d.Name, filepath.Join(base, way, d.Name)})
		}
		l, err := New(o)
		require.NoError(t, err)
		all, err := l.Attached(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []hypervisor.Device{dev}, all, way)
		_, err = l.Attach(t.Context(), w.b.id, r, false)
		requireKind(t, errkind.InUse, err)
	}
}

// A service in a mount namespace of its own attached the disk and is gone, its
// namespace with it. The next one finds it, also while the datastore is away.
func TestAttachedByAnEarlierService(t *testing.T) {
	base := mounted(t, "xfs", 400)
	w := newWorld(t, base)
	for _, end := range []func(hypervisor.Ref) error{
		func(r hypervisor.Ref) error { return w.Detach(t.Context(), w.a.id, r) },
		func(r hypervisor.Ref) error { return w.Fence(t.Context(), w.a.id, r) },
	} {
		for _, away := range []bool{false, true} {
			r := w.disk(t, 16*volspec.MiB)
			spec, err := json.Marshal(crashWork{Datastores: w.o.Datastores, VMs: w.o.VMs, Settle: w.o.Settle, VM: w.a.id, Disk: r, Attach: true})
			require.NoError(t, err)
			cmd := exec.Command("unshare", "--mount", "--propagation", "private", os.Args[0])
			cmd.Env = append(os.Environ(), crashEnv+"="+string(spec))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			dev := hypervisor.Device{Ref: r, VM: w.a.id, Serial: volspec.Serial(r.Volume), Size: 16 * volspec.MiB}
			require.Eventually(t, func() bool { // until the namespace has ended
				all, err := loops(func(file string) bool { return strings.HasPrefix(file, "/one/dockvols/") })
				return err == nil && len(all) == 1
			}, 10*time.Second, time.Millisecond)
			if away {
				w.setState(t, "one", hypervisor.Offline)
			}
			all, err := w.Attached(t.Context())
			require.NoError(t, err)
			assert.Equal(t, []hypervisor.Device{dev}, all)
			require.NoError(t, guest{w}.Write(dev, 0, []byte("works")))
			require.NoError(t, end(r))
			require.Error(t, guest{w}.Write(dev, 0, []byte("works")))
			all, err = w.Attached(t.Context())
			require.NoError(t, err)
			assert.Empty(t, all)
			w.setState(t, "one", hypervisor.Online)
			w.attach(t, w.b, r, false)
			require.NoError(t, w.Detach(t.Context(), w.b.id, r))
		}
	}
}
