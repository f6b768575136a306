package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

// Mount mounts device at path, see driver.Mounts. nodev and nosuid hold
// unless the volume's own options say otherwise.
func (g *Guest) Mount(ctx context.Context, device, path string, fs driver.Filesystem) error {
	if err := g.below(path); err != nil {
		return err
	}
	if m, ok, err := g.at(path); err != nil || ok {
		if ok && m.Stale {
			err = errkind.New(errkind.InUse, "something else is mounted at %s", path)
		}
		return err
	}
	s, err := readSuper(device)
	if err != nil {
		return err
	}
	if err := makeGuard(ctx, path); err != nil {
		return err
	}
	flags, data := mountOptions(fs)
	if fs.ReadOnly && s.Type == volspec.XFS && !slices.Contains(data, nouuid) {
		data = append(data, nouuid)
	}
	err = unix.Mount(device, path, s.Type, flags, strings.Join(data, ","))
	if noReplay := unreplayed[s.Type]; fs.ReadOnly && errors.Is(err, unix.EROFS) && noReplay != "" {
		// Its journal was not written back and cannot be: the device is read-only.
		log.G(ctx).WithField("device", device).Warn("read-only filesystem was not unmounted cleanly, mounted without its journal: the last changes may be missing")
		err = unix.Mount(device, path, s.Type, flags, strings.Join(append(data, noReplay), ","))
	}
	if err != nil {
		removeGuard(ctx, path)
		return errkind.Wrap(mountKind(err), err, "mount the %s filesystem%s", s.Type, with(data))
	}
	// Only the mount table proves that the path is not the empty folder.
	if _, ok, err := g.at(path); err != nil || !ok {
		return errors.Join(err, errkind.New(errkind.Internal, "%s was mounted but is not in the mount table", path))
	}
	return nil
}

// unreplayed are the options that mount a filesystem without its journal.
var unreplayed = map[string]string{volspec.Ext4: "noload", volspec.XFS: "norecovery", volspec.Btrfs: "rescue=nologreplay"}

// nouuid lets an xfs be mounted beside another of the same UUID: a recovery
// point that is only looked at beside the volume that it is of.
const nouuid = "nouuid"

func with(data []string) string {
	if len(data) == 0 {
		return ""
	}
	return " with options " + strings.Join(data, ",")
}

// mountKind classifies what mount(2) answers.
func mountKind(err error) errkind.Kind {
	switch {
	case errors.Is(err, unix.EBUSY):
		return errkind.InUse
	case errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBADMSG):
		return errkind.Corrupt
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errkind.Denied
	case errors.Is(err, unix.ENODEV):
		return errkind.Unsupported
	}
	return errkind.Unavailable
}

var mountFlags = map[string]struct{ set, clear uintptr }{
	"dev": {0, unix.MS_NODEV}, "nodev": {unix.MS_NODEV, 0},
	"suid": {0, unix.MS_NOSUID}, "nosuid": {unix.MS_NOSUID, 0},
	"exec": {0, unix.MS_NOEXEC}, "noexec": {unix.MS_NOEXEC, 0},
	"atime": {0, unix.MS_NOATIME}, "noatime": {unix.MS_NOATIME, 0},
	"nodiratime": {unix.MS_NODIRATIME, 0}, "relatime": {unix.MS_RELATIME, 0},
	"strictatime": {unix.MS_STRICTATIME, 0}, "lazytime": {unix.MS_LAZYTIME, 0},
	"sync": {unix.MS_SYNCHRONOUS, 0},
}

// mountOptions translates the words of -o mountopts. What is no flag goes to
// the filesystem as it is.
func mountOptions(fs driver.Filesystem) (flags uintptr, data []string) {
	flags = unix.MS_NODEV | unix.MS_NOSUID
	for _, o := range fs.MountOpts {
		if f, ok := mountFlags[o]; ok {
			flags = flags&^f.clear | f.set
			continue
		}
		data = append(data, o)
	}
	if fs.ReadOnly {
		flags |= unix.MS_RDONLY
	}
	return flags, data
}

// Unmount unmounts path, see driver.Mounts.
func (g *Guest) Unmount(ctx context.Context, path string) error {
	if err := g.below(path); err != nil {
		return err
	}
	for {
		_, mounted, err := g.at(path)
		if err != nil {
			return err
		}
		if !mounted {
			removeGuard(ctx, path)
			return nil
		}
		if err := unix.Unmount(path, unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			kind := errkind.Unavailable
			if errors.Is(err, unix.EBUSY) {
				kind = errkind.InUse
			}
			return errkind.Wrap(kind, err, "unmount %s", path)
		} else if err != nil && ctx.Err() != nil {
			return context.Cause(ctx) // EINVAL: somebody else was quicker; look again
		}
	}
}

// Mounted lists the mounts, see driver.Mounts.
func (g *Guest) Mounted() (map[string]driver.Mounted, error) {
	entries, err := mountTable()
	if err != nil {
		return nil, err
	}
	all := map[string]driver.Mounted{}
	for _, e := range entries { // of several at one path the last is on top
		if filepath.Dir(e.Point) == g.root && e.Point != g.root {
			all[e.Point] = driver.Mounted{Path: e.Point, Device: e.Source, Stale: stale(e)}
		}
	}
	return all, nil
}

// mountTable is all mounts of this namespace.
func mountTable() ([]mountEntry, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "read the mount table")
	}
	defer func() { _ = f.Close() }() // only read
	entries, err := parseMountinfo(f)
	return entries, errkind.Wrap(errkind.Unavailable, err, "read the mount table")
}

func (g *Guest) at(path string) (driver.Mounted, bool, error) {
	all, err := g.Mounted()
	m, ok := all[path]
	return m, ok, err
}

// stale reports whether the device of a mount is gone, or another one has
// taken its place. btrfs shows an anonymous number: there only the first is
// seen.
func stale(e mountEntry) bool {
	var st unix.Stat_t
	if err := unix.Stat(e.Source, &st); err != nil {
		return errors.Is(err, unix.ENOENT)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return true
	}
	return e.FSType != volspec.Btrfs && st.Rdev != unix.Mkdev(e.Major, e.Minor)
}

// below refuses paths that are not directly below the mount root.
func (g *Guest) below(path string) error {
	if filepath.Clean(path) != path || filepath.Dir(path) != g.root {
		return errkind.Wrap(errkind.Internal, fmt.Errorf("it is not directly below %s", g.root), "mount point %q", path)
	}
	return nil
}
