package disk

import (
	"context"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

// e2fsck's exit codes: 1 errors were corrected, 2 and the caller should
// reboot (the device was not mounted: it need not).
var corrected = []int{1, 2, 3}

// Ready makes an unmounted filesystem fit to be mounted, see driver.Disks. A
// read-only device is left alone, whatever it needs: Mount copes.
func (g *Guest) Ready(ctx context.Context, device string, fs driver.Filesystem) error {
	s, err := readSuper(device)
	if err != nil {
		return err
	}
	if fs.Type != "" && fs.Type != s.Type {
		return errkind.New(errkind.Corrupt, "the disk has a filesystem of type %s where the volume has %s: it is not mounted; is it the right disk?", s.Type, fs.Type)
	}
	size, writable, err := geometry(device)
	if err != nil || !writable {
		return err
	}
	checked := false
	check := func(args ...string) error {
		checked = true
		code, err := tool(ctx, corrected, "e2fsck", append(args, "-p", device)...)
		if code >= 4 && code < 32 && !errkind.Is(err, errkind.Unavailable) {
			return errkind.Wrap(errkind.Corrupt, err, "the filesystem has damage that is not repaired automatically: take a snapshot or a backup of the volume, then let the administrator run e2fsck on it")
		}
		return err
	}
	if s.Type == volspec.Ext4 && s.Dirty {
		if err := check(); err != nil {
			return err
		}
	}
	if fs.UUID != "" && !strings.EqualFold(fs.UUID, s.UUID.String()) {
		log.G(ctx).WithField("device", device).WithField("was", s.UUID.String()).Info("filesystem of a copied disk gets its own UUID")
		if err := g.renewUUID(ctx, device, s.Type, fs.UUID, check); err != nil {
			return err
		}
	}
	if s.Type == volspec.Ext4 && s.growable(size) {
		// resize2fs insists on a full check since the last mount.
		if err := check("-f"); err != nil {
			return err
		}
		if _, err := tool(ctx, nil, "resize2fs", device); err != nil {
			return err
		}
	}
	if checked {
		return g.idle(ctx, device)
	}
	return nil
}

// renewUUID gives a copied filesystem an identity of its own: xfs and btrfs
// do not mount two filesystems with one UUID.
func (g *Guest) renewUUID(ctx context.Context, device, fstype, uuid string, check func(...string) error) error {
	switch fstype {
	case volspec.Ext4:
		if err := check("-f"); err != nil {
			return err
		}
		_, err := tool(ctx, nil, "tune2fs", "-U", uuid, device)
		return err
	case volspec.XFS:
		// Its tools do not touch a log that was not replayed; a mount replays it.
		if err := g.aside(ctx, device, volspec.XFS, []string{"nouuid"}, func(int) error { return nil }); err != nil {
			return err
		}
		if err := g.idle(ctx, device); err != nil {
			return err
		}
		if _, err := tool(ctx, nil, "xfs_db", "-x", "-p", "xfs_admin", "-c", "uuid "+uuid, device); err != nil {
			return err
		}
	case volspec.Btrfs:
		if _, err := tool(ctx, nil, "btrfstune", "-f", "-M", uuid, device); err != nil {
			return err
		}
	}
	// xfs_db reports some failures on its output only.
	s, err := readSuper(device)
	if err == nil && !strings.EqualFold(s.UUID.String(), uuid) {
		err = errkind.New(errkind.Internal, "%s still has the UUID %s of the disk it was copied from", device, s.UUID)
	}
	return err
}

// geometry is the size of a device and whether it can be written.
func geometry(device string) (size int64, writable bool, err error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false, errkind.Wrap(errkind.Unavailable, err, "open %s", device)
	}
	defer func() { _ = f.Close() }() // only read
	ro, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKROGET)
	if err != nil {
		return 0, false, errkind.Wrap(errkind.Unavailable, err, "look at %s", device)
	}
	size, err = deviceSize(f)
	return size, ro == 0, err
}
