package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

// newRecord notes that a volume is about to be frozen: an empty file with its
// id as name, locked. The guard inherits the lock, so the file is locked for
// as long as anybody lives who may freeze or thaw. It is removed when that is
// over; what is left of it after a crash is for Recover.
func (g *Guest) newRecord(id string) (*os.File, error) {
	if err := os.MkdirAll(g.freezes, 0o700); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "make the folder %s", g.freezes)
	}
	path := filepath.Join(g.freezes, id)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "make the record %s", path)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(errkind.New(errkind.InUse, "an earlier freeze of it is not over yet"), f.Close())
	}
	return f, nil
}

// Recover thaws what an earlier life of the plugin left, see driver.Freezer.
func (g *Guest) Recover(ctx context.Context, serial func(volspec.VolumeID) string) (settled bool, err error) {
	mounted, err := g.Mounted()
	if err != nil {
		return false, err
	}
	records, err := os.ReadDir(g.freezes)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return false, errkind.Wrap(errkind.Unavailable, err, "list %s", g.freezes)
	}
	// Locks are looked at before anything is thawed: who holds one may freeze
	// until it is dead.
	settled = true
	var errs []error
	var over []*os.File
	for _, r := range records {
		f, err := os.OpenFile(filepath.Join(g.freezes, r.Name()), os.O_RDWR, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			settled = false
			_ = f.Close() // only looked at
			continue
		}
		over = append(over, f)
	}
	for path := range mounted {
		errs = append(errs, g.thawAt(ctx, path))
	}
	for _, r := range records {
		if _, ok := mounted[filepath.Join(g.root, r.Name())]; !ok {
			errs = append(errs, g.thawHidden(ctx, serial(volspec.VolumeID(r.Name()))))
		}
	}
	err = errors.Join(errs...)
	for _, f := range over {
		if err == nil { // otherwise the next start looks again
			err = os.Remove(f.Name())
		}
		_ = f.Close() // nothing was written
	}
	return settled, errkind.Wrap(errkind.Unavailable, err, "thaw what an earlier plugin left frozen")
}

func (g *Guest) thawAt(ctx context.Context, path string) error {
	return onDir(path, func(fd int) error { return thawLogged(ctx, fd, path) })
}

// thawHidden thaws a filesystem that only containers still have mounted, after
// the engine unmounted it here: nobody else could.
func (g *Guest) thawHidden(ctx context.Context, serial string) error {
	dev, err := g.Lookup(driver.Disk{Serial: serial})
	if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Invalid) {
		return nil // the disk is gone, or the name is no volume's
	}
	if err != nil {
		return err
	}
	busy, err := g.Busy(dev)
	if err != nil || !busy { // mounted nowhere: a mount would be a write
		return err
	}
	s, err := readSuper(dev)
	if err != nil {
		return err
	}
	return g.aside(ctx, dev, s.Type, nil, func(dir int) error { return thawLogged(ctx, dir, dev) })
}

func thawLogged(ctx context.Context, fd int, what string) error {
	thawed, err := thawFD(fd)
	if thawed {
		log.G(ctx).WithField("path", what).Warn("filesystem was left frozen by an earlier plugin, it goes on")
	}
	return err
}

// thaw ends a freeze if there is one.
func thaw(dir *os.File) (thawed bool, err error) { return thawFD(int(dir.Fd())) }

func thawFD(fd int) (thawed bool, err error) {
	err = ioctl(fd, fiThaw, nil)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOTTY): // is not frozen, or cannot be
		return false, nil
	}
	return false, err
}
