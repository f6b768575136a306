// Package disktest makes real disks for tests: loop devices over sparse files
// that carry a serial as those of the local hypervisor do. Tests that use it
// need root and fail without.
package disktest

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
)

// Bay is a folder in the role of /dev, into which disks are plugged.
type Bay struct {
	Dev string
	dir string
}

// Disk is one plugged disk.
type Disk struct {
	ID     volspec.VolumeID
	Serial string
	Image  string
	Node   string // in the bay
	minor  uint32
	fd     *os.File // keeps the loop device configured
	bay    *Bay
}

// NewBay makes a bay in a temporary folder of t.
func NewBay(t testing.TB) *Bay {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test makes loop devices and must run as root")
	b := &Bay{dir: t.TempDir()}
	b.Dev = filepath.Join(b.dir, "dev")
	require.NoError(t, os.MkdirAll(filepath.Join(b.Dev, "mooring"), 0o755))
	return b
}

// NewDisk makes a new blank disk and plugs it in, writable.
func (b *Bay) NewDisk(t testing.TB, size int64) *Disk {
	t.Helper()
	id := volspec.VolumeID(uuid.NewString())
	d := &Disk{ID: id, Serial: volspec.Serial(id), Image: filepath.Join(b.dir, string(id)+".img"), bay: b}
	f, err := os.OpenFile(d.Image, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, f.Close())
	d.Plug(t, false)
	t.Cleanup(func() { d.Unplug(t) })
	return d
}

// Clone copies the disk's image to a new disk and plugs that in.
func (d *Disk) Clone(t testing.TB) *Disk {
	t.Helper()
	st, err := os.Stat(d.Image)
	require.NoError(t, err)
	unix.Sync()
	c := d.bay.NewDisk(t, st.Size())
	src, err := os.Open(d.Image)
	require.NoError(t, err)
	defer func() { _ = src.Close() }()
	dst, err := os.OpenFile(c.Node, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = src.WriteTo(dst)
	require.NoError(t, errors.Join(err, dst.Sync(), dst.Close()))
	return c
}

// Plug makes the loop device and its node. Plugged already: nothing.
func (d *Disk) Plug(t testing.TB, readOnly bool) {
	t.Helper()
	if d.fd != nil {
		return
	}
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	img, err := os.OpenFile(d.Image, mode, 0)
	require.NoError(t, err)
	defer func() { _ = img.Close() }()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	require.NoError(t, err)
	defer func() { _ = ctl.Close() }()
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		require.NoError(t, err)
		d.minor = uint32(n)
		d.node(t)
		f, err := os.OpenFile(d.Node, mode, 0)
		require.NoError(t, err)
		cfg := unix.LoopConfig{Fd: uint32(img.Fd())}
		if readOnly {
			cfg.Info.Flags = unix.LO_FLAGS_READ_ONLY
		}
		copy(cfg.Info.File_name[:], "m:"+d.Serial+":"+uuid.NewString())
		err = unix.IoctlLoopConfigure(int(f.Fd()), &cfg)
		if err == nil {
			d.fd = f
			return
		}
		require.NoError(t, f.Close())
		require.ErrorIs(t, err, unix.EBUSY)
	}
	t.Fatal("no free loop device")
}

func (d *Disk) node(t testing.TB) {
	t.Helper()
	d.Node = filepath.Join(d.bay.Dev, "mooring", d.Serial)
	if err := os.Remove(d.Node); err != nil {
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	require.NoError(t, unix.Mknod(d.Node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, d.minor))))
}

// Show makes another node of the disk, below dev, as the host does in a
// guest's /dev, until the test ends.
func (d *Disk) Show(t testing.TB, dev string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(dev, "mooring"), 0o755))
	node := filepath.Join(dev, "mooring", d.Serial)
	require.NoError(t, unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(7, d.minor))))
	t.Cleanup(func() {
		require.NoError(t, os.Remove(node))
		_ = os.Remove(filepath.Dir(node)) // only if it is empty
	})
}

// Unplug removes the node and the loop device, as soon as nobody uses it.
// Not plugged: nothing.
func (d *Disk) Unplug(t testing.TB) {
	t.Helper()
	if d.fd == nil {
		return
	}
	require.NoError(t, os.Remove(d.Node))
	deadline := time.Now().Add(5 * time.Second)
	for {
		_, err := unix.IoctlRetInt(int(d.fd.Fd()), unix.LOOP_CLR_FD)
		if err == nil {
			break
		}
		require.True(t, errors.Is(err, unix.EBUSY) && time.Now().Before(deadline), "unplug: %v", err)
		<-time.After(10 * time.Millisecond)
	}
	require.NoError(t, d.fd.Close())
	d.fd = nil
}

// Grow makes the disk larger while it is plugged.
func (d *Disk) Grow(t testing.TB, size int64) {
	t.Helper()
	require.NoError(t, os.Truncate(d.Image, size))
	if d.fd != nil {
		_, err := unix.IoctlRetInt(int(d.fd.Fd()), unix.LOOP_SET_CAPACITY)
		require.NoError(t, err)
	}
}

// Hide binds path into the mount namespace of a process of its own, as a
// container has its volumes, and returns what ends that process.
func Hide(t testing.TB, path string) (stop func()) {
	t.Helper()
	inside := t.TempDir()
	require.NoError(t, unix.Mount(path, inside, "", unix.MS_BIND, ""))
	c := exec.CommandContext(context.Background(), "sleep", "600")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, c.Start())
	require.NoError(t, unix.Unmount(inside, 0)) // here; the process has its copy
	var once sync.Once
	stop = func() {
		once.Do(func() {
			require.NoError(t, c.Process.Kill())
			_ = c.Wait() // killed
		})
	}
	t.Cleanup(stop)
	return stop
}

// Mounts counts the mounts below dir in this namespace's table.
func Mounts(t testing.TB, dir string) (n int) {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			n++
		}
	}
	return n
}
