package local

import (
	"errors"
	"io/fs"
	"os"

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

// renew removes a free loop device that once had a thick image: it would take
// no discards for ever, and the kernel lets nobody switch that back. The
// kernel makes another one under the same number. It reports whether it did.
func renew(ctl *os.File, number int, name string) bool {
	can, err := readSys(name, "queue/discard_max_hw_bytes")
	if err != nil || can == "0" {
		return false
	}
	if now, err := readSys(name, "queue/discard_max_bytes"); err != nil || now != "0" {
		return false
	}
	return unix.IoctlSetInt(int(ctl.Fd()), unix.LOOP_CTL_REMOVE, number) == nil
}
