package imagefs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/log"
)

// Sweep removes what a dead process left of a folder: mounts in it, loop
// devices that bear its mark, and scratch files in it. The kernel removes most
// of that by itself when a process dies. It must be called before the folder is
// used, by its only user: a living process would lose what it works with.
// Repeated, and of a folder that is not there: nil.
func Sweep(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fail(err, "cleaning up %s", dir)
	}
	return fail(errors.Join(sweepMounts(ctx, dir), sweepLoops(ctx, dir), sweepFiles(ctx, dir)), "cleaning up %s", dir)
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
