package harness

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

//go:embed guest.sh
var guestScript string

// Guest is a Docker host that behaves like a virtual machine: power off takes
// everything it runs, its disk stays, and its /dev holds what the hypervisor
// plugged in. Its methods are not safe for concurrent use, but for Docker,
// Exec and the paths.
type Guest struct {
	Name string
	Addr string // its address on the lab's network

	lab    *Lab
	dir    string
	index  int
	init   *process
	engine *process
	flags  []string // of the engine
	vc     *VCenter // whose VM the guest is, nil for nobody's
	vm     string   // its name there
}

// Guest returns the guest of that name, made, booted and with a running
// engine that has the test image. Guests live until the lab ends.
func (l *Lab) Guest(t testing.TB, name string) *Guest {
	t.Helper()
	g := l.NewGuest(t, name)
	if !g.Powered() {
		g.PowerOn(t)
	}
	if !g.engine.alive() {
		g.StartEngine(t)
	}
	return g
}

// NewGuest is Guest without boot and engine.
func (l *Lab) NewGuest(t testing.TB, name string) *Guest {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if g, ok := l.guests[name]; ok {
		return g
	}
	index := len(l.guests) + 1
	g := &Guest{Name: name, Addr: fmt.Sprintf("10.99.0.%d", index), lab: l, dir: filepath.Join(l.Dir, name), index: index}
	require.NoError(t, g.makeFolders())
	l.guests[name] = g
	return g
}

// DevDir is the guest's /dev as seen by the hypervisor.
func (g *Guest) DevDir() string { return filepath.Join(g.dir, "dev") }

// ChannelDir is the folder the guest sees as /run/mooring.
func (g *Guest) ChannelDir() string { return filepath.Join(g.dir, "channel") }

// Socket is where mooringd offers the guest's channel.
func (g *Guest) Socket() string { return filepath.Join(g.ChannelDir(), "guest", "self.sock") }

// InitPIDFile holds the host's pid of the guest's init while it is powered.
func (g *Guest) InitPIDFile() string { return filepath.Join(g.dir, "init.pid") }

// Disk is the guest's own disk seen from outside: the folder it has as /srv.
func (g *Guest) Disk() string { return filepath.Join(g.dir, "disk") }

// Put copies a program to the guest's own disk, once: there it is /srv/NAME.
func (g *Guest) Put(t testing.TB, program, name string) {
	t.Helper()
	to := filepath.Join(g.Disk(), name)
	if _, err := os.Stat(to); err != nil { // one that runs cannot be overwritten
		require.NoError(t, copyFile(program, to))
	}
}

// Powered reports whether the guest runs.
func (g *Guest) Powered() bool { return g.init.alive() }

func (g *Guest) makeFolders() error {
	for _, dir := range []string{g.dir, g.Disk(), g.DevDir(), filepath.Dir(g.Socket())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making the guest's folders: %w", err)
		}
	}
	dev := g.DevDir()
	if err := unix.Mount("tmpfs", dev, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("mounting the guest's /dev: %w", err)
	}
	for name, num := range map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9},
		"kmsg": {1, 11}, "tty": {5, 0}, "console": {5, 1}, "ptmx": {5, 2}, "fuse": {10, 229},
	} {
		if err := unix.Mknod(filepath.Join(dev, name), unix.S_IFCHR|0o666, int(unix.Mkdev(num[0], num[1]))); err != nil {
			return fmt.Errorf("making the guest's /dev/%s: %w", name, err)
		}
	}
	for _, sub := range []string{"pts", "shm", "mqueue"} {
		if err := os.Mkdir(filepath.Join(dev, sub), 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("/dev/pts", filepath.Join(dev, "pts"), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the guest's /dev/pts: %w", err)
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, filepath.Join(dev, link)); err != nil {
			return err
		}
	}
	return nil
}

// PowerOn boots the guest without its engine.
func (g *Guest) PowerOn(t testing.TB) {
	t.Helper()
	require.False(t, g.Powered(), "guest %s is already on", g.Name)
	require.NoError(t, g.powerOn(lasting(t)))
}

func (g *Guest) powerOn(ctx context.Context) error {
	if err := g.lab.ensureNetwork(ctx); err != nil {
		return err
	}
	if g.vc != nil {
		if err := g.vc.Power(ctx, g.vm, true); err != nil {
			return err
		}
	}
	booted := filepath.Join(g.Disk(), "booted")
	if err := os.Remove(booted); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	p, err := g.lab.start(filepath.Join(g.dir, "console.log"), spaces, nil,
		"/bin/sh", "-c", guestScript, "guest", g.Name, g.dir, g.lab.Dir, g.ChannelDir())
	if err != nil {
		return err
	}
	g.init = p
	err = Eventually(20*time.Second, func() error {
		if !p.alive() {
			return nil
		}
		_, err := os.Stat(booted)
		return err
	})
	if err == nil && !p.alive() {
		err = errors.New("its init has ended")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("booting guest %s: %w\n%s", g.Name, err, tail(p.log, 20, nil)), g.powerOff())
	}
	if err := os.WriteFile(g.InitPIDFile(), []byte(strconv.Itoa(p.pid())+"\n"), 0o644); err != nil {
		return err
	}
	return g.lab.sw.plug(ctx, g)
}

// PowerOff kills the guest's init and with it, at once, everything it runs.
// A guest that is off: nothing.
func (g *Guest) PowerOff(t testing.TB) {
	t.Helper()
	require.NoError(t, g.powerOff())
}

func (g *Guest) powerOff() error {
	err := g.init.signal(syscall.SIGKILL, 30*time.Second)
	if err == nil && g.engine.alive() {
		err = g.engine.wait(10 * time.Second)
	}
	if err == nil && g.vc != nil {
		err = g.vc.Power(context.Background(), g.vm, false)
	}
	return err
}

// Exec runs a command inside the guest, as root of that machine.
func (g *Guest) Exec(ctx context.Context, args ...string) Result {
	return g.lab.run(ctx, nil, append(g.enter(), args...)...)
}

// Shell runs a script inside the guest.
func (g *Guest) Shell(ctx context.Context, script string) Result {
	return g.Exec(ctx, "/bin/sh", "-ec", script)
}

func (g *Guest) enter() []string {
	if !g.Powered() {
		return []string{"false", "the guest is off:"}
	}
	return []string{"nsenter", "-t", strconv.Itoa(g.init.pid()), "-m", "-u", "-i", "-n", "-p", "--"}
}

// Mounts shows where the guest's processes have disks of volumes mounted, for
// the report of a failed test.
func (g *Guest) Mounts(ctx context.Context) string {
	r := g.Shell(ctx, `for p in /proc/[0-9]*; do
		grep -H /dev/mooring/ $p/mountinfo 2>/dev/null | sed "s|^|$(cat $p/comm 2>/dev/null) |"
	done; true`)
	return r.Stdout
}

// Wipe powers the guest off and removes its disk and devices: the next boot
// is that of a new machine.
func (g *Guest) Wipe() error {
	if err := g.powerOff(); err != nil {
		return err
	}
	g.flags = nil
	errs := []error{clearImmutable(g.Disk())}
	for _, dir := range []string{g.Disk(), filepath.Join(g.DevDir(), "mooring")} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}
