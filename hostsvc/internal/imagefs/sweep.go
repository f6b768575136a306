package imagefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/log"
)

// Sweep removes what a dead process left of a folder: mounts in it, loop
// devices that bear its mark or lie on files in it, and scratch files. The kernel removes most
// of that by itself when a process dies. It must be called before the folder is
// used, by its only user: a living process would lose what it works with.
// Repeated, and of a folder that is not there: nil.
func Sweep(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fail(err, "cleaning up %s", dir)
	}
	return fail(errors.Join(letGo(ctx, below(dir)), sweepMounts(ctx, dir), sweepLoops(ctx, dir), sweepFiles(ctx, dir)), "cleaning up %s", dir)
}

// sweepMounts tears off what is mounted in the folder or on it: of a dead FUSE
// server nothing can be saved, and its users read errors already.
func sweepMounts(ctx context.Context, dir string) error {
	b, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 5 {
			if p := unescape(f[4]); p == dir || strings.HasPrefix(p, dir+"/") {
				points = append(points, p)
			}
		}
	}
	for i := len(points) - 1; i >= 0; i-- { // what was mounted last first
		log.G(ctx).WithField("path", points[i]).Info("mount of an earlier run is removed")
		if e := unix.Unmount(points[i], unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); e != nil && !errors.Is(e, unix.EINVAL) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// unescape undoes the \ooo of the mount table.
func unescape(s string) string {
	for _, c := range []struct{ code, char string }{{`\040`, " "}, {`\011`, "\t"}, {`\012`, "\n"}, {`\134`, `\`}} {
		s = strings.ReplaceAll(s, c.code, c.char)
	}
	return s
}

// below accepts files in a folder.
func below(dir string) func(name, file string) bool {
	return func(_, file string) bool { return strings.HasPrefix(file, dir+"/") }
}

// letGo unbinds the loop devices on files that want accepts, or, if they are
// in use, lets the kernel do it when they are not any more. Whoever made them,
// such as a hypervisor for a guest: it is for files whose server is gone, and a
// read of them fails anyway.
func letGo(ctx context.Context, want func(name, file string) bool) error {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, e2 := os.ReadFile(filepath.Join(sysBlock, e.Name(), "loop/backing_file"))
		if e2 != nil || !want(e.Name(), strings.TrimSuffix(string(b), "\n")) {
			continue
		}
		f, e2 := os.Open(filepath.Join("/dev", e.Name()))
		if e2 != nil {
			continue // gone meanwhile
		}
		e2 = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		_ = f.Close()
		if e2 != nil && !errors.Is(e2, unix.ENXIO) {
			err = errors.Join(err, e2)
			continue
		}
		log.G(ctx).WithField("device", e.Name()).Info("loop device on a view that has ended is let go")
	}
	return err
}

// orphaned accepts loop devices on a file of that path in a file system that
// is mounted nowhere any more: what a service leaves that had a mount
// namespace of its own.
func orphaned(path string) func(name, file string) bool {
	return func(name, file string) bool {
		if file != path {
			return false
		}
		f, err := os.Open(filepath.Join("/dev", name))
		if err != nil {
			return false
		}
		defer f.Close()
		info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
		if err != nil || info.Flags&unix.LO_FLAGS_READ_ONLY == 0 {
			return false
		}
		mounts, err := os.ReadFile("/proc/thread-self/mountinfo")
		dev := fmt.Sprintf(" %d:%d ", unix.Major(info.Device), unix.Minor(info.Device))
		return err == nil && unix.Major(info.Device) == 0 && !strings.Contains(string(mounts), dev)
	}
}

// ourLoops are the loop devices that bear the mark of a folder.
func ourLoops(dir string) ([]string, error) {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "loop") {
			continue
		}
		if _, err := os.Stat(filepath.Join(sysBlock, e.Name(), "loop")); err != nil {
			continue // not bound
		}
		if strings.HasPrefix(labelled(e.Name()), labelOf(dir, "")) {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func sweepLoops(ctx context.Context, dir string) error {
	names, err := ourLoops(dir)
	for _, name := range names {
		giveUp(name) // a mount of it may still try to write
		f, e := os.Open(filepath.Join("/dev", name))
		if e != nil {
			continue // gone meanwhile
		}
		label := labelled(name)
		e = unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0)
		_ = f.Close()
		if errors.Is(e, unix.ENXIO) {
			continue
		}
		log.G(ctx).WithField("device", name).Info("loop device of an earlier run is removed")
		if e == nil {
			e = gone(ctx, name, label)
		}
		err = errors.Join(err, e)
	}
	return err
}

// sweepFiles removes scratch files by their names.
func sweepFiles(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), fuseimg.ScratchPrefix) && !strings.HasPrefix(e.Name(), drillPrefix) {
			continue
		}
		log.G(ctx).WithField("file", e.Name()).Info("scratch file of an earlier run is removed")
		if e := os.Remove(filepath.Join(dir, e.Name())); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// drillPrefix begins the names of the scratch files of drills.
const drillPrefix = "drill-"
