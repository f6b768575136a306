package vc

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// fileAPI has the methods of FileManager.
type fileAPI struct {
	api
	s *Server
}

func (a *fileAPI) task(ctx *simulator.Context, name string, f work) types.ManagedObjectReference {
	return a.s.task(ctx, ctx.Map.FileManager(), name, nil, f)
}

// unlocked finds out whether a file, or all in a folder, may be moved or
// deleted.
func (s *Server) unlocked(name string) types.BaseMethodFault {
	name = canon(name)
	disk := name
	if rest, ok := strings.CutSuffix(name, "-flat.vmdk"); ok {
		disk = rest + ".vmdk"
	}
	if fault := s.untouched(disk); fault != nil {
		return fault
	}
	s.mu.Lock()
	var below []string
	for file := range s.disks {
		if strings.HasPrefix(file, name+"/") {
			below = append(below, file)
		}
	}
	s.mu.Unlock()
	for _, file := range below {
		if fault := s.untouched(file); fault != nil {
			return fault
		}
	}
	return nil
}

// DeleteDatastoreFileTask deletes a file, or a folder with all that is in it.
func (a *fileAPI) DeleteDatastoreFileTask(ctx *simulator.Context, req *types.DeleteDatastoreFile_Task) soap.HasFault {
	ref := a.task(ctx, "deleteDatastoreFile", func() (types.AnyType, types.BaseMethodFault) {
		_, p, fault := a.s.writable(req.Name)
		if fault != nil {
			return nil, fault
		}
		if _, err := os.Lstat(p); err != nil || a.s.extentless(req.Name) {
			return nil, fileFault(req.Name, os.ErrNotExist)
		}
		if fault := a.s.unlocked(req.Name); fault != nil {
			return nil, fault
		}
		if err := os.RemoveAll(p); err != nil {
			return nil, fileFault(req.Name, err)
		}
		return nil, nil
	})
	return &methods.DeleteDatastoreFile_TaskBody{Res: &types.DeleteDatastoreFile_TaskResponse{Returnval: ref}}
}

// MoveDatastoreFileTask renames a file or a folder; with force over another file.
func (a *fileAPI) MoveDatastoreFileTask(ctx *simulator.Context, req *types.MoveDatastoreFile_Task) soap.HasFault {
	ref := a.task(ctx, "moveDatastoreFile", func() (types.AnyType, types.BaseMethodFault) {
		src, dst, fault := a.pair(req.SourceName, req.DestinationName, req.Force)
		if fault != nil {
			return nil, fault
		}
		if fault := a.s.unlocked(req.SourceName); fault != nil {
			return nil, fault
		}
		if _, _, fault := a.s.writable(req.SourceName); fault != nil {
			return nil, fault
		}
		if err := os.Rename(src, dst); err != nil {
			return nil, fileFault(req.DestinationName, err)
		}
		return nil, nil
	})
	return &methods.MoveDatastoreFile_TaskBody{Res: &types.MoveDatastoreFile_TaskResponse{Returnval: ref}}
}

// CopyDatastoreFileTask copies a file.
func (a *fileAPI) CopyDatastoreFileTask(ctx *simulator.Context, req *types.CopyDatastoreFile_Task) soap.HasFault {
	ref := a.task(ctx, "copyDatastoreFile", func() (types.AnyType, types.BaseMethodFault) {
		src, dst, fault := a.pair(req.SourceName, req.DestinationName, req.Force)
		if fault != nil {
			return nil, fault
		}
		data, err := os.ReadFile(src)
		if err == nil {
			err = os.WriteFile(dst, data, 0o600)
		}
		if err != nil {
			return nil, fileFault(req.DestinationName, err)
		}
		return nil, nil
	})
	return &methods.CopyDatastoreFile_TaskBody{Res: &types.CopyDatastoreFile_TaskResponse{Returnval: ref}}
}

// pair finds the host paths of a source and of a destination that may be written.
func (a *fileAPI) pair(from, to string, force *bool) (src, dst string, fault types.BaseMethodFault) {
	_, src, fault = a.s.reachable(from)
	if fault != nil {
		return "", "", fault
	}
	_, dst, fault = a.s.writable(to)
	if fault != nil {
		return "", "", fault
	}
	if _, err := os.Lstat(src); err != nil || a.s.extentless(from) {
		return "", "", fileFault(from, os.ErrNotExist)
	}
	if _, err := os.Lstat(filepath.Dir(dst)); err != nil {
		return "", "", fileFault(to, err)
	}
	if _, err := os.Lstat(dst); err == nil {
		if force == nil || !*force {
			return "", "", fileFault(to, os.ErrExist)
		}
		if fault := a.s.unlocked(to); fault != nil {
			return "", "", fault
		}
	}
	return src, dst, nil
}

// MakeDirectory makes a folder, with its parents if asked. One that exists is a
// fault in either case.
func (a *fileAPI) MakeDirectory(_ *simulator.Context, req *types.MakeDirectory) soap.HasFault {
	body := &methods.MakeDirectoryBody{}
	_, p, fault := a.s.writable(req.Name)
	if fault == nil {
		if _, err := os.Lstat(p); err != nil && a.s.madeElsewhere(req.Name) {
			fault = &types.CannotCreateFile{FileFault: types.FileFault{File: req.Name}}
		}
	}
	if fault == nil {
		fault = a.s.makeFolder(req.Name, req.CreateParentDirectories != nil && *req.CreateParentDirectories)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.MakeDirectoryResponse{}
	return body
}

func (s *Server) makeFolder(name string, parents bool) types.BaseMethodFault {
	_, p, fault := s.writable(name)
	if fault != nil {
		return fault
	}
	err := error(os.ErrExist)
	if _, e := os.Lstat(p); e != nil {
		if parents {
			err = os.MkdirAll(p, 0o700)
		} else {
			err = os.Mkdir(p, 0o700)
		}
	}
	if err != nil {
		return fileFault(name, err)
	}
	return nil
}
