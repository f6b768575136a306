package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/simvc/control"
)

// Datastore is a place for disks: a folder of the lab, or a filesystem of its
// own on an image file.
type Datastore struct {
	Name string
	Path string

	lab   *Lab
	image string   // "" for a plain folder
	size  string   // of a managed datastore, "" for others
	vc    *VCenter // whose datastore it is, nil for a folder of mooringd's own machine
}

// Folder makes a datastore that is a plain folder on the machine's disk. name
// may begin with that of a vCenter that is to have it, and a slash.
func (l *Lab) Folder(t testing.TB, name string) *Datastore {
	t.Helper()
	ds := &Datastore{Name: filepath.Base(name), Path: filepath.Join(l.Dir, "ds", name), lab: l}
	require.NoError(t, os.MkdirAll(ds.Path, 0o755))
	l.addDatastore(ds)
	return ds
}

// Filesystem makes a datastore on a new filesystem (ext4, xfs or btrfs) of
// that many MiB; xfs is made with reflinks. For name see Folder.
func (l *Lab) Filesystem(t testing.TB, name, fstype string, mib int64) *Datastore {
	t.Helper()
	ds := &Datastore{Name: filepath.Base(name), Path: filepath.Join(l.Dir, "ds", name), lab: l}
	ds.image = filepath.Join(l.Dir, "ds-"+strings.ReplaceAll(name, "/", "-")+".img")
	require.NoError(t, os.MkdirAll(ds.Path, 0o755))
	f, err := os.Create(ds.image)
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Truncate(mib<<20), f.Close()))
	require.NoError(t, l.do(lasting(t), "mkfs."+fstype, "-q", ds.image))
	require.NoError(t, ds.mount(lasting(t)))
	l.addDatastore(ds)
	return ds
}

// Managed makes an empty folder for a datastore that mooringd makes itself, of
// that size, on an image beside the folder. It is unmounted and removed at the
// end of the test, after what is cleaned up by then.
func (l *Lab) Managed(t testing.TB, name, size string) *Datastore {
	t.Helper()
	ds := l.Folder(t, name)
	ds.size = size
	t.Cleanup(func() {
		require.NoError(t, Eventually(20*time.Second, func() error {
			return errors.Join(freeLoops(ds.Path), unmountBelow(ds.Path))
		}))
		require.NoError(t, os.RemoveAll(ds.Path+".xfs"))
	})
	return ds
}

// VCenter is whose datastore it is, nil for one of mooringd's own machine.
func (ds *Datastore) VCenter() *VCenter { return ds.vc }

func (l *Lab) addDatastore(ds *Datastore) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.datastores = append(l.datastores, ds)
}

func (ds *Datastore) mount(ctx context.Context) error {
	return ds.lab.do(ctx, "mount", "-o", "loop", ds.image, ds.Path)
}

// Mount brings a vanished datastore back.
func (ds *Datastore) Mount(t testing.TB) {
	t.Helper()
	require.NoError(t, ds.mount(lasting(t)))
	ds.become(t, control.Online)
}

// Vanish takes the datastore's filesystem away, as a lost path to storage
// does: what has files open there keeps them.
func (ds *Datastore) Vanish(t testing.TB) {
	t.Helper()
	ds.become(t, control.Offline)
	require.NoError(t, unix.Unmount(ds.Path, unix.MNT_DETACH))
}

// ReadOnly remounts the datastore's filesystem read-only or writable again.
func (ds *Datastore) ReadOnly(t testing.TB, on bool) {
	t.Helper()
	mode, state := "remount,rw", control.Online
	if on {
		mode, state = "remount,ro", control.ReadOnly
	}
	ds.become(t, state)
	require.NoError(t, ds.lab.do(lasting(t), "mount", "-o", mode, ds.Path))
}

// become tells the vCenter of the datastore, if there is one, how it fares.
func (ds *Datastore) become(t testing.TB, state string) {
	t.Helper()
	if ds.vc != nil {
		require.NoError(t, ds.vc.SetDatastore(lasting(t), ds.Name, state))
	}
}

// Files lists the files below the datastore, relative to it, without those
// that mark the datastore itself (names that begin with a dot) and lost+found,
// and in a vCenter without those of VMs.
func (ds *Datastore) Files() ([]string, error) {
	var out []string
	top := ds.Path
	if ds.vc != nil {
		top = filepath.Join(ds.Path, "mooring")
	}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing datastore %s: %w", ds.Name, err)
		}
		if d.IsDir() && d.Name() == "lost+found" {
			return fs.SkipDir
		}
		if !d.IsDir() && !strings.HasPrefix(d.Name(), ".") {
			rel, _ := filepath.Rel(ds.Path, p)
			out = append(out, rel)
		}
		return nil
	})
	return out, err
}

// Wipe frees the loop devices of the datastore's disks and removes all its
// content.
func (ds *Datastore) Wipe() error {
	if err := Eventually(20*time.Second, func() error { return freeLoops(ds.Path) }); err != nil {
		return err
	}
	entries, err := os.ReadDir(ds.Path)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(ds.Path, e.Name())))
	}
	return errors.Join(errs...)
}
