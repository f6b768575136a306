package disk

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/plugin/internal/driver"
)

// Polling is the one way of waiting that works for device nodes, udev's
// links and sysfs alike. mismatchPatience is for a disk that is there but not
// yet as it should be: a size that is just changing, a node about to be
// replaced.
const (
	firstPoll        = 5 * time.Millisecond
	lastPoll         = 200 * time.Millisecond
	mismatchPatience = 3 * time.Second
)

const loopMajor = 7

var serialWord = regexp.MustCompile(`^[0-9A-Za-z]{8,32}$`)

// Find waits for the disk, see driver.Disks.
func (g *Guest) Find(ctx context.Context, d driver.Disk) (string, error) {
	start := time.Now()
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		dev, err := g.Lookup(d)
		switch {
		case err == nil && d.ReadOnly:
			return dev, protect(dev)
		case err == nil || errkind.Is(err, errkind.Invalid):
			return dev, err
		case !errkind.Is(err, errkind.NotFound) && time.Since(start) > mismatchPatience:
			return "", err
		}
		select {
		case <-ctx.Done():
			if errkind.Is(err, errkind.NotFound) {
				err = errkind.Wrap(errkind.Unavailable, err, "the disk with serial %s did not appear in this VM in time: repeat the command, and look at the VM's hardware if it happens again", d.Serial)
			}
			return "", err
		case <-time.After(pause):
		}
	}
}

// Lookup finds the disk if it is there now, see driver.Disks.
func (g *Guest) Lookup(d driver.Disk) (string, error) {
	if !serialWord.MatchString(d.Serial) {
		return "", errkind.New(errkind.Invalid, "disk serial %q is not valid", d.Serial)
	}
	var mismatch error
	for _, path := range g.candidates(d.Serial) {
		err := g.verify(path, d)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			mismatch = err
		}
	}
	if mismatch != nil {
		return "", mismatch
	}
	return "", errkind.New(errkind.NotFound, "no disk with serial %s in this VM", d.Serial)
}

// candidates are the paths at which a disk with this serial could be.
func (g *Guest) candidates(serial string) []string {
	paths := []string{filepath.Join(g.dev, "mooring", serial)}
	links, _ := filepath.Glob(filepath.Join(g.dev, "disk/by-id", "*"+serial)) // the pattern is valid
	paths = append(paths, links...)
	blocks, _ := os.ReadDir(filepath.Join(g.sys, "block")) // no sysfs: no candidates from it
	for _, b := range blocks {
		if bears(g.identities(filepath.Join(g.sys, "block", b.Name())), serial) {
			paths = append(paths, filepath.Join(g.dev, b.Name()))
		}
	}
	return paths
}

// identities are whatever sysfs says about who a disk is: virtio and NVMe have
// a serial, SCSI has one on page 0x80 and names on page 0x83, of which wwid is
// the first. Loop devices have none.
func (g *Guest) identities(dir string) (all []string) {
	for _, f := range []string{"serial", "device/serial", "device/vpd_pg80", "device/vpd_pg83", "wwid", "device/wwid"} {
		data, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil {
			continue
		}
		if f == "device/vpd_pg83" { // its names are binary
			data = []byte(hex.EncodeToString(data))
		}
		if s := strings.Trim(string(data), "\x00 \n\t"); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// bears reports whether one of a disk's identities is that serial.
func bears(identities []string, serial string) bool {
	serial = strings.ToLower(serial)
	return slices.ContainsFunc(identities, func(s string) bool { return strings.Contains(strings.ToLower(s), serial) })
}

// verify opens path and checks that it is the wanted disk.
func (g *Guest) verify(path string, d driver.Disk) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOMEDIUM) {
			return fmt.Errorf("%s: %w", path, os.ErrNotExist) // a node without its device
		}
		if errors.Is(err, os.ErrNotExist) {
			return err
		}
		return errkind.Wrap(errkind.Unavailable, err, "open the disk with serial %s", d.Serial)
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "look at %s", path)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return errkind.New(errkind.Corrupt, "%s is not a block device: it was put there by something else, remove it", path)
	}
	if err := g.checkSerial(f, st.Rdev, d.Serial); err != nil {
		return err
	}
	size, err := deviceSize(f)
	if err != nil {
		return err
	}
	if d.Size != 0 && size != d.Size {
		return errkind.New(errkind.Corrupt, "the disk with serial %s has %d bytes where %d are expected: it is not used", d.Serial, size, d.Size)
	}
	return nil
}

func (g *Guest) checkSerial(f *os.File, rdev uint64, serial string) error {
	if unix.Major(rdev) == loopMajor {
		info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
		if errors.Is(err, unix.ENXIO) {
			return fmt.Errorf("%s: %w", f.Name(), os.ErrNotExist)
		}
		if err != nil {
			return errkind.Wrap(errkind.Unavailable, err, "look at loop device %s", f.Name())
		}
		if name := unix.ByteSliceToString(info.File_name[:]); !strings.HasPrefix(name, "m:"+serial+":") {
			return errkind.New(errkind.NotFound, "%s is the disk %q, not the one with serial %s: it is not used", f.Name(), name, serial)
		}
		return nil
	}
	has := g.identities(fmt.Sprintf("%s/dev/block/%d:%d", g.sys, unix.Major(rdev), unix.Minor(rdev)))
	if len(has) > 0 && !bears(has, serial) {
		return errkind.New(errkind.NotFound, "%s has serial %q, not %s: it is not used", f.Name(), has[0], serial)
	}
	return nil
}

// protect makes a device read-only for this kernel, for as long as it is
// plugged in. A loop device is left as it is: it outlives what is plugged into
// it, and is read-only itself when that is.
func protect(device string) error {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "open %s", device)
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || unix.Major(st.Rdev) == loopMajor {
		return errkind.Wrap(errkind.Unavailable, err, "look at %s", device)
	}
	return errkind.Wrap(errkind.Unavailable, unix.IoctlSetPointerInt(int(f.Fd()), unix.BLKROSET, 1), "make %s read-only", device)
}

// deviceSize is the size of a block device, or of a regular file in tests.
func deviceSize(f *os.File) (int64, error) {
	size, err := f.Seek(0, 2)
	return size, errkind.Wrap(errkind.Unavailable, err, "size of %s", f.Name())
}
