package local

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	imgExt  = ".img"
	metaExt = ".json"
	snapExt = ".snap"
	tmpExt  = ".tmp"
)

func imgName(r hypervisor.Ref) string  { return string(r.Volume) + imgExt }
func metaName(r hypervisor.Ref) string { return string(r.Volume) + metaExt }

func snapName(r hypervisor.Ref, id volspec.SnapshotID) string {
	return string(r.Volume) + "." + string(id) + snapExt
}

// folder is the open folder of one vmgroup on a datastore. The names used in
// it are made of checked ids and extensions: no slash, no link is followed.
type folder struct {
	root *os.Root
	dir  *os.File
}

func (d *folder) fd() int { return int(d.dir.Fd()) }

func (d *folder) close() {
	_ = d.dir.Close()
	_ = d.root.Close()
}

// folder opens the folder of a vmgroup; absent: fs.ErrNotExist.
func (p *place) folder(g volspec.VMGroupID) (*folder, error) {
	name := path.Join(volsDir, string(g))
	root, err := p.root.OpenRoot(name)
	if err != nil {
		if st, err := p.root.Lstat(name); err == nil && !st.IsDir() {
			return nil, errkind.New(errkind.Corrupt, "%s on datastore %s is not a folder: move it elsewhere", name, p.Name)
		}
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &folder{root, dir}, nil
}

// makeFolder opens the folder of a vmgroup, which it makes when absent.
func (p *place) makeFolder(g volspec.VMGroupID) (*folder, error) {
	d, err := p.folder(g)
	if !errors.Is(err, fs.ErrNotExist) {
		return d, err
	}
	if err := p.root.MkdirAll(path.Join(volsDir, string(g)), 0o700); err != nil {
		return nil, err
	}
	if err := p.sync(volsDir); err != nil {
		return nil, err
	}
	return p.folder(g)
}

// removeFolder removes the folder of a vmgroup if nothing is in it.
func (p *place) removeFolder(g volspec.VMGroupID) error {
	name := path.Join(volsDir, string(g))
	st, err := p.root.Lstat(name)
	if err == nil && !st.IsDir() {
		return nil // not ours
	}
	if err == nil {
		err = p.root.Remove(name)
	}
	if err == nil {
		return p.sync(volsDir)
	}
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// inFolder does something in the folder of r, which it makes when absent. The
// removal of a group's last disk removes the folder: then it begins anew.
func (p *place) inFolder(r hypervisor.Ref, do func(*folder) error) error {
	var err error
	for range 10 {
		var d *folder
		if d, err = p.makeFolder(r.Group); err == nil {
			err = do(d)
			d.close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return err
}

// stat describes a file without following a link.
func (d *folder) stat(name string) (st unix.Stat_t, err error) {
	err = unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	return st, err
}

func regular(st unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// openFile opens a file without following a link.
func (d *folder) openFile(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// image describes the image of r. Absent: fs.ErrNotExist. What is there but
// is no image: corrupt.
func (d *folder) image(r hypervisor.Ref) (unix.Stat_t, error) {
	st, err := d.stat(imgName(r))
	if err != nil {
		return st, err
	}
	if !regular(st) || st.Size <= 0 {
		return st, errkind.New(errkind.Corrupt, "disk %s on datastore %s is unreadable: %s is not an image file; remove the disk or repair the datastore", r.Volume, r.Datastore, imgName(r))
	}
	return st, nil
}

// remove removes a file, or whatever is in its place. Absent: nil.
func (d *folder) remove(name string) error {
	err := d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return d.root.RemoveAll(name)
	}
	return nil
}

// of lists the names of all files that belong to r.
func (d *folder) of(r hypervisor.Ref) (names []string, err error) {
	err = d.each(func(name string) bool {
		if strings.HasPrefix(name, string(r.Volume)+".") {
			names = append(names, name)
		}
		return true
	})
	return names, err
}

// each calls fn with the names in the folder until it says no more.
func (d *folder) each(fn func(name string) bool) error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		names, err := f.Readdirnames(512)
		for _, n := range names {
			if !fn(n) {
				return nil
			}
		}
		if len(names) == 0 {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// build makes the file name whole or not at all: fill writes a temporary one,
// which then gets the name. A leftover of an earlier try is replaced. A file
// of that name that is there already: fs.ErrExist, unless replace.
func (d *folder) build(ctx context.Context, name string, replace bool, fill func(*os.File) error) error {
	return d.buildAs(ctx, name+tmpExt, fill, func(tmp string) error {
		crashpoint.Here("local.build" + filepath.Ext(name))
		return d.rename(tmp, name, replace)
	})
}

// buildAs lets fill write the file tmp and makes it durable; commit gives it
// its name.
func (d *folder) buildAs(ctx context.Context, tmp string, fill func(*os.File) error, commit func(tmp string) error) (err error) {
	if st, err := d.stat(tmp); err == nil && !regular(st) {
		if err := d.remove(tmp); err != nil {
			return err
		}
	}
	f, err := d.locked(ctx, tmp, unix.O_RDWR|unix.O_CREAT, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer f.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.remove(tmp))
		}
	}()
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := commit(tmp); err != nil {
		return err
	}
	return d.dir.Sync()
}

func (d *folder) rename(from, to string, replace bool) error {
	if replace {
		return unix.Renameat(d.fd(), from, d.fd(), to)
	}
	err := unix.Renameat2(d.fd(), from, d.fd(), to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not on this file system
		if err = unix.Linkat(d.fd(), from, d.fd(), to, 0); err == nil {
			err = unix.Unlinkat(d.fd(), from, 0)
		}
	}
	return err
}

// lockWait is how long a file's lock is waited for. Nobody holds one for long
// but a copy.
const lockWait = 5 * time.Second

// locked opens a file and locks it (unix.LOCK_EX or LOCK_SH) against other
// processes and goroutines until it is closed. Locked elsewhere: in-use.
func (d *folder) locked(ctx context.Context, name string, flags, how int) (*os.File, error) {
	for {
		f, err := d.openFile(name, flags)
		if err != nil {
			return nil, err
		}
		if err := lock(ctx, f, how); err != nil {
			_ = f.Close()
			return nil, err
		}
		if same, err := d.still(name, f); same || err != nil {
			return f, err
		}
		_ = f.Close() // it was replaced or removed before the lock was ours
	}
}

// still reports whether name is the open file f.
func (d *folder) still(name string, f *os.File) (bool, error) {
	var have unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &have); err != nil {
		return false, err
	}
	now, err := d.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && now.Ino == have.Ino && now.Dev == have.Dev, err
}

func lock(ctx context.Context, f *os.File, how int) error {
	limit := time.NewTimer(lockWait)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return errkind.New(errkind.InUse, "something else works on %s at this moment, such as a copy: wait for it and repeat", f.Name())
		case <-tick.C:
		}
	}
}
