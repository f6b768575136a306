package imagefs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// ViewsID is the id of the datastore that Views are, on every machine.
const ViewsID = "5b0b6f0e-6d1c-5e0a-9d55-7f6c1b2e9a01"

// Views show recovery points as disks: a folder that package
// hypervisor/local takes for a read-only datastore, with one image file for
// each view. A disk in it can be attached read-only, and the guest mounts it
// like any other. The points are read where they lie, when they are used.
//
// A view shows the point as it is, but for a journal that has to be replayed:
// a read-only disk cannot do that itself, so it was done already.
//
// Limits: a view lasts as long as this process. After that every read of an
// attached one fails (EIO), and it stays so. Its loop device is let go, which
// means that the hypervisor does not call it attached any more, and that the
// kernel unbinds it when the guest has unmounted it. It can be attached again
// when the next process shows it. Two filesystems with one
// UUID in one kernel are as with any clone: xfs needs the mount option nouuid,
// btrfs a kernel of 6.7 or newer.
type Views struct {
	dir string

	mu    sync.Mutex // guards the rest
	srv   *fuseimg.Server
	views map[ViewKey]*view
}

// ViewKey names a view: where it lies in the datastore.
type ViewKey struct {
	Group  volspec.VMGroupID
	Volume volspec.VolumeID
}

func (k ViewKey) path() string {
	return "dockvols/" + string(k.Group) + "/" + string(k.Volume) + ".img"
}

// NewViews are views in a folder of their own, which is made when missing. No
// other process may use it.
func NewViews(dir string) (*Views, error) {
	dir, err := private(dir)
	if err != nil {
		return nil, err
	}
	return &Views{dir: dir, views: map[ViewKey]*view{}}, nil
}

// Path is that of the datastore.
func (v *Views) Path() string { return filepath.Join(v.dir, "store") }

// Mount removes what a dead process left in the folder and makes the datastore
// appear. From then on Run must run, which takes it away again.
func (v *Views) Mount(ctx context.Context) error {
	if err := Sweep(ctx, v.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(v.Path(), 0o700); err != nil {
		return fail(err, "making the folder %s", v.Path())
	}
	srv, err := fuseimg.Mount(fuseimg.Options{Path: v.Path(), ReadOnly: true, Name: "mooring-views"})
	if err != nil {
		return err
	}
	srv.Put(".mooring-datastore", fuseimg.Fixed(strings.NewReader(`{"version":1,"id":"`+ViewsID+`","name":"views"}`+"\n"), nil))
	srv.Dir("dockvols")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.srv = srv
	for k, one := range v.views {
		srv.Put(k.path(), one.file())
	}
	return nil
}

// Run serves until ctx ends, then takes the datastore off its users and closes
// all images. If somebody unmounts it before: unavailable.
func (v *Views) Run(ctx context.Context) error {
	v.mu.Lock()
	srv := v.srv
	v.mu.Unlock()
	if srv == nil {
		return errkind.New(errkind.Internal, "the views are not mounted")
	}
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		srv.Done()
		close(ended)
	})
	var err error
	select {
	case <-ctx.Done():
	case <-ended:
		err = errkind.New(errkind.Unavailable, "the views at %s were unmounted by somebody else: start the service again", v.Path())
	}
	v.mu.Lock()
	all := v.views
	v.views, v.srv = map[ViewKey]*view{}, nil
	v.mu.Unlock()
	for _, one := range all {
		one.end()
	}
	err = errors.Join(err, letGo(context.WithoutCancel(ctx), below(v.Path())), fail(srv.Close(), "unmounting %s", v.Path()))
	wait.Wait()
	for _, one := range all {
		err = errors.Join(err, one.close())
	}
	return err
}

// Add shows a point as a disk. open is called when the disk is looked at for
// the first time, and again some seconds after it failed: until it succeeds,
// every look at the disk is EIO, and the reason is logged. The image is closed
// with the view. One that is there: exists.
func (v *Views) Add(ctx context.Context, group volspec.VMGroupID, id volspec.VolumeID, open func(context.Context) (image.Image, error)) error {
	if err := (hypervisor.Ref{Group: group, Volume: id}).Check(); err != nil {
		return err
	}
	k := ViewKey{group, id}
	if err := letGo(ctx, orphaned("/"+k.path())); err != nil {
		return fail(err, "showing disk %s", id)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.views[k]; ok {
		return errkind.New(errkind.Exists, "disk %s is shown already: remove it first", id)
	}
	one := &view{key: k, dir: v.dir, open: open}
	v.views[k] = one
	if v.srv != nil {
		v.srv.Put(k.path(), one.file())
	}
	log.G(ctx).WithField(log.Volume, string(id)).Debug("recovery point is shown as a disk")
	return nil
}

// Remove ends a view. Who has it attached still reads errors from then on.
// Absent: nil.
func (v *Views) Remove(group volspec.VMGroupID, id volspec.VolumeID) error {
	k := ViewKey{group, id}
	v.mu.Lock()
	one, ok := v.views[k]
	delete(v.views, k)
	if ok && v.srv != nil {
		v.srv.Remove(k.path())
		v.srv.Remove(filepath.Dir(k.path())) // if it is empty now
	}
	v.mu.Unlock()
	if !ok {
		return nil
	}
	return one.close()
}

// List names the views, in order.
func (v *Views) List() []ViewKey {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []ViewKey
	for k := range v.views {
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b ViewKey) int { return strings.Compare(a.path(), b.path()) })
	return all
}

// Damaged are the ranges of a view that could not be read so far, and the
// first error. Absent: nil.
func (v *Views) Damaged(group volspec.VMGroupID, id volspec.VolumeID) ([]image.Extent, error) {
	v.mu.Lock()
	one := v.views[ViewKey{group, id}]
	v.mu.Unlock()
	if one == nil {
		return nil, nil
	}
	return one.damage.Ranges(), one.damage.Err()
}
