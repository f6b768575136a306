package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

// From linux/fs: xfs/xfs_fs.h, uapi/linux/btrfs.h, uapi/linux/ext4.h.
const (
	xfsGeometry   = 0x80705864 // _IOR('X', 100, struct xfs_fsop_geom_v1)
	xfsGrowData   = 0x4010586e // _IOW('X', 110, struct xfs_growfs_data)
	btrfsResize   = 0x50009403 // _IOW(0x94, 3, struct btrfs_ioctl_vol_args)
	ext4ResizeFS  = 0x40086610 // _IOW('f', 16, __u64)
	btrfsArgsSize = 4096
)

// growsLater is what a user reads while an ext4 is smaller than its disk.
const growsLater = "the filesystem is smaller than the disk: it grows at the next mount, when no container uses the volume"

// Grow grows a mounted filesystem, see driver.Mounts. ext4 needs
// CAP_SYS_RESOURCE for that, which a plugin does not have everywhere: without
// it Ready grows it before the next mount.
func (g *Guest) Grow(ctx context.Context, path, device string, readOnly bool) (driver.Space, error) {
	s, err := readSuper(device)
	if err != nil {
		return driver.Space{}, err
	}
	size, writable, err := geometry(device)
	if err != nil {
		return driver.Space{}, err
	}
	dir, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return driver.Space{}, errkind.Wrap(errkind.Unavailable, err, "open %s", path)
	}
	defer func() { _ = unix.Close(dir) }()
	if readOnly || !writable {
		return driver.Space{Bytes: s.Bytes, Note: smaller(s, size, "the filesystem is smaller than the disk: it cannot grow while the volume is read-only")}, nil
	}
	grown := driver.Space{Bytes: s.Bytes}
	switch s.Type {
	case volspec.XFS:
		grown.Bytes, err = growXFS(dir, size)
	case volspec.Btrfs:
		grown.Bytes, err = size, growBtrfs(dir)
	default:
		if !s.growable(size) {
			return grown, nil
		}
		err = growExt4(dir, device, size)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
			return driver.Space{Bytes: s.Bytes, Note: growsLater}, nil
		}
		grown.Bytes = size
	}
	if err != nil {
		log.G(ctx).WithError(err).WithField("device", device).Warn("filesystem could not be grown while mounted")
		return driver.Space{Bytes: s.Bytes, Note: "the filesystem is smaller than the disk and could not be grown: " + err.Error()}, nil
	}
	return grown, nil
}

func smaller(s super, size int64, note string) string {
	if s.growable(size) {
		return note
	}
	return ""
}

func growXFS(dir int, size int64) (int64, error) {
	// struct xfs_fsop_geom_v1: blocksize at 0, imaxpct at 28, datablocks at 32.
	var geo [112]byte
	if err := ioctl(dir, xfsGeometry, unsafe.Pointer(&geo[0])); err != nil {
		return 0, err
	}
	block := int64(binary.NativeEndian.Uint32(geo[0:]))
	blocks := int64(binary.NativeEndian.Uint64(geo[32:]))
	if block == 0 {
		return 0, errkind.New(errkind.Internal, "the kernel reports no block size")
	}
	if want := size / block; want > blocks {
		var arg [16]byte // newblocks, imaxpct
		binary.NativeEndian.PutUint64(arg[0:], uint64(want))
		copy(arg[8:12], geo[28:32])
		if err := ioctl(dir, xfsGrowData, unsafe.Pointer(&arg[0])); err != nil {
			return 0, err
		}
		if err := ioctl(dir, xfsGeometry, unsafe.Pointer(&geo[0])); err != nil {
			return 0, err
		}
		blocks = int64(binary.NativeEndian.Uint64(geo[32:]))
	}
	return blocks * block, nil
}

func growBtrfs(dir int) error {
	var arg [btrfsArgsSize]byte // fd, name
	copy(arg[8:], "max")
	return ioctl(dir, btrfsResize, unsafe.Pointer(&arg[0]))
}

func growExt4(dir int, device string, size int64) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(dir, &st); err != nil {
		return err
	}
	if st.Bsize <= 0 {
		return errkind.New(errkind.Internal, "%s reports no block size", device)
	}
	blocks := uint64(size / st.Bsize)
	return ioctl(dir, ext4ResizeFS, unsafe.Pointer(&blocks))
}

func ioctl(fd int, req uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), req, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
