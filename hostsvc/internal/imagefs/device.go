package imagefs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// labelPrefix begins the names of our loop devices; then come the mark of the
// folder that they belong to, ":" and what they are for.
const labelPrefix = "i:"

// labelOf names loop devices of a folder, so that a sweep of another folder on
// this machine leaves them alone.
func labelOf(dir, what string) string {
	sum := sha256.Sum256([]byte(dir))
	return labelPrefix + hex.EncodeToString(sum[:6]) + ":" + what
}

// loop is one loop device of ours, bound until its last user closes it.
type loop struct {
	name string   // loop7
	file *os.File // keeps it bound
}

func (l *loop) path() string { return filepath.Join("/dev", l.name) }

const sysBlock = "/sys/block"

// bind puts an open file on a free loop device. The kernel unbinds it by
// itself when the last user, we or a mount, lets go.
func bind(img *os.File, readOnly bool, label string) (*loop, error) {
	return bindRange(img, readOnly, label, image.Extent{})
}

// bindRange is bind of a range of the file, in whole sectors; the zero one is
// all of it.
func bindRange(img *os.File, readOnly bool, label string, only image.Extent) (*loop, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer ctl.Close()
	conf := unix.LoopConfig{Fd: uint32(img.Fd()), Size: 512}
	conf.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	conf.Info.Offset, conf.Info.Sizelimit = uint64(only.Offset), uint64(only.Length)
	mode := os.O_RDWR
	if readOnly {
		conf.Info.Flags |= unix.LO_FLAGS_READ_ONLY
		mode = os.O_RDONLY
	}
	copy(conf.Info.File_name[:63], label)
	err = unix.EBUSY
	for range 1000 { // each time somebody else was quicker
		var n int
		if n, err = unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE); err != nil {
			return nil, err
		}
		name := "loop" + strconv.Itoa(n)
		var f *os.File
		if f, err = openNode(name, mode); err != nil {
			return nil, err
		}
		if err = unix.IoctlLoopConfigure(int(f.Fd()), &conf); err == nil {
			return &loop{name, f}, nil
		}
		_ = f.Close()
		if !errors.Is(err, unix.EBUSY) {
			return nil, err
		}
	}
	return nil, err
}

// openNode opens a loop device by its node in /dev, which it makes when it is
// missing, as in a container with a /dev of its own.
func openNode(name string, mode int) (*os.File, error) {
	node := filepath.Join("/dev", name)
	f, err := os.OpenFile(node, mode, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	b, err := os.ReadFile(filepath.Join(sysBlock, name, "dev"))
	if err != nil {
		return nil, err
	}
	major, minor, _ := strings.Cut(strings.TrimSpace(string(b)), ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := unix.Mknod(node, unix.S_IFBLK|0o600, int(unix.Mkdev(uint32(ma), uint32(mi)))); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.OpenFile(node, mode, 0)
}

// labelled reads the name of a loop device, "" when it is not bound.
func labelled(name string) string {
	f, err := os.Open(filepath.Join("/dev", name))
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return ""
	}
	label, _, _ := bytes.Cut(info.File_name[:], []byte{0})
	return string(label)
}

// released is how long the kernel is waited for after the last user of a
// device has let go. Probes of the system, as by udev, may look at it meanwhile.
const released = 30 * time.Second

// release closes the device and waits until the kernel has unbound it.
func (l *loop) release(ctx context.Context) error {
	label := labelled(l.name)
	if err := l.file.Close(); err != nil {
		return err
	}
	return gone(ctx, l.name, label)
}

func gone(ctx context.Context, name, label string) error {
	limit := time.NewTimer(released)
	defer limit.Stop()
	for {
		if _, err := os.Stat(filepath.Join(sysBlock, name, "loop")); err != nil {
			return nil
		}
		if now := labelled(name); now != label {
			return nil // somebody else has it already
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errkind.New(errkind.InUse, "/dev/%s is still in use although nobody should: see what has it open, with lsof or in the mount namespaces", name)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
