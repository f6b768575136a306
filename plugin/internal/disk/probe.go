package disk

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// probeLen is how much of each end of a disk must read as zeros before it is
// formatted. All filesystems and partition tables in use have their mark
// there.
const probeLen = 1 << 20

// Busy opens the device exclusively, see driver.Disks. The kernel refuses
// that while any mount namespace has it mounted, also one that is hidden from
// this process.
func (g *Guest) Busy(device string) (bool, error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return true, nil
	}
	if err != nil {
		return false, errkind.Wrap(errkind.Unavailable, err, "open %s exclusively", device)
	}
	return false, errkind.Wrap(errkind.Unavailable, unix.Close(fd), "close %s", device)
}

// CheckBlank reads both ends of the device, see driver.Disks.
func (g *Guest) CheckBlank(ctx context.Context, device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "open %s before formatting it", device)
	}
	defer func() { _ = f.Close() }() // only read
	size, err := deviceSize(f)
	if err != nil {
		return err
	}
	// What is cached may be older than the disk.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "drop the cache of %s", device)
	}
	return checkBlank(ctx, f, size, device)
}

// checkBlank decides by bytes read and by nothing else: an error, a short
// read and an early end are all "not known to be blank".
func checkBlank(ctx context.Context, r io.ReaderAt, size int64, device string) error {
	n := min(size, probeLen)
	if n <= 0 {
		return errkind.New(errkind.Unavailable, "%s has no bytes: it is not formatted", device)
	}
	buf := make([]byte, n)
	for _, at := range []int64{0, size - n} {
		if err := ctx.Err(); err != nil {
			return err
		}
		clear(buf)
		got, err := r.ReadAt(buf, at)
		if got != len(buf) {
			return errkind.Wrap(errkind.Unavailable, cmp.Or(err, io.ErrUnexpectedEOF), "%s could not be read at byte %d: a disk that cannot be read is not formatted", device, at)
		}
		for i, b := range buf {
			if b != 0 {
				return errkind.New(errkind.Corrupt, "%s should be a new disk but has data at byte %d: it is not formatted; ask the administrator what it holds", device, at+int64(i))
			}
		}
	}
	return nil
}
