package local

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Device is a loop device over a whole file that is not a disk: package
// managed keeps a file system in one.
type Device struct{ loop *loop }

// DeviceOf is the loop device that has the open file, nil without.
func DeviceOf(f *os.File) (*Device, error) {
	users, err := usersOf(f, filepath.Base(f.Name()))
	if err != nil || len(users) == 0 {
		return nil, err
	}
	return &Device{users[0]}, nil
}

// BindDevice puts the open file on a free loop device. The device keeps the
// file as it is open, locks included.
func BindDevice(f *os.File, label string) (*Device, error) {
	l, err := bind(f, false, label)
	if err != nil {
		return nil, err
	}
	return &Device{l}, nil
}

// Node is the path of the device, as mount(2) wants it. It is made when it is
// missing.
func (d *Device) Node() (string, error) {
	f, err := d.loop.open(os.O_RDONLY)
	if err != nil {
		return "", err
	}
	return filepath.Join("/dev", d.loop.name), f.Close()
}

// Number is the device number, which files on a file system in it have too.
func (d *Device) Number() uint64 { return d.loop.dev }

// Resize makes the device as large as its file now is, and returns its bytes.
func (d *Device) Resize() (int64, error) {
	if err := d.loop.resize(); err != nil {
		return 0, err
	}
	f, err := d.loop.open(os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := deviceSize(f)
	return int64(n), err
}

// FreeWhenUnused lets the kernel unbind the device when nothing has it mounted
// or open any more.
func (d *Device) FreeWhenUnused() error {
	if d.loop.info.Flags&unix.LO_FLAGS_AUTOCLEAR != 0 {
		return nil
	}
	f, err := d.loop.open(os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	return change(f, func(i *unix.LoopInfo64) { i.Flags |= unix.LO_FLAGS_AUTOCLEAR })
}
