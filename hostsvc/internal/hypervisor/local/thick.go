package local

import (
	"errors"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
)

// keepRoom makes a loop device of a thick image take no discards: mkfs,
// fstrim and mounts that discard would make the image thin. Kernels without
// the switch have nothing to switch.
func keepRoom(name, format string) error {
	if format == volspec.Thin {
		return nil
	}
	err := os.WriteFile(sysfs(name, "queue/discard_max_bytes"), []byte("0"), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// fresh is the number of a free loop device that takes discards. One that once
// had a thick image takes none for ever, and the kernel lets nobody switch that
// back; it is removed, and the kernel makes another one under the same number.
// While something has it open it cannot be removed: then there is a new one.
func fresh(ctl *os.File) (int, error) {
	n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil || !spoilt("loop"+strconv.Itoa(n)) {
		return n, err
	}
	if unix.IoctlSetInt(int(ctl.Fd()), unix.LOOP_CTL_REMOVE, n) == nil {
		return 0, unix.EBUSY // ask again
	}
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, ctl.Fd(), unix.LOOP_CTL_ADD, ^uintptr(0))
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

// spoilt reports whether a loop device takes no discards although it could.
func spoilt(name string) bool {
	can, err := readSys(name, "queue/discard_max_hw_bytes")
	if err != nil || can == "0" {
		return false
	}
	now, err := readSys(name, "queue/discard_max_bytes")
	return err == nil && now == "0"
}
