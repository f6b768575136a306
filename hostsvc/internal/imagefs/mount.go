package imagefs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
)

// mountOptions keep what is in the image from choosing: a filesystem may ask
// for a panic of the kernel on errors, and xfs refuses a second one of the same
// UUID.
var mountOptions = map[string][]string{
	volspec.Ext4: {"errors=remount-ro"},
	volspec.XFS:  {"nouuid"},
}

// mount mounts a device where nobody can see it: in no mount namespace. The
// file is its root folder, and the mount lasts until the last file in it is
// closed. No device node, setuid bit or program in it means anything. With
// readOnly the files do not change; the journal is replayed all the same if the
// device can be written to.
func mount(device, fstype string, readOnly bool) (*os.File, error) {
	ctx, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(ctx) }()
	if err := unix.FsconfigSetString(ctx, "source", device); err != nil {
		return nil, err
	}
	for _, o := range mountOptions[fstype] {
		if key, value, found := strings.Cut(o, "="); found {
			err = unix.FsconfigSetString(ctx, key, value)
		} else {
			err = unix.FsconfigSetFlag(ctx, key)
		}
		if err != nil {
			return nil, fmt.Errorf("option %s: %w", o, err)
		}
	}
	attr := unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOATIME
	if readOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
		if err := unix.FsconfigSetFlag(ctx, "ro"); err != nil {
			return nil, err
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return nil, said(ctx, err)
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "root of "+device), nil
}

// said adds what the kernel wrote about a mount that did not succeed.
func said(ctx int, err error) error {
	var words []string
	buf := make([]byte, 4096)
	for range 16 {
		n, rerr := unix.Read(ctx, buf)
		if rerr != nil || n <= 0 {
			break
		}
		line := bytes.TrimSpace(buf[:n])
		if bytes.HasPrefix(line, []byte("e ")) {
			words = append(words, string(line[2:]))
		}
	}
	if len(words) == 0 {
		return err
	}
	return fmt.Errorf("%s: %w", strings.Join(words, "; "), err)
}

// readOnlyDevice reports whether a mount was refused since the device cannot
// be written to, which the replay of a journal needs.
func readOnlyDevice(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES)
}
