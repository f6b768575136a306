package local

import (
	"errors"
	"io/fs"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nodesDir is the folder in a VM's /dev with its disks, by serial.
const nodesDir = "mooring"

// nodes opens the folder of a VM's device nodes. The VM may have put anything
// below its /dev; no link of its leads out of there.
func (v VM) nodes(make bool) (*folder, error) {
	root, err := os.OpenRoot(v.DevDir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if make {
		if err := root.Mkdir(nodesDir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	sub, err := root.OpenRoot(nodesDir)
	if err != nil {
		return nil, err
	}
	dir, err := sub.Open(".")
	if err != nil {
		_ = sub.Close()
		return nil, err
	}
	return &folder{sub, dir}, nil
}

// putNode lets the VM see a loop device under a serial. What was there is
// replaced.
func (v VM) putNode(serial string, dev uint64) error {
	if v.DevDir == "" { // not configured any more
		return nil
	}
	d, err := v.nodes(true)
	if err != nil {
		return err
	}
	defer d.close()
	st, err := d.stat(serial)
	if err == nil && st.Mode == unix.S_IFBLK|0o600 && st.Rdev == dev {
		return nil
	}
	if err == nil {
		err = d.remove(serial)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unix.Mknodat(d.fd(), serial, unix.S_IFBLK|0o600, int(dev))
}

// removeNode takes the node away. Absent: nil.
func (v VM) removeNode(serial string) error {
	if v.DevDir == "" {
		return nil
	}
	d, err := v.nodes(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	return d.remove(serial)
}

// sweepNodes removes nodes of that loop device that an earlier use left with
// any VM, before the device is given to another.
func (c *conf) sweepNodes(dev uint64) error {
	for _, v := range c.vms {
		d, err := v.nodes(false)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		var stale []string
		err = d.each(func(name string) bool {
			if st, err := d.stat(name); err == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK && st.Rdev == dev {
				stale = append(stale, name)
			}
			return true
		})
		for _, name := range stale {
			err = errors.Join(err, d.remove(name))
		}
		d.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// deviceSize is the capacity of an open block device.
func deviceSize(f *os.File) (size uint64, err error) {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return 0, errno
	}
	return size, nil
}
