package managed

import (
	"context"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// ensure does what is missing of: an image, as large as configured, on one
// loop device, mounted, with a file system that fills it. Every step is safe
// to repeat, and a process can end between any two.
func (k *Keeper) ensure(ctx context.Context, s Store) error {
	f, err := k.open(ctx, s)
	if err != nil {
		return err
	}
	defer f.Close()
	// The kernel puts one file on two loop devices; two file systems on it
	// would destroy each other.
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errkind.Wrap(errkind.InUse, err, "datastore %s cannot be mounted: something else works on %s at this moment; repeat it", s.Name, s.image())
	}
	st, err := f.Stat()
	if err != nil {
		return fail(err, "reading the image of datastore %s", s.Name)
	}
	shrunk := tooSmall(s, st.Size())
	if s.bytes() > st.Size() {
		if err := errors.Join(f.Truncate(s.bytes()), f.Sync()); err != nil {
			return fail(err, "growing the image of datastore %s", s.Name)
		}
		crashpoint.Here("managed.grow.file")
	}
	dev, err := s.device(f)
	if err != nil {
		return fail(err, "giving the image of datastore %s a loop device", s.Name)
	}
	if err := s.mount(ctx, dev); err != nil {
		return err
	}
	if err := s.fill(ctx, dev); err != nil {
		return err
	}
	return shrunk
}

// tooSmall is the error of a configured size below what there is.
func tooSmall(s Store, have int64) error {
	if s.bytes() >= have {
		return nil
	}
	return errkind.New(errkind.Invalid, "datastore %s has %s and cannot shrink to %s: configure %s or more", s.Name, volspec.Size(have), s.Size, volspec.Size(have))
}

// Check refuses sizes below those of the images. It changes nothing.
func Check(stores []Store) error {
	var errs []error
	for _, s := range stores {
		if st, err := os.Stat(s.image()); err == nil {
			errs = append(errs, tooSmall(s, st.Size()))
		}
	}
	return errors.Join(errs...)
}

// device is the loop device of the image, which gets one if it has none.
func (s Store) device(f *os.File) (*local.Device, error) {
	dev, err := local.DeviceOf(f)
	if err != nil || dev != nil {
		return dev, err
	}
	// A file of its own: the device keeps it, and with it the lock of f.
	back, err := os.OpenFile(s.image(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer back.Close()
	dev, err = local.BindDevice(back, "d:"+s.Name)
	if err == nil {
		crashpoint.Here("managed.mount.bound")
	}
	return dev, err
}

// mounted reports whether the file system in the device is at the path.
func (s Store) mounted(dev *local.Device) (bool, error) {
	var st unix.Stat_t
	err := unix.Stat(s.Path, &st)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil && st.Dev == dev.Number(), fail(err, "looking at %s, where datastore %s is mounted", s.Path, s.Name)
}

// mount mounts the device unless it is. An unclean log is replayed by that;
// room that is given back goes back to the file system below.
func (s Store) mount(ctx context.Context, dev *local.Device) error {
	there, err := s.mounted(dev)
	if err != nil {
		return err
	}
	if !there {
		if err := s.emptyFolder(); err != nil {
			return err
		}
		node, err := dev.Node()
		if err == nil {
			err = unix.Mount(node, s.Path, "xfs", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "discard")
		}
		if err != nil {
			return fail(err, "mounting datastore %s at %s", s.Name, s.Path)
		}
		crashpoint.Here("managed.mount.mounted")
		log.G(ctx).WithField(log.Datastore, s.Name).Info("managed datastore was mounted")
	}
	return fail(dev.FreeWhenUnused(), "mounting datastore %s at %s", s.Name, s.Path)
}

// fill makes device and file system as large as the image.
func (s Store) fill(ctx context.Context, dev *local.Device) error {
	have, err := dev.Resize()
	if err != nil {
		return fail(err, "growing datastore %s", s.Name)
	}
	crashpoint.Here("managed.grow.device")
	used, err := geometry(s.Path)
	if err != nil {
		return fail(err, "asking datastore %s for its size", s.Name)
	}
	if have-used < 1<<20 {
		return nil
	}
	growfs, err := tool(s, "xfs_growfs", "cannot grow")
	if err != nil {
		return err
	}
	if err := run(ctx, s, growfs, "-d", s.Path); err != nil {
		return fail(err, "growing datastore %s", s.Name)
	}
	log.G(ctx).WithField(log.Datastore, s.Name).WithField("bytes", have).Info("managed datastore has grown")
	return nil
}

// xfsGeometry is the kernel's struct xfs_fsop_geom_v1, as far as it is used.
type xfsGeometry struct {
	blocksize uint32
	_         [7]uint32
	blocks    uint64
	_         [72]byte
}

const xfsIocGeometry = 0x80705864 // _IOR('X', 100, struct xfs_fsop_geom_v1)

// geometry is how many bytes of its device the mounted file system uses.
func geometry(path string) (int64, error) {
	d, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	var g xfsGeometry
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), xfsIocGeometry, uintptr(unsafe.Pointer(&g)))
	if errno != 0 {
		return 0, errno
	}
	return int64(g.blocksize) * int64(g.blocks), nil
}
