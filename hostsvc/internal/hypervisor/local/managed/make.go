package managed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// record says of an image that it was made, or is about to be.
type record struct {
	Version int    `json:"version"`
	Image   string `json:"image"`
	Made    bool   `json:"made"`
}

const recordVersion = 1

// namespace of the names of records.
var namespace = uuid.MustParse("6d3f0a52-7f0e-5c6e-9d35-9b0f2f6f6a10")

func (k *Keeper) recordPath(s Store) string {
	return filepath.Join(k.dir, uuid.NewSHA1(namespace, []byte(s.image())).String()+".json")
}

// recorded reads the record of a store; without one it is empty.
func (k *Keeper) recorded(s Store) (r record, err error) {
	b, err := os.ReadFile(k.recordPath(s))
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err == nil && (r.Version < 1 || r.Version > recordVersion || r.Image != s.image()) {
		err = fmt.Errorf("it is of version %d and about %s", r.Version, r.Image)
	}
	if err != nil {
		return r, errkind.Wrap(errkind.Corrupt, err, "whether the image of datastore %s was ever made cannot be told: %s cannot be read; restore it, or remove it if %s never was", s.Name, k.recordPath(s), s.image())
	}
	return r, nil
}

func (k *Keeper) record(s Store, made bool) error {
	if have, err := k.recorded(s); err == nil && have.Made == made && have.Version != 0 {
		return nil
	}
	b, err := json.Marshal(record{Version: recordVersion, Image: s.image(), Made: made})
	if err == nil {
		err = os.MkdirAll(k.dir, 0o700)
	}
	if err == nil {
		err = durable.WriteFile(k.recordPath(s), append(b, '\n'), 0o600)
	}
	return fail(err, "recording the image of datastore %s", s.Name)
}

// open opens the image of s, which is made if it never was.
func (k *Keeper) open(ctx context.Context, s Store) (*os.File, error) {
	f, err := os.OpenFile(s.image(), os.O_RDWR|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		r, err := k.recorded(s)
		if err != nil {
			return nil, err
		}
		if r.Made {
			return nil, errkind.New(errkind.Unavailable, "%s is missing, in which datastore %s lies: mount the disk it is on, or restore it; it is never made a second time, unless you remove %s", s.image(), s.Name, k.recordPath(s))
		}
		if err := k.makeImage(ctx, s); err != nil {
			return nil, err
		}
		f, err = os.OpenFile(s.image(), os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, fail(err, "opening the image of datastore %s", s.Name)
		}
		return f, k.record(s, true)
	}
	if err != nil {
		return nil, fail(err, "opening the image of datastore %s", s.Name)
	}
	magic := make([]byte, 4)
	if n, err := f.ReadAt(magic, 0); n < len(magic) || !bytes.Equal(magic, []byte("XFSB")) {
		_ = f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fail(err, "reading the image of datastore %s", s.Name)
		}
		return nil, errkind.New(errkind.Corrupt, "%s, in which datastore %s lies, holds no xfs: restore it, or move it away if it is something else", s.image(), s.Name)
	}
	if err := k.record(s, true); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// makeImage makes the image: whole, or not at all.
func (k *Keeper) makeImage(ctx context.Context, s Store) error {
	mkfs, err := tool(s, "mkfs.xfs", "cannot be made")
	if err != nil {
		return err
	}
	if st, err := os.Stat(filepath.Dir(s.Path)); err != nil || !st.IsDir() {
		return errkind.New(errkind.Unavailable, "datastore %s cannot be made: the folder %s for its image is not there; make it, or mount what belongs there", s.Name, filepath.Dir(s.Path))
	}
	if err := s.emptyFolder(); err != nil {
		return err
	}
	if err := k.record(s, false); err != nil {
		return err
	}
	crashpoint.Here("managed.make.recorded")
	if err := s.format(ctx, mkfs); err != nil {
		return fail(err, "making the image of datastore %s", s.Name)
	}
	log.G(ctx).WithField(log.Datastore, s.Name).WithField("image", s.image()).Info("image of managed datastore was made")
	return nil
}

func (s Store) format(ctx context.Context, mkfs string) (err error) {
	tmp := s.image() + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errkind.Wrap(errkind.InUse, err, "datastore %s cannot be made: something else works on %s", s.Name, tmp)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp))
		}
	}()
	// What an earlier try left is of no worth.
	if err := errors.Join(f.Truncate(0), f.Truncate(s.bytes())); err != nil {
		return err
	}
	crashpoint.Here("managed.make.created")
	if err := run(ctx, s, mkfs, "-q", "-m", "crc=1,reflink=1", tmp); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	crashpoint.Here("managed.make.formatted")
	if err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, s.image(), unix.RENAME_NOREPLACE); err != nil {
		return err
	}
	crashpoint.Here("managed.make.renamed")
	return durable.SyncDir(filepath.Dir(tmp))
}

// bytes is the size of the image: whole MiB, so that xfs uses all of it.
func (s Store) bytes() int64 { return int64(s.Size) >> 20 << 20 }

// emptyFolder makes the mount point. One that holds something is refused: a
// mount would hide it.
func (s Store) emptyFolder() error {
	entries, err := os.ReadDir(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.Mkdir(s.Path, 0o700)
	case err == nil && len(entries) > 0:
		return errkind.New(errkind.Exists, "datastore %s cannot be mounted at %s: something is in that folder, such as %s, and would be hidden; use an empty one, or remove size from the configuration of the datastore", s.Name, s.Path, entries[0].Name())
	}
	return fail(err, "making the folder of datastore %s", s.Name)
}

// sbin is where programs of the system are; PATH may not lead there.
var sbin = []string{"/usr/sbin", "/sbin", "/usr/local/sbin"}

// tool finds a program of xfsprogs.
func tool(s Store, name, cannot string) (string, error) {
	for _, dir := range sbin {
		if path := filepath.Join(dir, name); unix.Access(path, unix.X_OK) == nil {
			return path, nil
		}
	}
	return "", errkind.New(errkind.Unavailable, "datastore %s %s: there is no %s; install the package xfsprogs", s.Name, cannot, name)
}

func run(ctx context.Context, s Store, program string, args ...string) error {
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "work on datastore %s was interrupted: repeat it", s.Name)
	}
	if text, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n")); len(text) > 0 {
		err = fmt.Errorf("%w: %s", err, text)
	}
	return fmt.Errorf("%s: %w", filepath.Base(program), err)
}

// fail gives an error of the system its kind and its sentence.
func fail(err error, want string, args ...any) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err
	}
	what := fmt.Sprintf(want, args...)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return errkind.Wrap(errkind.Quota, err, "%s: the file system below has no room; make some", what)
	case errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EINVAL):
		return errkind.Wrap(errkind.Corrupt, err, "%s: see the kernel's log; xfs_repair may help", what)
	}
	return errkind.Wrap(errkind.Unavailable, err, "%s: remove what stands in the way and repeat", what)
}
