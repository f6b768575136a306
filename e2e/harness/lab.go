package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the name of every lab's folder; envLab is how the lab's
// processes are known.
const (
	prefix = "mooring-e2e."
	envLab = "MOORING_LAB"
)

// Lab is everything one test run has on this machine. Its methods are safe
// for concurrent use; those of one guest or daemon are not.
type Lab struct {
	Dir string // the lab's folder, without blanks or symbolic links
	Bin Binaries

	lock *os.File

	mu         sync.Mutex
	guests     map[string]*Guest
	daemons    []*Daemon
	datastores []*Datastore
	vcenters   []*VCenter
	sw         *network
	registry   *Registry
	image      string // rootfs tar of the test image
}

// New cleans up after dead runs, makes the lab's folder and builds the
// binaries. Close ends it.
func New(ctx context.Context) (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("the end-to-end tests start Docker engines and mount filesystems: run them as root (sudo make e2e)")
	}
	if err := checkTools(); err != nil {
		return nil, err
	}
	base, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return nil, fmt.Errorf("finding the folder for temporary files: %w", err)
	}
	if err := cleanDeadLabs(base); err != nil { // in the way of nobody but the disk
		fmt.Fprintln(os.Stderr, "e2e: what a dead test run left could not be cleaned up:", err)
	}
	dir, err := os.MkdirTemp(base, prefix)
	if err != nil {
		return nil, fmt.Errorf("making the lab's folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	l := &Lab{Dir: dir, guests: map[string]*Guest{}}
	if l.lock, err = lockLab(dir); err != nil {
		return nil, err
	}
	if l.Bin, err = build(ctx, filepath.Join(dir, "bin")); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	if l.image, err = writeImage(ctx, filepath.Join(dir, "image.tar")); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close powers off all guests, stops all daemons, removes everything and
// reports what it could not remove. Repeated: nil.
func (l *Lab) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	var errs []error
	for _, g := range l.guests {
		errs = append(errs, g.powerOff())
	}
	for _, d := range l.daemons {
		errs = append(errs, d.end())
	}
	for _, v := range l.vcenters {
		errs = append(errs, v.Stop())
	}
	errs = append(errs, clean(l.Dir), l.lock.Close())
	l.lock = nil
	return errors.Join(errs...)
}

// Logs is the last lines of every log of the lab, for the report of a failed
// test.
func (l *Lab) Logs(lines int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	add := func(name, path string, wanted func(line string) bool) {
		if text := tail(path, lines, wanted); text != "" {
			fmt.Fprintf(&b, "--- %s\n%s\n", name, text)
		}
	}
	// Listings are what the test itself asks for while it waits, and engines
	// say much about themselves when they start.
	noLists := func(line string) bool {
		return !strings.Contains(line, `op="GET /`) && !strings.Contains(line, "POST /heartbeat")
	}
	ours := func(line string) bool {
		return strings.Contains(line, " plugin=") && !strings.Contains(line, `\"op\":\"list\"`) ||
			strings.Contains(line, "level=error") && !strings.Contains(line, "containerd")
	}
	for _, d := range l.daemons {
		add("mooringd "+d.Name, d.LogFile(), noLists)
	}
	for _, v := range l.vcenters {
		add("vCenter "+filepath.Base(v.dir), filepath.Join(v.Dir, "simvc.log"), nil)
	}
	for name, g := range l.guests {
		add("dockerd and plugin of "+name, g.engineLog(), ours)
		add("plain plugin of "+name, filepath.Join(g.dir, "plain-plugin.log"), nil)
	}
	return b.String()
}

// lockLab marks dir as owned by a living process. The kernel drops the lock
// when the process ends, however it ends.
func lockLab(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the lab's folder: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%s belongs to a living test run: %w", dir, err), f.Close())
	}
	return f, nil
}

// Eventually runs check until it returns nil, at most for limit, and returns
// its last error.
func Eventually(limit time.Duration, check func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("still not so after %s: %w", limit, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
