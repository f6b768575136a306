package app_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/app"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// binaries are the real programs, built once, with crash points.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mooring-app-test-*")
	if err != nil {
		return "", err
	}
	app.RemoveBinaries = func() { _ = os.RemoveAll(dir) }
	cmd := exec.Command("go", "build", "-tags", "crashpoints", "-o", dir+"/", "../../cmd/mooringd", "../../cmd/mooring")
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("building the programs under test: %w\n%s", err, out)
	}
	return dir, nil
})

// process is one mooringd with directories of its own. Its VMs are this
// machine, each with a private dev folder.
type process struct {
	dir   string
	bin   string
	wrap  []string // runs the daemon
	cmd   *exec.Cmd
	ended chan struct{}
	out   *app.SyncBuffer
	from  int // where in out that of the last run begins
}

func newProcess(t *testing.T, vms []string, more string) *process {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test attaches loop devices: run it as root")
	bin, err := binaries()
	require.NoError(t, err)
	p := &process{dir: t.TempDir(), bin: bin}
	var b strings.Builder
	fmt.Fprintf(&b, "state_dir = %q\nrun_dir = %q\n[admin]\ngroup = ''\n[log]\nlevel = 'debug'\nformat = 'text'\n", p.path("state"), p.path("run"))
	for _, ds := range []string{"datastore1", "datastore3"} {
		require.NoError(t, os.MkdirAll(p.path(ds), 0o755))
		fmt.Fprintf(&b, "[[datastore]]\nname = %q\npath = %q\n", ds, p.path(ds))
	}
	for _, vm := range vms {
		require.NoError(t, os.MkdirAll(p.path("dev-"+vm), 0o755))
		fmt.Fprintf(&b, "[[vm]]\nname = %q\ndatastore = 'datastore1'\ndev = %q\n", vm, p.path("dev-"+vm))
	}
	p.write(t, b.String()+more)
	t.Cleanup(func() {
		p.kill()
		_ = unix.Unmount(p.path("run/views/store"), unix.MNT_DETACH) // a killed daemon leaves it
		for device := range p.loops(t) {                             // only after a failure are there any
			if f, err := os.Open(device); err == nil {
				_ = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
				_ = f.Close()
			}
		}
		if p.out != nil && t.Failed() {
			t.Logf("mooringd said:\n%s", p.out)
		}
	})
	return p
}

func (p *process) path(name string) string { return filepath.Join(p.dir, name) }

func (p *process) write(t *testing.T, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(p.path("mooring.toml"), []byte(text), 0o600))
}

// start runs the daemon and waits until it is ready.
func (p *process) start(t *testing.T, env ...string) {
	t.Helper()
	p.run(t, env...)
	a := p.admin(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := a.Status(t.Context())
		assert.NoError(c, err)
	}, 30*time.Second, 20*time.Millisecond)
}

// begins runs the daemon and tells whether it became ready, or ended before.
func (p *process) begins(t *testing.T, env ...string) bool {
	t.Helper()
	p.run(t, env...)
	a := p.admin(t)
	ready := false
	require.Eventually(t, func() bool {
		select {
		case <-p.ended:
			return true
		default:
			_, err := a.Status(t.Context())
			ready = err == nil
			return ready
		}
	}, 30*time.Second, 20*time.Millisecond)
	return ready
}

func (p *process) run(t *testing.T, env ...string) {
	t.Helper()
	args := append(slices.Clone(p.wrap), p.bin+"/mooringd", "--config", p.path("mooring.toml"))
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env = append(os.Environ(), env...)
	if p.out == nil {
		p.out = &app.SyncBuffer{}
	}
	p.cmd.Stdout, p.cmd.Stderr, p.from = p.out, p.out, len(p.out.String())
	require.NoError(t, p.cmd.Start())
	p.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		_ = cmd.Wait() // its outcome is in ProcessState
		close(ended)
	}(p.cmd, p.ended)
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(s))
}

// kill ends the process without a word, if it lives.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// exit waits for the end and returns the exit code.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Fatal("mooringd did not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) admin(t *testing.T) *hostclient.Admin {
	a := hostclient.NewAdmin("unix://"+p.path("run/admin.sock"), hostclient.Options{})
	t.Cleanup(a.Close)
	return a
}

func (p *process) guest(t *testing.T, vm string) *hostclient.Client {
	c := hostclient.New("unix://"+p.path("run/guest/"+vm+".sock"), hostclient.Options{})
	t.Cleanup(c.Close)
	return c
}

// mooring runs the command line against the daemon.
func (p *process) mooring(ctx context.Context, args ...string) (out string, code int) {
	cmd := exec.CommandContext(ctx, p.bin+"/mooring", append([]string{"--socket", "unix://" + p.path("run/admin.sock")}, args...)...)
	b, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// loops are the loop devices on files of this process, with their files.
func (p *process) loops(t *testing.T) map[string]string {
	t.Helper()
	all, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	mine := map[string]string{}
	for _, path := range all {
		if file, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(file), p.dir) {
			mine["/dev/"+strings.Split(path, "/")[3]] = strings.TrimSpace(string(file))
		}
	}
	return mine
}

func (p *process) says(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.out.String(), text) }, 10*time.Second, 10*time.Millisecond, text)
}

func TestTwoDaemonsOnOneStateDirectory(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "")
	p.start(t)
	second := *p
	second.out = nil
	second.run(t)
	assert.Equal(t, 11, second.exit(t))
	assert.Contains(t, second.out.String(), fmt.Sprintf("the state directory %s is in use by process %d: stop it", p.path("state"), p.cmd.Process.Pid))
	_, err := p.admin(t).Status(t.Context())
	require.NoError(t, err, "the first one was disturbed")

	// A killed one leaves no lock and no sockets in the way.
	p.kill()
	p.start(t)
	p.signal(t, syscall.SIGTERM)
	assert.Equal(t, 0, p.exit(t))
}

func TestInvalidConfigurationExits2(t *testing.T) {
	p := newProcess(t, nil, "[[vm]]\nname='a'\n[logg]\n")
	p.run(t)
	assert.Equal(t, 2, p.exit(t))
	assert.Contains(t, p.out.String(), "is not valid: 2 problems")
	assert.Contains(t, p.out.String(), "mooring.toml:")
	assert.NoDirExists(t, p.path("state"))

	out, err := exec.Command(p.bin+"/mooringd", "--check", "--config", p.path("mooring.toml")).CombinedOutput()
	assert.Error(t, err)
	assert.Contains(t, string(out), "vm[0].datastore: it is missing")
	p = newProcess(t, []string{"vm1"}, "")
	out, err = exec.Command(p.bin+"/mooringd", "--config", p.path("mooring.toml"), "config", "check").CombinedOutput()
	assert.NoError(t, err)
	assert.Contains(t, string(out), "is valid")
}

func TestHangupReloads(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "")
	p.start(t)
	text, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	p.write(t, string(text)+"oops")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "configuration was not reloaded, the old one stays")
	p.write(t, string(text)+"[[vm]]\nname='vm2'\ndatastore='datastore3'\n")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "configuration reloaded")
	h, err := p.guest(t, "vm2").Hello(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm2", h.VM)
}

// slowCreate makes a volume that takes a while, and returns when that has
// begun.
func slowCreate(t *testing.T, p *process) <-chan error {
	created := make(chan error, 1)
	c := p.guest(t, "vm1")
	go func() {
		_, err := c.Create(context.Background(), wire.CreateVolume{Name: "slow", Options: map[string]string{"size": "1gb", "diskformat": "eagerzeroedthick"}})
		created <- err
	}()
	require.Eventually(t, func() bool {
		l, err := p.admin(t).Volumes(t.Context(), hostclient.VolumesQuery{State: "creating"})
		return err == nil && len(l.Volumes) == 1
	}, 10*time.Second, time.Millisecond, "the volume was made too fast to be seen")
	return created
}

func TestTerminateLetsTheRunningRequestFinish(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "")
	p.start(t)
	created := slowCreate(t, p)
	p.signal(t, syscall.SIGTERM)
	require.NoError(t, <-created)
	assert.Equal(t, 0, p.exit(t))
	assert.NoFileExists(t, p.path("run/admin.sock"))
	p.start(t)
	v, err := p.guest(t, "vm1").Get(t.Context(), "slow")
	require.NoError(t, err)
	assert.EqualValues(t, "ready", v.State)
}

// The second signal does not wait; what was under way is undone at the next
// start.
func TestSecondTerminateEndsAtOnce(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "")
	p.start(t)
	created := slowCreate(t, p)
	p.signal(t, syscall.SIGTERM)
	time.Sleep(50 * time.Millisecond)
	p.signal(t, syscall.SIGTERM)
	p.exit(t)
	require.Error(t, <-created)
	assert.True(t, p.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled())
	p.start(t)
	_, err := p.guest(t, "vm1").Get(t.Context(), "slow")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	nothingLeft(t, p)
}

// TestTheUnitsPrivilegesSuffice lives a volume's life with the capabilities
// of packaging/systemd/mooringd.service and no others.
func TestTheUnitsPrivilegesSuffice(t *testing.T) {
	unit, err := os.ReadFile("../../../packaging/systemd/mooringd.service")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindSubmatch(unit)
	require.NotNil(t, m, "the unit names no capabilities")
	var set strings.Builder
	set.WriteString("-all")
	for c := range strings.FieldsSeq(string(m[1])) {
		set.WriteString(",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_")))
	}
	p := newProcess(t, []string{crashVM}, "[volume]\nreconcile='1s'\n")
	p.wrap = []string{"setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + set.String()}
	p.start(t)
	for _, s := range life {
		require.NoError(t, s.do(t, p), s.name)
	}
	nothingLeft(t, p)
}

// The service manager hears of every change of state.
func TestNotifiesTheServiceManager(t *testing.T) {
	p := newProcess(t, []string{"vm1"}, "")
	addr := &net.UnixAddr{Name: p.path("notify"), Net: "unixgram"}
	l, err := net.ListenUnixgram("unixgram", addr)
	require.NoError(t, err)
	defer l.Close()
	hear := func(want string) {
		t.Helper()
		require.NoError(t, l.SetReadDeadline(time.Now().Add(20*time.Second)))
		b := make([]byte, 100)
		n, err := l.Read(b)
		require.NoError(t, err)
		assert.Equal(t, want, string(b[:n]))
	}
	p.run(t, "NOTIFY_SOCKET="+addr.Name)
	hear("READY=1")
	_, err = p.admin(t).Status(t.Context())
	require.NoError(t, err, "it said ready and was not")
	p.signal(t, syscall.SIGHUP)
	hear("RELOADING=1")
	hear("READY=1")
	p.signal(t, syscall.SIGTERM)
	hear("STOPPING=1")
	assert.Equal(t, 0, p.exit(t))
}
