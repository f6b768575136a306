package imagefs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// Types of entries.
const (
	TypeFile    = "file"
	TypeDir     = "dir"
	TypeSymlink = "symlink"
	TypeBlock   = "block"
	TypeChar    = "char"
	TypeFIFO    = "fifo"
	TypeSocket  = "socket"
)

// Entry describes one file. Names and targets are bytes, not text: they may
// hold anything but NUL, and names no slash.
type Entry struct {
	Name    string
	Type    string
	Size    int64  // of files and symlinks
	Mode    uint32 // permissions with the bits for setuid, setgid and sticky, as of chmod(2)
	UID     uint32
	GID     uint32
	ModTime time.Time
	Target  string // of symlinks
	Blocks  int64  // allocated, of 512 bytes
	Links   uint64
	Device  uint64 // of block and char
}

// parts splits a path in an image. It is relative to the root of the
// filesystem; a leading slash changes nothing, "" is the root.
func parts(path string) ([]string, error) {
	var all []string
	for p := range strings.SplitSeq(path, "/") {
		switch {
		case p == "":
			continue
		case p == "." || p == ".." || strings.IndexByte(p, 0) >= 0:
			return nil, errkind.New(errkind.Invalid, "path %q is not valid: write it from the root of the volume on, without . and ..", path)
		}
		all = append(all, p)
	}
	return all, nil
}

func absentFile(path string) error {
	return errkind.New(errkind.NotFound, "no file %q in this recovery point", path)
}

// folder opens the folder that the path names. A symlink is an object like
// any other here and leads nowhere.
func (f *FS) folder(names []string) (*os.Root, error) {
	at, err := f.root.OpenRoot(".")
	for i := 0; err == nil && i < len(names); i++ {
		var st os.FileInfo
		if st, err = at.Lstat(names[i]); err == nil && !st.IsDir() {
			what := "no folder"
			if st.Mode()&fs.ModeSymlink != 0 {
				what = "a symbolic link, which is not followed"
			}
			err = errkind.New(errkind.Invalid, "%q is %s: name a folder", strings.Join(names[:i+1], "/"), what)
		}
		var next *os.Root
		if err == nil {
			next, err = at.OpenRoot(names[i])
		}
		_ = at.Close()
		at = next
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absentFile(strings.Join(names, "/"))
	}
	return at, f.stack.explain(err, "opening folder %q", strings.Join(names, "/"))
}

// Stat describes one file. Absent: not-found.
func (f *FS) Stat(_ context.Context, path string) (Entry, error) {
	done, err := f.use()
	if err != nil {
		return Entry{}, err
	}
	defer done()
	dir, name, err := f.parent(path)
	if err != nil {
		return Entry{}, err
	}
	defer dir.Close()
	return f.entry(dir, name, path)
}

// parent opens the folder that holds what the path names.
func (f *FS) parent(path string) (dir *os.Root, name string, err error) {
	names, err := parts(path)
	if err != nil {
		return nil, "", err
	}
	name = "."
	if n := len(names); n > 0 {
		names, name = names[:n-1], names[n-1]
	}
	dir, err = f.folder(names)
	return dir, name, err
}

func (f *FS) entry(dir *os.Root, name, path string) (Entry, error) {
	st, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, absentFile(path)
	}
	if err != nil {
		return Entry{}, f.stack.explain(err, "looking at %q", path)
	}
	e := entryOf(name, st)
	if e.Type == TypeSymlink {
		if e.Target, err = dir.Readlink(name); err != nil {
			return Entry{}, f.stack.explain(err, "reading link %q", path)
		}
	}
	return e, nil
}

func entryOf(name string, info os.FileInfo) Entry {
	st := info.Sys().(*syscall.Stat_t)
	e := Entry{
		Name: name, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(st.Mtim.Sec, st.Mtim.Nsec), Blocks: st.Blocks, Links: uint64(st.Nlink),
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		e.Type, e.Size = TypeFile, st.Size
	case unix.S_IFDIR:
		e.Type = TypeDir
	case unix.S_IFLNK:
		e.Type, e.Size = TypeSymlink, st.Size
	case unix.S_IFBLK:
		e.Type, e.Device = TypeBlock, uint64(st.Rdev)
	case unix.S_IFCHR:
		e.Type, e.Device = TypeChar, uint64(st.Rdev)
	case unix.S_IFIFO:
		e.Type = TypeFIFO
	case unix.S_IFSOCK:
		e.Type = TypeSocket
	default:
		e.Type = strconv.FormatUint(uint64(st.Mode&unix.S_IFMT), 8)
	}
	return e
}

// MaxList is the most that List returns at a time.
const MaxList = 10_000

// List lists a folder in the order of the bytes of the names: at most limit
// entries (0: 1000) after the name cursor ("": from the beginning). next is
// the cursor for more, "" at the end. An entry that cannot be looked at has no
// Type. Memory is bounded, however many files there are.
func (f *FS) List(ctx context.Context, path, cursor string, limit int) (list []Entry, next string, err error) {
	done, err := f.use()
	if err != nil {
		return nil, "", err
	}
	defer done()
	if limit <= 0 {
		limit = 1000
	}
	limit = min(limit, MaxList)
	names, err := parts(path)
	if err != nil {
		return nil, "", err
	}
	dir, err := f.folder(names)
	if err != nil {
		return nil, "", err
	}
	defer dir.Close()
	page, err := firstNames(ctx, dir, cursor, limit+1)
	if err != nil {
		return nil, "", f.stack.explain(err, "listing folder %q", path)
	}
	if len(page) > limit {
		page = page[:limit]
		next = page[limit-1]
	}
	for _, name := range page {
		e, err := f.entry(dir, name, path+"/"+name)
		if err != nil {
			if ctx.Err() != nil {
				return nil, "", err
			}
			e = Entry{Name: name}
		}
		list = append(list, e)
	}
	return list, next, nil
}

// firstNames are the n smallest names of a folder after one.
func firstNames(ctx context.Context, dir *os.Root, after string, n int) ([]string, error) {
	var page []string
	cut := func() {
		slices.Sort(page)
		page = page[:min(n, len(page))]
	}
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	err = eachName(ctx, d, func(name string) error {
		if name > after {
			page = append(page, name)
		}
		if len(page) >= 2*n+1024 {
			cut()
		}
		return nil
	})
	cut()
	return page, err
}

// eachName calls fn with all names in an open folder, in no order.
func eachName(ctx context.Context, d *os.File, fn func(string) error) error {
	for {
		names, err := d.Readdirnames(512)
		for _, name := range names {
			if err := fn(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// keyOf tells files from each other.
func keyOf(info os.FileInfo) linkKey {
	st := info.Sys().(*syscall.Stat_t)
	return linkKey{uint64(st.Dev), st.Ino}
}
