package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// nameVariable gives the demo another name, and with it other folders, so that
// a test of it leaves a person's demo alone.
const nameVariable = "MOORING_DEMO_NAME"

// Where the demo keeps things. Everything it makes outside an engine lies
// below these two folders, so that it can be found again after a crash.
var (
	demoName = cmp.Or(os.Getenv(nameVariable), "mooring-demo")
	homeDir  = "/var/lib/" + demoName // state, datastores, logs, its engine's data
	runDir   = "/run/" + demoName     // sockets, pid files; plugins see /run
	lockFile = runDir + ".lock"
	cgroup   = "/" + demoName            // parent of its own engine's containers
	image    = demoName + "/busybox"     // what its containers run, and how they are found again
	mark     = "MOORING_DEMO=" + homeDir // in the environment of every daemon it starts, and of their children
)

var validName = regexp.MustCompile(`^mooring-demo(-[a-z0-9]{1,20})?$`)

// site is the demo's place on this machine, locked for this process.
type site struct {
	root       string // of the source tree
	hypervisor string // who runs the story's machines
	door       string // where the portal listens
	lock       *os.File
}

// openSite finds the source tree from the executable, which make puts into
// bin/, and takes the lock.
func openSite() (*site, error) {
	if !validName.MatchString(demoName) {
		return nil, fmt.Errorf("%s is %q: it must be mooring-demo, or mooring-demo- and a word", nameVariable, demoName)
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(filepath.Dir(exe))
	if _, err := os.Stat(filepath.Join(root, "config/samples/demo.toml")); err != nil {
		return nil, fmt.Errorf("%s does not lie in bin/ of a Mooring source tree: run \"make demo\" there", exe)
	}
	hypervisor, err := chosen()
	if err != nil {
		return nil, err
	}
	lock, err := takeLock()
	if err != nil {
		return nil, err
	}
	return &site{root: root, hypervisor: hypervisor, lock: lock}, nil
}

// takeLock locks a file that whoever held it before may have removed.
func takeLock() (*os.File, error) {
	for {
		f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, errors.New("a demo is running in another terminal: wait for it, or end it")
			}
			return nil, fmt.Errorf("locking %s: %w", lockFile, err)
		}
		have, err1 := f.Stat()
		path, err2 := os.Stat(lockFile)
		if err1 == nil && err2 == nil && os.SameFile(have, path) {
			return f, nil
		}
		_ = f.Close()
	}
}

// close gives the lock back and leaves no file of it.
func (s *site) close() {
	_ = os.Remove(lockFile)
	_ = s.lock.Close()
}

func (s *site) bin(name string) string       { return filepath.Join(s.root, "bin", name) }
func (s *site) plugin(alias string) string   { return filepath.Join(homeDir, "plugins", alias) }
func (s *site) config() string               { return filepath.Join(homeDir, "mooring.toml") }
func (s *site) log(name string) string       { return filepath.Join(homeDir, name+".log") }
func (s *site) pidFile(name string) string   { return filepath.Join(runDir, name+".pid") }
func (s *site) socket(name string) string    { return filepath.Join(runDir, name+".sock") }
func (s *site) guest(vm string) string       { return filepath.Join(runDir, "guest", vm+".sock") }
func (s *site) dataRoot() string             { return filepath.Join(homeDir, "engine") }
func (s *site) datastore(name string) string { return filepath.Join(homeDir, "datastores", name) }
