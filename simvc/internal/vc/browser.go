package vc

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// browserAPI has the methods of HostDatastoreBrowser.
type browserAPI struct {
	api
	s *Server
}

// SearchDatastoreTask lists one folder.
func (a *browserAPI) SearchDatastoreTask(ctx *simulator.Context, req *types.SearchDatastore_Task) soap.HasFault {
	ref := a.s.task(ctx, browserRef(ctx, req.This), "searchDatastore", nil, func() (types.AnyType, types.BaseMethodFault) {
		list, fault := a.search(req.DatastorePath, req.SearchSpec, false)
		if fault != nil {
			return nil, fault
		}
		return list[0], nil
	})
	return &methods.SearchDatastore_TaskBody{Res: &types.SearchDatastore_TaskResponse{Returnval: ref}}
}

// SearchDatastoreSubFoldersTask lists a folder and all below it.
func (a *browserAPI) SearchDatastoreSubFoldersTask(ctx *simulator.Context, req *types.SearchDatastoreSubFolders_Task) soap.HasFault {
	ref := a.s.task(ctx, browserRef(ctx, req.This), "searchDatastoreSubFolders", nil, func() (types.AnyType, types.BaseMethodFault) {
		list, fault := a.search(req.DatastorePath, req.SearchSpec, true)
		if fault != nil {
			return nil, fault
		}
		return types.ArrayOfHostDatastoreBrowserSearchResults{HostDatastoreBrowserSearchResults: list}, nil
	})
	return &methods.SearchDatastoreSubFolders_TaskBody{Res: &types.SearchDatastoreSubFolders_TaskResponse{Returnval: ref}}
}

// browserRef is an object of a task that nothing else waits for.
func browserRef(_ *simulator.Context, ref types.ManagedObjectReference) mo.Reference {
	return types.ManagedObjectReference{Type: "Search", Value: ref.Value}
}

func (a *browserAPI) search(name string, spec *types.HostDatastoreBrowserSearchSpec, deep bool) ([]types.HostDatastoreBrowserSearchResults, types.BaseMethodFault) {
	var p object.DatastorePath
	if !p.FromString(name) || a.s.store(p.Datastore) == nil {
		return nil, &types.InvalidDatastorePath{DatastorePath: name}
	}
	st := a.s.store(p.Datastore)
	if _, _, fault := a.s.reachable(st.file("x")); fault != nil {
		return nil, fault
	}
	root := filepath.Join(st.dir, path.Clean("/"+p.Path))
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return nil, &types.FileNotFound{FileFault: types.FileFault{File: name}}
	}
	if spec == nil {
		spec = &types.HostDatastoreBrowserSearchSpec{}
	}
	var list []types.HostDatastoreBrowserSearchResults
	err := filepath.WalkDir(root, func(dir string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return nil //nolint:nilerr // files come and go
		}
		if dir != root && !deep {
			return fs.SkipDir
		}
		list = append(list, listFolder(st, dir, spec))
		return nil
	})
	if err != nil {
		return nil, fileFault(name, err)
	}
	return list, nil
}

// file is the name of a file of the store.
func (st *store) file(p string) string {
	return (&object.DatastorePath{Datastore: st.name, Path: strings.TrimPrefix(p, "/")}).String()
}

func listFolder(st *store, dir string, spec *types.HostDatastoreBrowserSearchSpec) types.HostDatastoreBrowserSearchResults {
	rel, _ := filepath.Rel(st.dir, dir)
	folder := "[" + st.name + "] "
	if rel != "." {
		folder += rel + "/"
	}
	res := types.HostDatastoreBrowserSearchResults{Datastore: &st.ref, FolderPath: folder}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		// Extents are part of their disks.
		if err != nil || vmfile.IsFlat(e.Name()) || !matchesName(e.Name(), spec.MatchPattern) {
			continue
		}
		if f := fileInfo(filepath.Join(dir, e.Name()), info, spec); f != nil {
			res.File = append(res.File, f)
		}
	}
	return res
}

func matchesName(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, _ := path.Match(p, name); ok {
			return true
		}
	}
	return len(patterns) == 0
}

// fileInfo describes a file as far as the specification asks, or nil when it
// asks for other kinds of files.
func fileInfo(p string, info fs.FileInfo, spec *types.HostDatastoreBrowserSearchSpec) types.BaseFileInfo {
	details := spec.Details
	if details == nil {
		details = &types.FileQueryFlags{}
	}
	f := types.FileInfo{Path: info.Name()}
	isDisk := !info.IsDir() && strings.HasSuffix(p, ".vmdk")
	if details.FileSize {
		f.FileSize = info.Size()
		if isDisk {
			f.FileSize = vmfile.Used(vmfile.Flat(p))
		}
	}
	if details.Modification {
		t := info.ModTime()
		if st, err := os.Stat(vmfile.Flat(p)); isDisk && err == nil {
			t = st.ModTime()
		}
		f.Modification = &t
	}
	if info.IsDir() && (len(spec.Query) == 0 || asked[*types.FolderFileQuery](spec)) {
		return &types.FolderFileInfo{FileInfo: f}
	}
	if len(spec.Query) == 0 || asked[*types.FileQuery](spec) {
		return &f
	}
	for _, q := range spec.Query {
		switch q := q.(type) {
		case *types.VmDiskFileQuery:
			if isDisk {
				return diskInfo(p, f, q.Details)
			}
		case *types.VmConfigFileQuery:
			if strings.HasSuffix(p, ".vmx") {
				return &types.VmConfigFileInfo{FileInfo: f}
			}
		}
	}
	return nil
}

func asked[T types.BaseFileQuery](spec *types.HostDatastoreBrowserSearchSpec) bool {
	for _, q := range spec.Query {
		if _, ok := q.(T); ok {
			return true
		}
	}
	return false
}

func diskInfo(p string, f types.FileInfo, flags *types.VmDiskFileQueryFlags) types.BaseFileInfo {
	d := &types.VmDiskFileInfo{FileInfo: f}
	i, err := vmfile.Read(p)
	if err != nil || flags == nil {
		return d
	}
	if flags.CapacityKb {
		d.CapacityKb = i.Size >> 10
	}
	if flags.DiskType {
		d.DiskType = "VirtualDiskFlatVer2BackingInfo"
	}
	if flags.HardwareVersion {
		d.HardwareVersion = 21
	}
	if flags.Thin != nil && *flags.Thin {
		d.Thin = types.NewBool(i.Thin)
	}
	if flags.DiskExtents != nil && *flags.DiskExtents {
		d.DiskExtents = []string{filepath.Base(vmfile.Flat(p))}
	}
	return d
}

// storeAPI has the methods of Datastore.
type storeAPI struct {
	api
	s *Server
}

// RefreshDatastore counts what is free.
func (a *storeAPI) RefreshDatastore(ctx *simulator.Context, req *types.RefreshDatastore) soap.HasFault {
	body := &methods.RefreshDatastoreBody{}
	st := a.s.storeOf(req.This)
	if st == nil {
		body.Fault_ = gone(req.This)
		return body
	}
	a.s.publishStore(ctx, st)
	body.Res = &types.RefreshDatastoreResponse{}
	return body
}

// RefreshDatastoreStorageInfo is the same on a vCenter.
func (a *storeAPI) RefreshDatastoreStorageInfo(ctx *simulator.Context, req *types.RefreshDatastoreStorageInfo) soap.HasFault {
	body := &methods.RefreshDatastoreStorageInfoBody{}
	st := a.s.storeOf(req.This)
	if st == nil {
		body.Fault_ = gone(req.This)
		return body
	}
	a.s.publishStore(ctx, st)
	body.Res = &types.RefreshDatastoreStorageInfoResponse{}
	return body
}
