package plug

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// attach binds a free loop device to a file.
func attach(k Disk) (int, error) {
	mode := os.O_RDWR
	if k.ReadOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(k.Path, mode, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer ctl.Close()
	config := &unix.LoopConfig{Fd: uint32(f.Fd())}
	if k.ReadOnly {
		config.Info.Flags = unix.LO_FLAGS_READ_ONLY
	}
	// The name says whose device it is, for who looks into the loop devices of the
	// machine: they have no identity of their own.
	copy(config.Info.File_name[:], "m:"+serial(k.UUID)+":"+filepath.Base(k.Path))
	config.Info.File_name[len(config.Info.File_name)-1] = 0
	for range 100 {
		n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return 0, err
		}
		node := fmt.Sprintf("/dev/loop%d", n)
		if _, err := os.Lstat(node); err != nil {
			if err := unix.Mknod(node, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(n)))); err != nil && !errors.Is(err, os.ErrExist) {
				return 0, err
			}
		}
		dev, err := os.OpenFile(node, os.O_RDWR, 0)
		if err != nil {
			return 0, err
		}
		err = unix.IoctlLoopConfigure(int(dev.Fd()), config)
		_ = dev.Close()
		if !errors.Is(err, unix.EBUSY) {
			return n, err
		}
	}
	return 0, unix.EBUSY
}

func (d *device) open() (*os.File, error) {
	return os.OpenFile(fmt.Sprintf("/dev/loop%d", d.loop), os.O_RDONLY, 0)
}

// resize lets the device follow its file.
func (d *device) resize(size int64) error {
	if d.size == size {
		return nil
	}
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	d.size = size
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0)
}

// detach frees the device. While it is open in the guest the kernel keeps it,
// and frees it with the last user.
func (d *device) detach() error {
	f, err := d.open()
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		return err
	}
	return nil
}
