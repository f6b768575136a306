package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Where the demo keeps things. Everything it makes outside an engine lies
// below these two folders, so that it can be found again after a crash.
const (
	homeDir  = "/var/lib/mooring-demo" // state, datastores, logs, its engine's data
	runDir   = "/run/mooring-demo"     // sockets, pid files
	lockFile = "/run/mooring-demo.lock"
)

// site is the demo's place on this machine, locked for this process.
type site struct {
	root string // of the source tree
	lock *os.File
}

// openSite finds the source tree from the executable, which make puts into
// bin/, and takes the lock.
func openSite() (*site, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	root := filepath.Dir(filepath.Dir(exe))
	if _, err := os.Stat(filepath.Join(root, "config/samples/demo.toml")); err != nil {
		return nil, fmt.Errorf("%s does not lie in bin/ of a Mooring source tree: run \"make demo\" there", exe)
	}
	lock, err := takeLock()
	if err != nil {
		return nil, err
	}
	return &site{root: root, lock: lock}, nil
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
