package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/disk/disktest"
)

const slack = 2 * time.Second // beyond a lease

// service is as much of a host service as a plugin with one volume needs.
type service struct {
	volume  wire.Volume
	orders  chan wire.FreezeOrder
	reports chan wire.FreezeReport
	answer  chan bool
}

func (s *service) attachment() wire.Attachment {
	return wire.Attachment{
		ID: s.volume.ID, Name: s.volume.Name, Epoch: s.volume.Epoch, Serial: s.volume.Serial, Size: s.volume.SizeBytes,
		Format: volspec.Formatted, Spec: s.volume.Spec,
	}
}

// serve answers on the socket that start tells the plugin of.
func (s *service) serve(t *testing.T, dir string) {
	t.Helper()
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) any) {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" "+wire.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			assert.NoError(t, json.NewEncoder(w).Encode(f(r)))
		})
	}
	handle("GET /volumes/{name}", func(*http.Request) any { return s.volume })
	handle("GET /volumes", func(*http.Request) any { return wire.VolumeList{Volumes: []wire.Volume{s.volume}} })
	handle("POST /volumes/{name}/attach", func(*http.Request) any { return s.attachment() })
	handle("POST /volumes/{name}/detach", func(*http.Request) any { return wire.Message{} })
	handle("POST /heartbeat", func(*http.Request) any { return wire.HeartbeatReply{Attachments: []wire.Attachment{s.attachment()}} })
	handle("GET /freezes", func(r *http.Request) any {
		select {
		case o := <-s.orders:
			return wire.FreezeOrders{Orders: []wire.FreezeOrder{o}}
		case <-r.Context().Done():
			return wire.FreezeOrders{}
		}
	})
	mux.HandleFunc("POST "+wire.Prefix+"/freezes/{id}", func(w http.ResponseWriter, r *http.Request) {
		var in wire.FreezeReport
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&in))
		s.reports <- in
		var out wire.FreezeAnswer
		if in.State == wire.FreezeFrozen {
			select {
			case out.Done = <-s.answer:
			case <-r.Context().Done():
				return
			}
		}
		_ = json.NewEncoder(w).Encode(out) // it may be dead
	})
	l, err := net.Listen("unix", filepath.Join(dir, "host.sock"))
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	srv := &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, srv.Close())
		<-done
	})
}

// said is the plugin's next report.
func (s *service) said(t *testing.T) wire.FreezeReport {
	t.Helper()
	select {
	case r := <-s.reports:
		return r
	case <-time.After(20 * time.Second):
		require.Fail(t, "no report")
		return wire.FreezeReport{}
	}
}

func (s *service) order(lease time.Duration) {
	s.orders <- wire.FreezeOrder{ID: "o", Volume: s.volume.ID, Name: s.volume.Name, Epoch: s.volume.Epoch, LeaseMS: lease.Milliseconds()}
}

// frozenProcess is a plugin, the program itself, that has a volume mounted to
// which somebody writes, and frozen for lease.
func frozenProcess(t *testing.T, lease time.Duration, change ...func(*exec.Cmd)) (p *process, s *service, w *disktest.Writer, dir string) {
	t.Helper()
	const size = 64 << 20
	d := disktest.NewBay(t).NewDisk(t, size)
	d.Show(t, "/dev")
	out, err := exec.Command("mkfs.ext4", "-q", d.Node).CombinedOutput()
	require.NoError(t, err, string(out))
	s = &service{
		volume: wire.Volume{
			ID: d.ID, Name: "v@ds", Volume: "v", Datastore: "ds", State: volspec.Ready, Format: volspec.Formatted, SizeBytes: size,
			Spec: volspec.Spec{Size: size, FSType: volspec.Ext4}, Epoch: 3, Serial: d.Serial,
		},
		orders: make(chan wire.FreezeOrder, 1), reports: make(chan wire.FreezeReport, 10), answer: make(chan bool, 1),
	}
	dir = t.TempDir()
	s.serve(t, dir)
	path := filepath.Join(dir, "mnt", string(d.ID))
	t.Cleanup(func() {
		if f, err := os.Open(path); err == nil {
			_ = unix.IoctlSetInt(int(f.Fd()), 0xc0045878, 0) // a test that fails must not leave the machine with it
			_ = f.Close()
		}
		_ = unix.Unmount(path, 0)
		_ = exec.Command("chattr", "-i", path).Run()
	})
	p = start(t, dir, change...)
	a, err := p.call("VolumeDriver.Mount", `{"Name":"v","ID":"m"}`)
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"Mountpoint":%q}`, path), a)
	w, _ = disktest.Write(t, path)
	w.Goes(t, slack)
	s.order(lease)
	r := s.said(t)
	require.Equal(t, wire.FreezeFrozen, r.State, r.Detail)
	assert.LessOrEqual(t, r.LeftMS, lease.Milliseconds())
	assert.True(t, w.Stands(), "nothing is written")
	return p, s, w, dir
}

func (p *process) guard(t *testing.T) int {
	t.Helper()
	pids := disktest.Children(t, p.cmd.Process.Pid)
	require.Len(t, pids, 1)
	return pids[0]
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
}

// gone waits until a process is gone.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for syscall.Kill(pid, 0) == nil {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if strings.Contains(string(data), ") Z ") {
			return // nobody waits for it
		}
		require.True(t, time.Now().Before(deadline), "process %d is still there", pid)
		time.Sleep(5 * time.Millisecond)
	}
}

func records(t *testing.T, dir string) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(dir, "mnt", ".state", "freezes"))
	require.NoError(t, err)
	return len(all)
}

func TestProcessFreezes(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second)
	begin := time.Now()
	a, err := p.call("VolumeDriver.Get", `{"Name":"v"}`)
	require.NoError(t, err)
	assert.Contains(t, a, `"Mountpoint"`, "the plugin itself does not wait")
	assert.Less(t, time.Since(begin), slack)
	s.answer <- true
	r := s.said(t)
	assert.Equal(t, wire.FreezeThawed, r.State)
	assert.True(t, r.Held, r.Detail)
	assert.GreaterOrEqual(t, r.StallMS, int64(200))
	w.Goes(t, slack)
	assert.Less(t, w.Longest(), 5*time.Second, "writers waited for the hold")
	assert.Zero(t, records(t, dir))
	assert.Empty(t, disktest.Children(t, p.cmd.Process.Pid))

	// Stopped while it freezes, it thaws first.
	s.order(10 * time.Second)
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
	w.Goes(t, slack)
	assert.Equal(t, wire.FreezeThawed, s.said(t).State)
	assert.Zero(t, records(t, dir))
}

func TestProcessKilledWhileItFreezes(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second)
	guard := p.guard(t)
	p.kill(t)
	w.Goes(t, slack)
	gone(t, guard)
	// The record is left, the next one takes care of it, and freezes again.
	assert.Equal(t, 1, records(t, dir))
	p = start(t, dir)
	s.order(time.Second)
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	r := s.said(t)
	assert.Equal(t, wire.FreezeThawed, r.State)
	assert.False(t, r.Held)
	w.Goes(t, slack)
	p.kill(t)
}

func TestProcessWhoseGuardIsKilled(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second)
	require.NoError(t, syscall.Kill(p.guard(t), syscall.SIGKILL))
	w.Goes(t, slack)
	r := s.said(t)
	assert.Equal(t, wire.FreezeThawed, r.State, "the service hears of it at once")
	assert.False(t, r.Held)
	assert.Equal(t, "its guard died", r.Detail)
	assert.Zero(t, records(t, dir))
}

// killBoth kills the plugin and its guard so that neither can do anything
// about the other's death, and leaves the volume frozen: as when the process
// namespace of a managed plugin ends.
func (p *process) killBoth(t *testing.T, w *disktest.Writer) {
	t.Helper()
	guard := p.guard(t)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	require.NoError(t, syscall.Kill(guard, syscall.SIGKILL))
	gone(t, guard)
	p.kill(t)
	require.True(t, w.Stands(), "it is still frozen")
}

// Nobody is left to thaw but the plugin that the engine starts next.
func TestProcessKilledWithItsGuard(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second)
	p.killBoth(t, w)
	assert.Equal(t, 1, records(t, dir))
	p = start(t, dir)
	w.Goes(t, slack)
	s.order(time.Second)
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	assert.Equal(t, wire.FreezeThawed, s.said(t).State)
	w.Goes(t, slack)
	assert.Zero(t, records(t, dir))
	p.kill(t)
}

// A guard that the kernel does not let die yet still holds the lock on its
// record: the next plugin thaws, and freezes nothing as long as that one could.
func TestProcessKilledWithAGuardThatLingers(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second)
	p.killBoth(t, w)
	record, err := os.OpenFile(filepath.Join(dir, "mnt", ".state", "freezes", string(s.volume.ID)), os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.Flock(int(record.Fd()), unix.LOCK_EX|unix.LOCK_NB), "nobody has it any more")
	p = start(t, dir)
	w.Goes(t, slack)
	s.order(time.Second)
	require.NoError(t, onDir(filepath.Join(dir, "mnt", string(s.volume.ID)), func(fd int) error { return unix.IoctlSetInt(fd, 0xc0045877, 0) })) // it froze at last
	w.Goes(t, slack)
	assert.Empty(t, s.reports, "nobody asks for orders yet")
	require.NoError(t, record.Close())
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	assert.Equal(t, wire.FreezeThawed, s.said(t).State)
	w.Goes(t, slack)
	p.kill(t)
}

func onDir(path string, fn func(fd int) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return fn(int(f.Fd()))
}

// managed gives a process what the engine gives a managed plugin: a process
// namespace of its own, and Docker's usual capabilities with those of
// packaging/plugin/config.json.
func managed(c *exec.Cmd) {
	const caps = "-all,+chown,+dac_override,+fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service," +
		"+sys_chroot,+kill,+audit_write,+sys_admin,+linux_immutable"
	inner := c.Args
	path, err := exec.LookPath("setpriv")
	if err != nil {
		c.Err = err
		return
	}
	c.Path, c.Args = path, append([]string{"setpriv", "--no-new-privs", "--bounding-set", caps, "--inh-caps", "-all"}, inner...)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
}

// The privileges of the managed plugin are enough, and when its process
// namespace dies with the guard in it the next plugin finds a way.
func TestManagedProcessFreezes(t *testing.T) {
	p, s, w, dir := frozenProcess(t, 10*time.Second, managed)
	s.answer <- true
	r := s.said(t)
	assert.True(t, r.Held, r.Detail)
	w.Goes(t, slack)
	s.order(10 * time.Second)
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	guard := p.guard(t)
	p.kill(t)
	gone(t, guard)
	p = start(t, dir, managed)
	w.Goes(t, slack)
	s.order(time.Second)
	require.Equal(t, wire.FreezeFrozen, s.said(t).State)
	assert.Equal(t, wire.FreezeThawed, s.said(t).State)
	w.Goes(t, slack)
	p.kill(t)
}

// A plugin that is stopped, as by a debugger, or starved: the lease ends all
// the same.
func TestProcessStoppedWhileItFreezes(t *testing.T) {
	const lease = 2 * time.Second
	p, s, w, dir := frozenProcess(t, lease)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	w.Goes(t, lease+slack)
	s.answer <- true // too late
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
	r := s.said(t)
	assert.Equal(t, wire.FreezeThawed, r.State)
	assert.False(t, r.Held)
	assert.Less(t, w.Longest(), lease+slack)
	assert.Zero(t, records(t, dir))
	p.kill(t)
}
