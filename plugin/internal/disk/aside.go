package disk

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/plugin/internal/driver"
)

// aside mounts a filesystem in no namespace at all, hands its root to fn and
// unmounts it. Nobody else can see or enter it, and a crash leaves nothing:
// the mount ends with its file descriptors.
func (g *Guest) aside(ctx context.Context, device, fstype string, flags []string, fn func(dir int) error) (err error) {
	const what = "mount %s aside"
	ctxfd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return errkind.Wrap(errkind.Unsupported, err, what, device)
	}
	defer func() { err = errors.Join(err, unix.Close(ctxfd)) }()
	if err := unix.FsconfigSetString(ctxfd, "source", device); err != nil {
		return errkind.Wrap(errkind.Internal, err, what, device)
	}
	for _, f := range flags {
		if err := unix.FsconfigSetFlag(ctxfd, f); err != nil {
			return errkind.Wrap(errkind.Internal, err, what, device)
		}
	}
	if err := unix.FsconfigCreate(ctxfd); err != nil {
		return errkind.Wrap(mountKind(err), err, what, device)
	}
	mnt, err := unix.Fsmount(ctxfd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, what, device)
	}
	err = inside(mnt, fn)
	if cerr := unix.Close(mnt); err == nil {
		err = cerr
	}
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, what, device)
	}
	return nil
}

func inside(mnt int, fn func(dir int) error) error {
	dir, err := unix.Openat(mnt, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = fn(dir)
	if err == nil {
		err = unix.Syncfs(dir)
	}
	return errors.Join(err, unix.Close(dir))
}

// empty removes the lost+found of a new ext4. Docker copies an image's files
// into a volume, and databases accept one, only when nothing is in it; e2fsck
// makes the folder again when it has something to put there.
func empty(dir int) error {
	err := unix.Unlinkat(dir, "lost+found", unix.AT_REMOVEDIR)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// own sets the owner and mode of a new filesystem's root.
func own(dir int, fs driver.Filesystem) error {
	uid, gid := -1, -1
	if fs.UID != nil {
		uid = *fs.UID
	}
	if fs.GID != nil {
		gid = *fs.GID
	}
	if err := unix.Fchown(dir, uid, gid); err != nil {
		return err
	}
	if fs.Mode != nil { // after chown, which may clear bits
		return unix.Fchmod(dir, *fs.Mode&0o7777)
	}
	return nil
}
