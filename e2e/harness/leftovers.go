package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cleanDeadLabs removes the labs below base whose owner has died.
func cleanDeadLabs(base string) error {
	dirs, err := filepath.Glob(filepath.Join(base, prefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		lock, err := lockLab(dir)
		if errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, clean(dir), lock.Close())
	}
	return errors.Join(errs...)
}

// clean ends the lab's processes, unmounts what lies below dir, frees its
// loop devices and removes dir. It reports what would not go.
func clean(dir string) error {
	// One holds the other: a loop device a mount, a mount a loop device, a
	// process both.
	err := Eventually(30*time.Second, func() error {
		return errors.Join(endProcesses(dir), unmountBelow(dir), freeLoops(dir))
	})
	if err != nil {
		return err
	}
	removeCgroups(filepath.Base(dir))
	if err := clearImmutable(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// Leaks lists what the product still holds outside itself: disks bound to
// loop devices and block nodes in a guest's /dev. A test that has removed its
// volumes leaves none.
func (l *Lab) Leaks() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, ds := range l.datastores {
		for _, dev := range loopsBelow(ds.Path) {
			out = append(out, dev+" is bound to a disk of datastore "+ds.Name)
		}
	}
	for _, g := range l.guests {
		nodes, _ := os.ReadDir(filepath.Join(g.DevDir(), "mooring"))
		for _, n := range nodes {
			out = append(out, "guest "+g.Name+" still has /dev/mooring/"+n.Name())
		}
	}
	return out
}

func endProcesses(dir string) error {
	pids := processes(dir)
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if len(pids) > 0 {
		return fmt.Errorf("processes of the lab %s still live: %v", dir, pids)
	}
	return nil
}

// processes finds the lab's processes by the mark in their environment.
func processes(dir string) []int {
	mark := []byte(envLab + "=" + dir + "\x00")
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && bytes.Contains(env, mark) {
			out = append(out, pid)
		}
	}
	return out
}

func unmountBelow(dir string) error {
	mounts := mountsBelow(dir)
	slices.Reverse(mounts)
	var errs []error
	for _, m := range mounts {
		if err := unix.Unmount(m, 0); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists the mount points at or below dir, oldest first.
func mountsBelow(dir string) []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var out []string
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		f := strings.Fields(sc.Text())
		if len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			out = append(out, f[4])
		}
	}
	return out
}

// loopsBelow lists the loop devices whose backing file lies below dir, also
// when the file is already unlinked.
func loopsBelow(dir string) []string {
	files, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err == nil && strings.HasPrefix(string(b), dir+"/") {
			out = append(out, "/dev/"+strings.Split(f, "/")[3])
		}
	}
	return out
}

func freeLoops(dir string) error {
	var errs []error
	for _, dev := range loopsBelow(dir) {
		f, err := os.Open(dev)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_ = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		errs = append(errs, f.Close(), fmt.Errorf("%s is still bound to a file of the lab", dev))
	}
	return errors.Join(errs...)
}

// removeCgroups removes the empty control groups that engines made below the
// lab's own; one that is not empty yet goes with a later run.
func removeCgroups(lab string) {
	for _, root := range []string{"/sys/fs/cgroup/" + lab, "/sys/fs/cgroup/*/" + lab} {
		tops, _ := filepath.Glob(root)
		for _, top := range tops {
			var dirs []string
			_ = filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					dirs = append(dirs, p)
				}
				return nil
			})
			slices.Reverse(dirs)
			for _, d := range dirs {
				_ = unix.Rmdir(d)
			}
		}
	}
}

// immutable is FS_IMMUTABLE_FL of linux/fs.h.
const immutable = 0x10

// clearImmutable takes the immutable mark from folders below dir: mount
// points of volumes carry it so that nothing is written beside a volume.
func clearImmutable(dir string) error {
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err != nil || flags&immutable == 0 {
			return nil // not every filesystem has the mark
		}
		return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags&^immutable))
	})
}
