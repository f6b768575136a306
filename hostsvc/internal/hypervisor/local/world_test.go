package local

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/pkg/volspec"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
	return string(out)
}

// mounted makes a file system of that type in an image and mounts it.
func mounted(t *testing.T, fstype string, megabytes int) string {
	t.Helper()
	dir := t.TempDir()
	img, at := filepath.Join(dir, "fs.img"), filepath.Join(dir, "mnt")
	require.NoError(t, os.Mkdir(at, 0o755))
	if fstype == "tmpfs" {
		run(t, "mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "none", at)
		t.Cleanup(func() { run(t, "umount", at) })
		return at
	}
	f, err := os.Create(img)
	require.NoError(t, err)
	require.NoError(t, f.Truncate(int64(megabytes)<<20))
	require.NoError(t, f.Close())
	run(t, "mkfs."+fstype, "-q", img)
	run(t, "mount", "-o", "loop", img, at)
	t.Cleanup(func() { run(t, "umount", at) })
	return at
}

// vm is a process in a mount namespace of its own.
type vm struct {
	VM
	id  volspec.VMID
	cmd *exec.Cmd
}

// vmInit has none of what is mounted below $1, here or by tests of other packages
// that run meanwhile: as long as anybody has a copy their loop devices do not go.
const vmInit = `awk -v below="$1/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo |
sort -r | while read -r m; do umount -l "$m"; done; exec sleep infinity`

func (v *vm) on(t *testing.T) {
	v.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", vmInit, "sh", os.TempDir())
	require.NoError(t, v.cmd.Start())
	pid := v.cmd.Process.Pid
	require.Eventually(t, func() bool { // until it is in its namespace and has become sleep
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return string(name) == "sleep\n"
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, os.WriteFile(v.InitPIDFile, []byte(strconv.Itoa(pid)+"\n"), 0o644))
}

func (v *vm) off() {
	if v.cmd != nil {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		v.cmd = nil
	}
}

// inside runs a program in the VM.
func (v *vm) inside(args ...string) ([]byte, error) {
	args = append([]string{"--target", strconv.Itoa(v.cmd.Process.Pid), "--mount"}, args...)
	return exec.Command("nsenter", args...).CombinedOutput()
}

// world is a Local with two datastores and two VMs.
type world struct {
	*Local
	o   Options
	vms map[volspec.VMID]*vm
	a   *vm
	b   *vm
}

// newWorld makes datastores one and two in the folders base/one and base/two.
func newWorld(t *testing.T, base string) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{vms: map[volspec.VMID]*vm{}}
	w.o = Options{Settle: 2 * time.Second, Poll: 20 * time.Millisecond}
	for _, name := range []string{"two", "one"} {
		d := Datastore{Name: name, Path: filepath.Join(base, name)}
		require.NoError(t, os.MkdirAll(d.Path, 0o755))
		w.o.Datastores = append(w.o.Datastores, d)
	}
	for _, name := range []string{"vm-b", "vm-a"} {
		v := &vm{id: VMID(name), VM: VM{
			Name: name, Datastore: "one", DevDir: filepath.Join(dir, name), InitPIDFile: filepath.Join(dir, name+".pid"),
		}}
		require.NoError(t, os.Mkdir(v.DevDir, 0o755))
		v.on(t)
		t.Cleanup(v.off)
		w.vms[v.id] = v
		w.o.VMs = append(w.o.VMs, v.VM)
		w.a, w.b = v, w.a
	}
	w.Local = w.open(t)
	for _, d := range w.o.Datastores {
		_, err := w.Adopt(t.Context(), d.Name)
		require.NoError(t, err)
	}
	t.Cleanup(func() { w.clean(t) })
	return w
}

func (w *world) open(t *testing.T) *Local {
	t.Helper()
	l, err := New(w.o)
	require.NoError(t, err)
	return l
}

// clean detaches what a test left attached, and checks that nothing of the
// world is left in the kernel.
func (w *world) clean(t *testing.T) {
	ctx := context.Background()
	for _, v := range w.vms {
		v.off()
	}
	all, err := w.Attached(ctx)
	require.NoError(t, err)
	for _, d := range all {
		require.NoError(t, w.Fence(ctx, d.VM, d.Ref))
	}
	require.Eventually(t, func() bool {
		left, err := loops(func(file string) bool {
			return strings.HasPrefix(file, filepath.Dir(w.o.Datastores[0].Path)+"/")
		})
		return err == nil && len(left) == 0
	}, 20*time.Second, 10*time.Millisecond, "loop devices are left")
}

func (w *world) path(r hypervisor.Ref) string {
	for _, d := range w.o.Datastores {
		if d.Name == r.Datastore {
			return filepath.Join(d.Path, volsDir, string(r.Group), imgName(r))
		}
	}
	return ""
}

func (w *world) storePath(name string) string {
	for _, d := range w.o.Datastores {
		if d.Name == name {
			return d.Path
		}
	}
	return ""
}

func (w *world) setPower(t *testing.T, id volspec.VMID, on bool) {
	w.vms[id].off()
	if on {
		w.vms[id].on(t)
	}
}

func (w *world) corrupt(t *testing.T, r hypervisor.Ref) {
	require.NoError(t, os.RemoveAll(w.path(r)))
	require.NoError(t, os.MkdirAll(filepath.Join(w.path(r), "sub"), 0o755))
}

// setState covers a datastore by an empty file system, or makes it read-only.
func (w *world) setState(t *testing.T, name string, s hypervisor.DatastoreState) {
	path := w.storePath(name)
	for unix.Unmount(path, 0) == nil { // what an earlier call put there
	}
	switch s {
	case hypervisor.Offline:
		run(t, "mount", "-t", "tmpfs", "none", path)
	case hypervisor.ReadOnlyStore:
		run(t, "mount", "--bind", path, path)
		run(t, "mount", "-o", "remount,bind,ro", path)
	case hypervisor.Online:
		return
	}
	t.Cleanup(func() {
		for unix.Unmount(path, 0) == nil {
		}
	})
}

func (w *world) fixture(*testing.T) hypervisortest.Fixture {
	f := hypervisortest.Fixture{
		Hypervisor: w.Local, Datastore: "one", Other: "two", Guest: guest{w},
		Reopen:   func(t *testing.T) hypervisor.Hypervisor { return w.open(t) },
		Corrupt:  w.corrupt,
		SetPower: w.setPower,
		SetState: w.setState,
	}
	for i, v := range []*vm{w.a, w.b} {
		f.VMs[i] = hypervisor.VM{ID: v.id, Name: v.Name, Datastore: v.Datastore}
	}
	return f
}

type guest struct{ *world }

func (g guest) node(dev hypervisor.Device) string {
	return filepath.Join(g.vms[dev.VM].DevDir, "mooring", dev.Serial)
}

func (g guest) Write(dev hypervisor.Device, off int64, data []byte) error {
	f, err := os.OpenFile(g.node(dev), os.O_WRONLY|os.O_SYNC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, off)
	return err
}

func (g guest) Read(dev hypervisor.Device, off int64, n int) ([]byte, error) {
	f, err := os.Open(g.node(dev))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	return b, err
}

func (g guest) Size(dev hypervisor.Device) (volspec.Size, error) {
	f, err := os.Open(g.node(dev))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := deviceSize(f)
	return volspec.Size(n), err
}

func (g guest) Mount(t *testing.T, dev hypervisor.Device) func() {
	return g.mount(t, dev, "ext4")
}

func (g guest) mount(t *testing.T, dev hypervisor.Device, fstype string) func() {
	t.Helper()
	v, at := g.vms[dev.VM], filepath.Join(filepath.Dir(g.vms[dev.VM].DevDir), "mnt-"+dev.Serial)
	require.NoError(t, os.MkdirAll(at, 0o755))
	run(t, "mkfs."+fstype, "-q", g.node(dev))
	out, err := v.inside("mount", "-t", fstype, g.node(dev), at)
	require.NoError(t, err, "%s", out)
	return func() {
		out, err := v.inside("umount", at)
		require.NoError(t, err, "%s", bytes.TrimSpace(out))
	}
}
