package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// loop is one bound loop device as it was when looked at.
type loop struct {
	name string // loop7
	dev  uint64 // its device number
	file string // path of the file behind it, as the kernel has it
	info unix.LoopInfo64
	size volspec.Size
}

// The names of our loop devices. The kernel has room for 63 bytes: 2 + 20 +
// 1 + 36 are used.
const (
	livePrefix   = "m:"
	fencedPrefix = "f:"
)

func (l *loop) label() string {
	name, _, _ := bytes.Cut(l.info.File_name[:], []byte{0})
	return string(name)
}

func setLabel(info *unix.LoopInfo64, label string) {
	info.File_name = [64]uint8{}
	copy(info.File_name[:63], label)
}

func liveLabel(vm volspec.VMID, r hypervisor.Ref) string {
	return livePrefix + volspec.Serial(r.Volume) + ":" + string(vm)
}

// owner is the VM that a live loop device of ours belongs to, and its serial.
func (l *loop) owner() (serial string, vm volspec.VMID, ours bool) {
	rest, ok := strings.CutPrefix(l.label(), livePrefix)
	serial, id, found := strings.Cut(rest, ":")
	return serial, volspec.VMID(id), ok && found
}

func (l *loop) fenced() bool   { return strings.HasPrefix(l.label(), fencedPrefix) }
func (l *loop) readOnly() bool { return l.info.Flags&unix.LO_FLAGS_READ_ONLY != 0 }

// who names the holder for a sentence.
func (l *loop) who(c *conf) string {
	if _, vm, ours := l.owner(); ours {
		return "VM " + c.vmName(vm)
	}
	return "/dev/" + l.name + ", which somebody else made,"
}

// deleted is what the kernel adds to the path of a file that has none left.
const deleted = " (deleted)"

const sysBlock = "/sys/block"

func sysfs(name, file string) string { return filepath.Join(sysBlock, name, file) }

func readSys(name, file string) (string, error) {
	b, err := os.ReadFile(sysfs(name, file))
	return strings.TrimSuffix(string(b), "\n"), err
}

// loops lists the bound loop devices whose file has a name that want accepts.
// Only those are opened: an open device cannot be unbound at that moment.
func loops(want func(file string) bool) ([]*loop, error) {
	entries, err := os.ReadDir(sysBlock)
	if err != nil {
		return nil, fail(err, "listing the loop devices")
	}
	var all []*loop
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "loop") {
			continue
		}
		file, err := readSys(e.Name(), "loop/backing_file")
		if err != nil || !want(file) { // unbound, or on its way to be
			continue
		}
		l, err := look(e.Name())
		if err != nil {
			return nil, err
		}
		if l != nil {
			l.file = file
			all = append(all, l)
		}
	}
	return all, nil
}

// look reads what a loop device is bound to, nil when it is not.
func look(name string) (*loop, error) {
	dev, err := devNumber(name)
	if err != nil {
		return nil, nil //nolint:nilerr // the device is gone
	}
	info, err := status(name, dev)
	if err != nil {
		if _, now := readSys(name, "loop/backing_file"); errors.Is(err, unix.ENXIO) || errors.Is(now, fs.ErrNotExist) {
			return nil, nil // unbound meanwhile
		}
		return nil, fail(err, "looking at loop device %s", name)
	}
	l := &loop{name: name, dev: dev, info: *info}
	if sectors, err := readSys(name, "size"); err == nil {
		n, _ := strconv.ParseInt(sectors, 10, 64)
		l.size = volspec.Size(n) * 512
	}
	return l, nil
}

func status(name string, dev uint64) (*unix.LoopInfo64, error) {
	f, err := openLoop(name, dev, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return unix.IoctlLoopGetStatus64(int(f.Fd()))
}

func devNumber(name string) (uint64, error) {
	s, err := readSys(name, "dev")
	if err != nil {
		return 0, err
	}
	var major, minor uint32
	if _, err := fmt.Sscanf(s, "%d:%d", &major, &minor); err != nil {
		return 0, err
	}
	return unix.Mkdev(major, minor), nil
}

// openLoop opens a loop device by its node in /dev, which it makes when it is
// missing, as in a container with a /dev of its own.
func openLoop(name string, dev uint64, flags int) (*os.File, error) {
	node := filepath.Join("/dev", name)
	for range 2 {
		fd, err := unix.Open(node, flags|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), node), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(dev)); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return nil, unix.ENXIO
}

// usersOf lists the loop devices, ours and others, that use the open file. A
// device that was cut off does not.
func usersOf(f *os.File, name string) (users []*loop, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	all, err := loops(func(file string) bool { return path.Base(strings.TrimSuffix(file, deleted)) == name })
	for _, l := range all {
		if l.info.Inode == st.Ino && l.info.Device == st.Dev && !l.fenced() {
			users = append(users, l)
		}
	}
	return users, err
}

// writerOf is a loop device that may write to the open image, nil without.
func writerOf(f *os.File, r hypervisor.Ref) (*loop, error) {
	users, err := usersOf(f, imgName(r))
	for _, u := range users {
		if !u.readOnly() {
			return u, err
		}
	}
	return nil, err
}

// resize makes a loop device as large as its file.
func (l *loop) resize() error {
	f, err := openLoop(l.name, l.dev, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetInt(int(f.Fd()), unix.LOOP_SET_CAPACITY, 0)
}

// bind puts the open image on a free loop device.
func bind(img *os.File, readOnly bool, label string) (*loop, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	conf := unix.LoopConfig{Fd: uint32(img.Fd()), Size: 512}
	conf.Info.Flags = unix.LO_FLAGS_DIRECT_IO
	if readOnly {
		conf.Info.Flags |= unix.LO_FLAGS_READ_ONLY
	}
	setLabel(&conf.Info, label)
	err = error(unix.EBUSY)
	for range 1000 { // each time somebody else was quicker
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		var n int
		if n, err = fresh(ctl); err != nil {
			continue
		}
		var l *loop
		if l, err = configure("loop"+strconv.Itoa(n), readOnly, &conf); err == nil {
			return l, nil
		}
	}
	return nil, err
}

func configure(name string, readOnly bool, conf *unix.LoopConfig) (*loop, error) {
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	dev, err := devNumber(name)
	var f *os.File
	if err == nil {
		f, err = openLoop(name, dev, mode)
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENXIO) {
		return nil, unix.EBUSY // somebody has just removed it: see fresh
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := unix.IoctlLoopConfigure(int(f.Fd()), conf); err != nil {
		return nil, err
	}
	l, err := look(name)
	if err == nil && l == nil {
		return nil, unix.EBUSY // unbound again and perhaps taken by somebody else
	}
	return l, err
}
