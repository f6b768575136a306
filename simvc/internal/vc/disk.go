package vc

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// disk is a disk that somebody holds: a machine, the catalog of first-class
// disks, or a snapshot.
type disk struct {
	File string // the running descriptor, "[ds] a/b.vmdk"
	UUID string
	VM   types.ManagedObjectReference
	Key  int32
}

// createDisk makes a disk's files.
func (s *Server) createDisk(name string, size int64, thin bool) (vmfile.Info, types.BaseMethodFault) {
	st, p, fault := s.resolve(name)
	if fault != nil {
		return vmfile.Info{}, fault
	}
	i := vmfile.Info{Size: size, Thin: thin, UUID: vmfile.NewUUID()}
	if filepath.Ext(p) != ".vmdk" || vmfile.IsFlat(p) || size <= 0 {
		return i, &types.InvalidArgument{InvalidProperty: "name"}
	}
	if _, err := os.Lstat(p); err == nil {
		return i, fileFault(name, os.ErrExist)
	}
	if !thin {
		if fault := st.reserve(vmfile.Flat(p), size); fault != nil {
			return i, fault
		}
	}
	if err := vmfile.Create(p, i); err != nil {
		st.release(vmfile.Flat(p))
		return i, fileFault(name, err)
	}
	return i, nil
}

// removeDisk deletes a disk's files.
func (s *Server) removeDisk(name string) types.BaseMethodFault {
	st, p, fault := s.resolve(name)
	if fault != nil {
		return fault
	}
	if _, err := os.Lstat(p); err != nil {
		return fileFault(name, err)
	}
	if err := vmfile.Remove(p); err != nil {
		return fileFault(name, err)
	}
	st.release(vmfile.Flat(p))
	return nil
}

func (s *Server) readDisk(name string) (vmfile.Info, types.BaseMethodFault) {
	_, p, fault := s.resolve(name)
	if fault != nil {
		return vmfile.Info{}, fault
	}
	i, err := vmfile.Read(p)
	if err != nil {
		return i, fileFault(name, err)
	}
	return i, nil
}

// thinSpec says whether the type of a disk's specification is a thin one.
func thinSpec(kind string) bool {
	switch types.VirtualDiskType(kind) {
	case types.VirtualDiskTypeThick, types.VirtualDiskTypePreallocated, types.VirtualDiskTypeEagerZeroedThick,
		types.VirtualDiskTypeThick2Gb:
		return false
	default:
		return true
	}
}

// growDisk enlarges a disk's files.
func (s *Server) growDisk(name string, size int64) types.BaseMethodFault {
	st, p, fault := s.resolve(name)
	if fault != nil {
		return fault
	}
	i, err := vmfile.Read(p)
	if err != nil {
		return fileFault(name, err)
	}
	if size < i.Size {
		return &types.InvalidArgument{InvalidProperty: "newCapacityKb"}
	}
	if !i.Thin {
		if fault := st.reserve(vmfile.Flat(p), size); fault != nil {
			return fault
		}
	}
	if err := vmfile.Resize(p, size); err != nil {
		return fileFault(name, err)
	}
	return nil
}

// setUUID changes a disk's identity while nobody holds it.
func (s *Server) setUUID(name, id string) types.BaseMethodFault {
	u, err := vmfile.ParseUUID(id)
	if err != nil {
		return &types.InvalidArgument{InvalidProperty: "uuid"}
	}
	if s.held(name) != nil {
		return &types.FileLocked{FileFault: types.FileFault{File: name}}
	}
	_, p, fault := s.resolve(name)
	if fault != nil {
		return fault
	}
	i, err := vmfile.Read(p)
	if err == nil {
		i.UUID = vmfile.FormatUUID(u)
		err = vmfile.Write(p, i)
	}
	if err != nil {
		return fileFault(name, err)
	}
	return nil
}

// spaced is the notation of VirtualDiskManager: "60 00 C2 9x ... xx-xx ...".
func spaced(u [16]byte) string { return fmt.Sprintf("% x-% x", u[:8], u[8:]) }
