package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// clear removes everything of every demo, in whatever state it is: first the
// polite way, for which what has died is started again, then by force.
func clear(ctx context.Context, t *terminal, s *site) error {
	if err := s.polite(ctx); err != nil {
		t.say("Not everything went by itself (%v); it is removed by force.", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	errs := []error{s.end(ctx, "mooringd", 30*time.Second), s.end(ctx, "dockerd", 60*time.Second), s.end(ctx, "mooring-simvc", 20*time.Second)}
	errs = append(errs,
		eventually(ctx, 20*time.Second, endMarked),
		eventually(ctx, 20*time.Second, unmountBelow),
		eventually(ctx, 20*time.Second, freeLoops),
	)
	removeCgroups()
	removePluginSockets(s.dataRoot())
	for _, dir := range []string{runDir, homeDir} {
		errs = append(errs, openFolders(dir), os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}

// polite removes what the demo has in engines and lets volumes be detached.
func (s *site) polite(ctx context.Context) error {
	useTheirs, useOwn := exists(s.claimed()), exists(s.dataRoot())
	if !useTheirs && !useOwn {
		return nil // no engine was used yet
	}
	var errs []error
	for _, dir := range []string{homeDir, runDir} {
		errs = append(errs, os.MkdirAll(dir, 0o755)) // a reboot empties one of them
	}
	if exists(s.vcenter()) {
		_, err := s.startVCenter(ctx, nil)
		errs = append(errs, err)
	}
	if exists(s.config()) {
		errs = append(errs, s.startService(ctx, nil)) // plugins give their disks back to it
	}
	if useTheirs {
		if e := (engine{socket: theirSocket}); e.answers(ctx) {
			errs = append(errs, e.clean(ctx))
		} else {
			errs = append(errs, errors.New("the engine that the demo used does not answer at "+theirSocket))
		}
	}
	if useOwn {
		e, err := s.startEngine(ctx, nil)
		if err == nil {
			err = e.clean(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func endMarked() error {
	pids := marked()
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	if len(pids) > 0 {
		return fmt.Errorf("processes of the demo still live: %v", pids)
	}
	return nil
}

func below(path string) bool {
	return path == homeDir || path == runDir || strings.HasPrefix(path, homeDir+"/") || strings.HasPrefix(path, runDir+"/")
}

func unmountBelow() error {
	mounts := mountsBelow()
	slices.Reverse(mounts)
	var errs []error
	for _, m := range mounts {
		if err := unix.Unmount(m, 0); err != nil {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow lists mount points in the demo's folders, oldest first.
func mountsBelow() []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	var out []string
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		if f := strings.Fields(sc.Text()); len(f) > 4 && below(f[4]) {
			out = append(out, f[4])
		}
	}
	return out
}

// loopsBelow lists loop devices bound to files of the demo.
func loopsBelow() []string {
	found, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	var out []string
	for _, f := range found {
		if b, err := os.ReadFile(f); err == nil && below(strings.TrimSpace(string(b))) {
			out = append(out, "/dev/"+strings.Split(f, "/")[3])
		}
	}
	return out
}

func freeLoops() error {
	var errs []error
	for _, dev := range loopsBelow() {
		removeNodes(dev)
		f, err := os.Open(dev)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_ = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		_ = f.Close()
		errs = append(errs, fmt.Errorf("%s is still bound to a disk of the demo", dev))
	}
	_ = os.Remove("/dev/mooring") // unless others have nodes in it
	return errors.Join(errs...)
}

// removeNodes removes the nodes by which guests knew a loop device.
func removeNodes(dev string) {
	var loop, node unix.Stat_t
	if unix.Stat(dev, &loop) != nil {
		return
	}
	nodes, _ := filepath.Glob("/dev/mooring/*")
	for _, n := range nodes {
		if unix.Lstat(n, &node) == nil && node.Mode&unix.S_IFMT == unix.S_IFBLK && node.Rdev == loop.Rdev {
			_ = os.Remove(n)
		}
	}
}

// openFolders takes the immutable mark from folders: a volume's mount point
// carries it so that nothing is written beside the volume.
func openFolders(dir string) error {
	const immutable = 0x10 // FS_IMMUTABLE_FL of linux/fs.h
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
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

// removeCgroups removes the empty control groups that the demo's own engine
// made below its own.
func removeCgroups() {
	for _, pattern := range []string{"/sys/fs/cgroup" + cgroup, "/sys/fs/cgroup/*" + cgroup} {
		tops, _ := filepath.Glob(pattern)
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

// removePluginSockets removes the folders of plugins' sockets, which every
// engine makes in the same place, of the engine whose data is in root.
func removePluginSockets(root string) {
	found, _ := filepath.Glob(filepath.Join(root, "plugins", strings.Repeat("?", 64)))
	for _, dir := range found {
		_ = os.RemoveAll(filepath.Join("/run/docker/plugins", filepath.Base(dir)))
	}
	for _, dir := range []string{"/run/docker/plugins", "/run/docker"} {
		_ = os.Remove(dir) // unless others have something there
	}
}

// leftovers names what there is of a demo.
func leftovers() (left []string) {
	for _, pid := range marked() {
		left = append(left, fmt.Sprintf("process %d", pid))
	}
	left = append(left, mountsBelow()...)
	left = append(left, loopsBelow()...)
	for _, dir := range []string{homeDir, runDir} {
		if exists(dir) {
			left = append(left, dir)
		}
	}
	return left
}
