package local

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func (w *world) disk(t *testing.T, size volspec.Size) hypervisor.Ref {
	t.Helper()
	r := newRef()
	require.NoError(t, w.Create(t.Context(), r, size, volspec.Thin))
	return r
}

func newRef() hypervisor.Ref {
	return hypervisor.Ref{Datastore: "one", Group: volspec.VMGroupID(uuid.NewString()), Volume: volspec.VolumeID(uuid.NewString())}
}

func (w *world) attach(t *testing.T, v *vm, r hypervisor.Ref, readOnly bool) hypervisor.Device {
	t.Helper()
	dev, err := w.Attach(t.Context(), v.id, r, readOnly)
	require.NoError(t, err)
	return dev
}

func (w *world) hash(t *testing.T, r hypervisor.Ref) string {
	t.Helper()
	f, err := os.Open(w.path(r))
	require.NoError(t, err)
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, 1<<30))
	require.Less(t, n, int64(1<<30), "the image has grown beyond all measure")
	require.NoError(t, err)
	return hex.EncodeToString(h.Sum(nil))
}

// writer is a program in a VM that writes and syncs without end. It says what
// became of it when a write fails.
type writer struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func (v *vm) writer(t *testing.T, file string) *writer {
	t.Helper()
	script := `i=0; while dd if=/dev/urandom of="$0" bs=64k count=4 seek=$((i % 32 * 4)) conv=notrunc,fsync 2>/dev/null; do i=$((i+1)); echo $i; done; echo failed; exec sleep infinity <"$0"`
	cmd := exec.Command("nsenter", "--target", strconv.Itoa(v.cmd.Process.Pid), "--mount", "sh", "-c", script, file)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	w := &writer{cmd, bufio.NewScanner(out)}
	t.Cleanup(w.stop)
	for range 3 {
		require.True(t, w.lines.Scan(), "the writer does not write")
	}
	return w
}

func (w *writer) failed() bool {
	for range 1000 {
		if !w.lines.Scan() {
			return false
		}
		if w.lines.Text() == "failed" {
			return true
		}
	}
	return false
}

func (w *writer) stop() {
	_ = w.cmd.Process.Kill()
	_ = w.cmd.Wait()
}

// A file system of the guest is mounted and written to while the VM is fenced.
// Then nothing changes the image: not the writer, which is told, not what was
// in memory, and not a late unmount. The disk is of use at once, elsewhere.
func TestFenceUnderWriters(t *testing.T) {
	sizes := map[string]volspec.Size{"ext4": 48 * volspec.MiB, "xfs": 300 * volspec.MiB, "btrfs": 128 * volspec.MiB}
	for store, insides := range map[string][]string{
		"ext4": {"ext4", "xfs", "btrfs"}, "xfs": {"ext4", "xfs", "btrfs"}, "btrfs": {"ext4"}, "tmpfs": {"ext4"},
	} {
		for _, inside := range insides {
			t.Run(store+" holding "+inside, func(t *testing.T) {
				fenceUnderWriter(t, newWorld(t, mounted(t, store, 800)), inside, sizes[inside])
			})
		}
	}
}

func fenceUnderWriter(t *testing.T, w *world, fstype string, size volspec.Size) {
	ctx := t.Context()
	r := w.disk(t, size)
	dev := w.attach(t, w.a, r, false)
	guest{w}.mount(t, dev, fstype)
	at := filepath.Join(filepath.Dir(w.a.DevDir), "mnt-"+dev.Serial)
	prog := w.a.writer(t, filepath.Join(at, "file"))
	out, err := w.a.inside("sh", "-c", `echo kept >"$0/synced" && sync -f "$0/synced" && dd if=/dev/zero of="$0/unsynced" bs=1M count=8 2>/dev/null`, at)
	require.NoError(t, err, "%s", out)

	require.NoError(t, w.Fence(ctx, w.a.id, r))
	before := w.hash(t, r)
	assert.True(t, prog.failed(), "the writer learns that its disk is gone")
	_, err = os.Lstat(guest{w}.node(dev))
	assert.ErrorIs(t, err, os.ErrNotExist)
	out, err = w.a.inside("sync", "-f", at)
	if err == nil { // a file system that has given up has nothing to sync
		t.Logf("sync after the fence: %s", out)
	}
	require.Equal(t, before, w.hash(t, r), "nothing reaches the image")

	prog.stop()
	out, err = w.a.inside("umount", at)
	require.NoError(t, err, "%s", out)
	require.Equal(t, before, w.hash(t, r), "a late unmount writes nothing")

	dev = w.attach(t, w.b, r, false)
	require.NoError(t, os.MkdirAll(at, 0o755))
	out, err = w.b.inside("mount", guest{w}.node(dev), at)
	require.NoError(t, err, "as after a power failure: %s", out)
	out, err = w.b.inside("cat", filepath.Join(at, "synced"))
	require.NoError(t, err)
	assert.Equal(t, "kept\n", string(out), "what was synced is there")
	_, err = w.b.inside("umount", at)
	require.NoError(t, err)
	require.NoError(t, w.Detach(ctx, w.b.id, r))
}

// While the fenced VM still has its dead mount, the next one works.
func TestFencedAndTakenAtTheSameTime(t *testing.T) {
	for _, store := range []string{"ext4", "xfs"} {
		w := newWorld(t, mounted(t, store, 700))
		r := w.disk(t, 64*volspec.MiB)
		dev := w.attach(t, w.a, r, false)
		guest{w}.mount(t, dev, "ext4")
		at := filepath.Join(filepath.Dir(w.a.DevDir), "mnt-"+dev.Serial)
		prog := w.a.writer(t, filepath.Join(at, "file"))
		require.NoError(t, w.Fence(t.Context(), w.a.id, r))

		dev = w.attach(t, w.b, r, false)
		umount := guest{w}.mountOld(t, dev)
		out, err := w.b.inside("sh", "-c", `dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\0' x >"$0/new" && sync -f "$0/new"`, at)
		require.NoError(t, err, "%s", out)
		assert.True(t, prog.failed())
		prog.stop()
		out, err = w.a.inside("umount", at)
		require.NoError(t, err, "%s", out)
		umount()
		require.NoError(t, w.Detach(t.Context(), w.b.id, r))
		run(t, "e2fsck", "-fn", w.path(r))
		all, err := w.Attached(t.Context())
		require.NoError(t, err)
		assert.Empty(t, all)
	}
}

// mountOld mounts what is on the device.
func (g guest) mountOld(t *testing.T, dev hypervisor.Device) func() {
	v, at := g.vms[dev.VM], filepath.Join(filepath.Dir(g.vms[dev.VM].DevDir), "mnt-"+dev.Serial)
	require.NoError(t, os.MkdirAll(at, 0o755))
	out, err := v.inside("mount", g.node(dev), at)
	require.NoError(t, err, "%s", out)
	return func() {
		out, err := v.inside("umount", at)
		require.NoError(t, err, "%s", out)
	}
}

// Programs that have the device itself open are cut off too, also those that
// have it mapped or write around the cache.
func TestFenceRawOpeners(t *testing.T) {
	for _, store := range []string{"ext4", "btrfs"} {
		w := newWorld(t, mounted(t, store, 600))
		r := w.disk(t, 16*volspec.MiB)
		dev := w.attach(t, w.a, r, false)
		f, err := os.OpenFile(guest{w}.node(dev), os.O_RDWR, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt([]byte("before"), 0)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		mem, err := unix.Mmap(int(f.Fd()), 0, 8192, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		require.NoError(t, err)
		defer unix.Munmap(mem)
		copy(mem[4096:], "mapped")

		require.NoError(t, w.Fence(t.Context(), w.a.id, r))
		before := w.hash(t, r)
		_, errWrite := f.WriteAt([]byte("after!"), 0)
		errSync := f.Sync()
		assert.True(t, errWrite != nil || errSync != nil, "the program is told")
		if put(mem, "after mapped") { // else it is told by a signal
			assert.Error(t, errors.Join(unix.Msync(mem, unix.MS_SYNC), f.Sync()))
		}
		require.Equal(t, before, w.hash(t, r))
		taken := w.attach(t, w.b, r, false)
		b, err := guest{w}.Read(taken, 0, 6)
		require.NoError(t, err)
		assert.Equal(t, "before", string(b))
		require.NoError(t, w.Detach(t.Context(), w.b.id, r))
	}
}

// put writes to mapped memory; false: SIGBUS.
func put(mem []byte, s string) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { ok = recover() == nil }()
	copy(mem, s)
	return true
}

// A request that was on its way when the device was cut, and is late, does
// not reach the disk: not its data, and not its size.
func TestStragglerAfterTheFence(t *testing.T) {
	for _, store := range []string{"ext4", "xfs", "btrfs", "tmpfs"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, mounted(t, store, 400))
			r := newRef()
			size := 16*volspec.MiB + sector // not a whole number of pages
			require.NoError(t, w.Create(t.Context(), r, size, volspec.ZeroedThick))
			dev := w.attach(t, w.a, r, false)
			require.NoError(t, guest{w}.Write(dev, 0, []byte("before")))
			late, err := os.OpenFile(w.path(r), os.O_RDWR, 0) // the file that the device has
			require.NoError(t, err)
			defer late.Close()
			require.NoError(t, w.Fence(t.Context(), w.a.id, r))

			// The kernel carries such a request out where the device has been
			// moved to. A file system may refuse it there.
			_, _ = late.WriteAt([]byte("late"), farAway)
			d, err := w.Stat(t.Context(), r)
			require.NoError(t, err)
			assert.Equal(t, size, d.Size)
			assert.GreaterOrEqual(t, d.Allocated, 16*volspec.MiB, "it stays what it was")
			dev = w.attach(t, w.b, r, false)
			b, err := guest{w}.Read(dev, 0, 6)
			require.NoError(t, err)
			assert.Equal(t, "before", string(b))
			require.NoError(t, w.Detach(t.Context(), w.b.id, r))
			require.NoError(t, w.Grow(t.Context(), r, 2*size))
			d, err = w.Stat(t.Context(), r)
			require.NoError(t, err)
			assert.GreaterOrEqual(t, d.Allocated, 32*volspec.MiB, "and grows as it would have")
		})
	}
}

// A fenced loop device goes away with its last user.
func TestFencedDeviceIsUnbound(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	f, err := os.Open(guest{w}.node(dev))
	require.NoError(t, err)
	require.NoError(t, w.Fence(t.Context(), w.a.id, r))
	of := func() int {
		all, err := loops(func(file string) bool { return file == w.path(r) })
		require.NoError(t, err)
		return len(all)
	}
	assert.Equal(t, 1, of())
	require.NoError(t, f.Close())
	require.Eventually(t, func() bool { return of() == 0 }, 10*time.Second, time.Millisecond)
}

// A VM that is off but whose mounts the kernel does not let go of, because
// somebody else has a copy of them, is cut off after a while.
func TestDetachFromDeadVMWithALeakedMount(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 32*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	guest{w}.Mount(t, dev)
	// another process enters the VM's mount namespace and stays
	leak := exec.Command("nsenter", "--target", strconv.Itoa(w.a.cmd.Process.Pid), "--mount", "sleep", "infinity")
	require.NoError(t, leak.Start())
	defer func() { _ = leak.Process.Kill(); _ = leak.Wait() }()
	require.Eventually(t, func() bool {
		name, _ := os.ReadFile("/proc/" + strconv.Itoa(leak.Process.Pid) + "/comm")
		return string(name) == "sleep\n"
	}, 10*time.Second, time.Millisecond)
	w.a.off()
	start := time.Now()
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
	assert.Greater(t, time.Since(start), w.o.Settle, "it was waited for")
	before := w.hash(t, r)
	_ = leak.Process.Kill()
	_ = leak.Wait()
	dev = w.attach(t, w.b, r, true)
	assert.Equal(t, before, w.hash(t, r))
	assert.True(t, dev.ReadOnly)
	require.NoError(t, w.Detach(t.Context(), w.b.id, r))
}

// Where the kernel refuses, the VM keeps its disk, and the sentence says what
// helps.
func TestFenceThatCannotBeDone(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	dev := w.attach(t, w.a, r, false)
	var err error
	withoutCapability(t, unix.CAP_SYS_ADMIN, func() { err = w.Fence(t.Context(), w.a.id, r) })
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, errkind.Text(err), "power off VM vm-a")
	require.NoError(t, guest{w}.Write(dev, 0, []byte("still there")))
	all, err := w.Attached(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
}

// withoutCapability does something on a thread that lacks a right of root's.
func withoutCapability(t *testing.T, capability uint, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	require.NoError(t, unix.Capget(&head, &have[0]))
	less := have
	less[capability/32].Effective &^= 1 << (capability % 32)
	require.NoError(t, unix.Capset(&head, &less[0]))
	do()
	require.NoError(t, unix.Capset(&head, &have[0]))
}
