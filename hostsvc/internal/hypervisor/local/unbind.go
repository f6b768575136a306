package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// errGone: the loop device is no longer what it was when it was looked at.
var errGone = errors.New("the loop device was unbound meanwhile")

// open opens the loop device if it is still the one that was looked at. As
// long as the file is open, nobody can bind it to something else.
func (l *loop) open(flags int) (*os.File, error) {
	f, err := openLoop(l.name, l.dev, flags)
	if errors.Is(err, unix.ENXIO) {
		return nil, errGone
	}
	if err != nil {
		return nil, err
	}
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err == nil && (info.File_name != l.info.File_name || info.Inode != l.info.Inode || info.Device != l.info.Device) {
		err = errGone
	}
	if errors.Is(err, unix.ENXIO) {
		err = errGone
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// release unbinds the loop device that f has open, at the moment f is closed.
// While somebody else has it open: false, with nothing changed.
func release(f *os.File) (bool, error) {
	fd := int(f.Fd())
	info, err := unix.IoctlLoopGetStatus64(fd)
	if err == nil {
		err = unix.IoctlSetInt(fd, unix.LOOP_CLR_FD, 0)
	}
	if errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// With one opener the device is on its way out now. With more the kernel
	// has set a mark, to unbind it when the last one closes: taken back here,
	// while our own file still keeps it bound.
	if _, err := unix.IoctlLoopGetStatus64(fd); errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	info.Flags &^= unix.LO_FLAGS_AUTOCLEAR
	err = unix.IoctlLoopSetStatus64(fd, info)
	if errors.Is(err, unix.ENXIO) {
		return true, nil
	}
	return false, err
}

// unbind releases the loop device as soon as nobody else has it open, and
// waits until the kernel has let go. Mounted, or open for longer than
// patience: unix.EBUSY, with nothing changed.
//
// Opening with O_EXCL fails while any mount namespace has it mounted; short
// openers, such as a probe for file systems or ourselves, are waited for.
func (l *loop) unbind(ctx context.Context, patience time.Duration, waitMounted bool) error {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		done, err := l.tryUnbind()
		if done || (err != nil && !errors.Is(err, unix.EBUSY)) {
			return errors.Join(err, l.gone(ctx))
		}
		if err != nil && !waitMounted {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return unix.EBUSY
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (l *loop) tryUnbind() (bool, error) {
	f, err := l.open(os.O_RDONLY | unix.O_EXCL)
	if errors.Is(err, errGone) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	return release(f)
}

// gone waits until the kernel has unbound the device.
func (l *loop) gone(ctx context.Context) error {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for {
		file, err := readSys(l.name, "loop/backing_file")
		if err != nil || file != l.file {
			return nil
		}
		if now, err := look(l.name); err != nil || now == nil || now.info.File_name != l.info.File_name {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errkind.New(errkind.Unavailable, "/dev/%s is still being unbound by the kernel: repeat it", l.name)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// farAway is an offset that no image reaches.
const farAway = 1 << 62

// cut takes a loop device away from all who use it, whether they have it
// mounted, open or mapped. First its capacity becomes zero: the kernel writes
// out what is on its way and then fails every further request with EIO, as
// for a disk that was pulled out. A request can have passed that check before
// and be held up on its way; so then the device is moved far beyond the image,
// where such a straggler does not hit its data: see Local.cutOff for what it
// can hit. A file system on the device is left as after a power failure; a
// late unmount writes nothing.
//
// On error the device is as it was, and usable.
func cut(f *os.File) error {
	err := change(f, func(i *unix.LoopInfo64) { i.Sizelimit = 1 })
	if err == nil {
		err = change(f, func(i *unix.LoopInfo64) { i.Offset = farAway })
	}
	if err == nil {
		var size uint64
		if size, err = deviceSize(f); err == nil && size != 0 {
			err = fmt.Errorf("the kernel left %s a capacity of %d bytes", f.Name(), size)
		}
	}
	if err != nil {
		return errors.Join(err, change(f, func(i *unix.LoopInfo64) { i.Offset, i.Sizelimit = 0, 0 }))
	}
	return nil
}

// markFenced says that the device has been cut: it is no attachment any more,
// and is unbound when its last user closes it.
func markFenced(f *os.File) error {
	return change(f, func(i *unix.LoopInfo64) {
		setLabel(i, fencedPrefix+strings.TrimPrefix((&loop{info: *i}).label(), livePrefix))
		i.Flags |= unix.LO_FLAGS_AUTOCLEAR
	})
}

// change changes the settings of an open loop device. The kernel waits for
// the requests that are being worked on.
func change(f *os.File, how func(*unix.LoopInfo64)) error {
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return err
	}
	how(info)
	return unix.IoctlLoopSetStatus64(int(f.Fd()), info)
}
