package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/descriptor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// family is all that lies on a datastore of one volume.
type family struct {
	ds    vcenter.Datastore
	r     hypervisor.Ref
	files map[layout.Name]entry
	away  *strayed // where the volume's disk lies when it is not at its place
}

// entry is a file of a family.
type entry struct {
	allocated int64
	capacity  int64 // of a disk, 0 when the datastore does not say
	thick     bool
	folder    bool // something else in the place of a file
	modified  time.Time
}

// file is where a file of the family is, from the root of the datastore on.
func (f family) file(n layout.Name) string { return fileOf(f.r, n) }

func fileOf(r hypervisor.Ref, n layout.Name) string {
	return path.Join(layout.Folder(r.Group), n.String())
}

// path is where a file of the family is, as vSphere writes it.
func (f family) path(n layout.Name) string {
	if f.strays(n) {
		return f.away.at
	}
	return f.place(n)
}

// place is where a file of the family belongs, as vSphere writes it.
func (f family) place(n layout.Name) string { return vcenter.Path(f.r.Datastore, f.file(n)) }

// strays reports whether n is the disk that is not at its place.
func (f family) strays(n layout.Name) bool { return f.away != nil && f.away.name == n }

// disks are the disks of the family, the one with the volume's content last.
// Their children are not among them.
func (f family) disks() []layout.Name {
	all := f.atHome()
	if f.away != nil {
		all = append(all, f.away.name)
	}
	return all
}

// atHome are those that lie at their places.
func (f family) atHome() (all []layout.Name) {
	for n := range f.files {
		if n.Kind == layout.Disk && !n.Tmp && n.Child == 0 {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b layout.Name) int { return cmp.Compare(a.N, b.N) })
	return all
}

// disk is the one with the volume's content.
func (f family) disk() (layout.Name, bool) {
	if f.away != nil {
		return f.away.name, true
	}
	return f.here()
}

// here is disk for one that lies at its place. As long as a note tells of a
// later one, an earlier one is not it.
func (f family) here() (layout.Name, bool) {
	all := f.atHome()
	if len(all) == 0 {
		return layout.Name{}, false
	}
	last := all[len(all)-1]
	return last, last.N >= f.latest().N
}

// latest is the disk of which the latest note tells.
func (f family) latest() layout.Name {
	last := layout.Name{Volume: f.r.Volume}
	for n := range f.files {
		if n.N > last.N && !n.Tmp && (n.Kind == layout.Was || n.Kind == layout.Gone || n.Kind == layout.Away) {
			last.N, last.ID = n.N, n.ID
		}
	}
	return last
}

// kept are the disks whose content is that of a snapshot, by its id.
func (f family) kept() map[volspec.SnapshotID]layout.Name {
	kept := map[volspec.SnapshotID]layout.Name{}
	all := f.disks()
	for _, n := range all[:max(0, len(all)-1)] {
		if id, ok := f.keptAs(n); ok {
			kept[id] = n
		}
	}
	return kept
}

// keptAs is the id of the snapshot that the content of a replaced disk is; not
// ok when that snapshot was removed.
func (f family) keptAs(n layout.Name) (id volspec.SnapshotID, ok bool) {
	for next := range f.files {
		if next.N != n.N+1 || next.Tmp || next.Child != 0 {
			continue
		}
		if next.Kind == layout.Gone {
			return next.ID, false
		}
		if next.Kind == layout.Disk || next.Kind == layout.Was || next.Kind == layout.Away {
			id, ok = next.ID, true
		}
	}
	return id, ok
}

// allocated is the room of a disk with its children, which is at most its
// size: what a child has written anew its parent holds no more than once. A
// thick disk has all of it.
func (f family) allocated(n layout.Name, size int64, thick bool) int64 {
	if thick {
		return size
	}
	var sum int64
	for m, e := range f.files {
		if m.Base() == n {
			sum += e.allocated
		}
	}
	return min(sum, size)
}

// look finds the family of r.
func (v *VSphere) look(ctx context.Context, ds vcenter.Datastore, r hypervisor.Ref) (family, error) {
	f := family{ds: ds, r: r, files: map[layout.Name]entry{}}
	found, err := v.search(ctx, ds, layout.Folder(r.Group), string(r.Volume)+"*", false)
	if err != nil {
		return f, err
	}
	for _, folder := range found {
		for _, file := range folder.File {
			if n, ok := layout.Parse(path.Base(file.GetFileInfo().Path)); ok && n.Volume == r.Volume {
				f.files[n] = entryOf(file)
			}
		}
	}
	return f, nil
}

func entryOf(file types.BaseFileInfo) entry {
	e := entry{allocated: file.GetFileInfo().FileSize}
	if m := file.GetFileInfo().Modification; m != nil {
		e.modified = *m
	}
	switch info := file.(type) {
	case *types.FolderFileInfo:
		e.folder = true
	case *types.VmDiskFileInfo:
		e.capacity = info.CapacityKb << 10
		e.thick = info.Thin != nil && !*info.Thin
	}
	return e
}

// search asks the datastore for the files of a folder, and of all below it.
// A folder that is not there has none.
func (v *VSphere) search(ctx context.Context, ds vcenter.Datastore, folder, pattern string, below bool) ([]types.HostDatastoreBrowserSearchResults, error) {
	at := vcenter.Path(ds.Name, folder)
	what := "listing " + at
	browser, err := v.browser(ctx, ds)
	if err != nil {
		return nil, err
	}
	spec := &types.HostDatastoreBrowserSearchSpec{
		MatchPattern: []string{pattern},
		Details:      &types.FileQueryFlags{FileSize: true, FileType: true, Modification: true},
		Query: []types.BaseFileQuery{
			&types.VmDiskFileQuery{Details: &types.VmDiskFileQueryFlags{CapacityKb: true, Thin: types.NewBool(true)}},
			&types.FolderFileQuery{},
			&types.FileQuery{},
		},
	}
	info, err := v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		if below {
			res, err := methods.SearchDatastoreSubFolders_Task(ctx, vc, &types.SearchDatastoreSubFolders_Task{This: browser, DatastorePath: at, SearchSpec: spec})
			if err != nil {
				return types.ManagedObjectReference{}, err
			}
			return res.Returnval, nil
		}
		res, err := methods.SearchDatastore_Task(ctx, vc, &types.SearchDatastore_Task{This: browser, DatastorePath: at, SearchSpec: spec})
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return res.Returnval, nil
	})
	switch {
	case errkind.Is(err, errkind.NotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	switch found := info.Result.(type) {
	case types.HostDatastoreBrowserSearchResults:
		return []types.HostDatastoreBrowserSearchResults{found}, nil
	case types.ArrayOfHostDatastoreBrowserSearchResults:
		return found.HostDatastoreBrowserSearchResults, nil
	}
	return nil, errkind.New(errkind.Internal, "%s was answered with %T", what, info.Result)
}

// browser is what lists the files of a datastore.
func (v *VSphere) browser(ctx context.Context, ds vcenter.Datastore) (types.ManagedObjectReference, error) {
	if b, ok := v.browsers.Load(ds.Ref); ok {
		return b.(types.ManagedObjectReference), nil
	}
	var found mo.Datastore
	err := v.c.Read(ctx, fmt.Sprintf("looking at datastore %s", ds.Name), func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, ds.Ref, []string{"browser"}, &found)
	})
	if err == nil {
		v.browsers.Store(ds.Ref, found.Browser)
	}
	return found.Browser, err
}

// descriptor reads the descriptor of a disk. What is none is corrupt.
func (v *VSphere) descriptor(ctx context.Context, datastore, file string) (descriptor.Descriptor, error) {
	data, err := v.read(ctx, datastore, file, descriptor.Limit)
	if err != nil {
		return descriptor.Descriptor{}, err
	}
	return descriptor.Parse(data)
}

// describe reads what the descriptor of n says, for a sentence about its disk.
func (v *VSphere) describe(ctx context.Context, f family, n layout.Name) (descriptor.Descriptor, error) {
	unreadable := "disk %s on datastore %s is unreadable: %s; remove the disk or repair the datastore"
	if f.files[n].folder {
		return descriptor.Descriptor{}, errkind.New(errkind.Corrupt, unreadable, f.r.Volume, f.r.Datastore, n.String()+" is a folder")
	}
	datastore, file, _ := vcenter.SplitPath(f.path(n))
	d, err := v.descriptor(ctx, datastore, file)
	switch {
	case errkind.Is(err, errkind.Corrupt):
		return d, errkind.New(errkind.Corrupt, unreadable, f.r.Volume, f.r.Datastore, errkind.Text(err))
	case errkind.Is(err, errkind.NotFound):
		return d, errors.Join(absent(f.r), err)
	}
	return d, err
}

func absent(r hypervisor.Ref) error {
	return errkind.New(errkind.NotFound, "no disk %s on datastore %s", r.Volume, r.Datastore)
}
