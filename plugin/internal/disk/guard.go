package disk

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// fsImmutable is FS_IMMUTABLE_FL of linux/fs.h.
const fsImmutable = 0x10

// The folder below a mount is a guard: root's, mode 0000 and, where the
// filesystem can, immutable. Whoever writes to the path while the disk is
// away gets an error instead of a place on the wrong disk.

func makeGuard(ctx context.Context, path string) error {
	if err := os.Mkdir(path, 0); err != nil && !errors.Is(err, os.ErrExist) {
		return errkind.Wrap(errkind.Unavailable, err, "make the mount point %s", path)
	}
	err := onDir(path, func(fd int) error {
		flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
		if err == nil && flags&fsImmutable != 0 {
			return nil // made earlier
		}
		return errors.Join(unix.Fchmod(fd, 0), unix.Fchown(fd, 0, 0))
	})
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "close the mount point %s", path)
	}
	if err := setImmutable(path, true); err != nil {
		log.G(ctx).WithError(err).Debug("folder below the mount cannot be made immutable, it has mode 0000")
	}
	return nil
}

// removeGuard removes the folder if it is empty and nothing is mounted on it.
// Failure is harmless: the folder is closed, and used again.
func removeGuard(ctx context.Context, path string) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return
	}
	err := setImmutable(path, false)
	if rerr := os.Remove(path); rerr != nil {
		log.G(ctx).WithError(errors.Join(rerr, err)).WithField("path", path).Warn("folder of an unmounted volume stays")
		_ = setImmutable(path, true) // as it was
	}
}

func setImmutable(path string, on bool) error {
	return onDir(path, func(fd int) error { return immutable(fd, on) })
}

func immutable(fd int, on bool) error {
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	want := flags &^ fsImmutable
	if on {
		want |= fsImmutable
	}
	if want == flags {
		return nil
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, want)
}

func onDir(path string, fn func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return errors.Join(fn(fd), unix.Close(fd))
}

// Open lets the folders below the mounts be removed: called when the plugin
// stops, since `docker plugin rm` cannot remove immutable folders and gives
// up half-way. Mounts stay. The folders keep mode 0000, and the next Mount
// closes them again.
func (g *Guest) Open() error {
	// A copy of the root's mount, without what is mounted on it.
	root, err := unix.OpenTree(unix.AT_FDCWD, g.root, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "look below the mounts of %s", g.root)
	}
	defer func() { _ = unix.Close(root) }()
	entries, err := os.ReadDir(g.root)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "list %s", g.root)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") { // our own state
			continue
		}
		fd, err := unix.Openat(root, e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		err = immutable(fd, false)
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EOPNOTSUPP) {
			err = nil // the filesystem has no such flag
		}
		errs = append(errs, err, unix.Close(fd))
	}
	return errors.Join(errs...)
}
