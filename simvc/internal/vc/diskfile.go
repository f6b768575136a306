package vc

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// createDisk makes a disk's files.
func (s *Server) createDisk(name string, size int64, thin bool) (vmfile.Info, types.BaseMethodFault) {
	st, p, fault := s.writable(name)
	if fault != nil {
		return vmfile.Info{}, fault
	}
	i := vmfile.Info{Size: size, Thin: thin, UUID: vmfile.NewUUID()}
	if filepath.Ext(p) != ".vmdk" || vmfile.IsFlat(p) || size <= 0 || size > maxDisk {
		return i, &types.InvalidArgument{InvalidProperty: "name"}
	}
	if _, err := os.Lstat(p); err == nil {
		return i, fileFault(name, os.ErrExist)
	}
	if fault := st.reserve(vmfile.Flat(p), size, thin); fault != nil {
		return i, fault
	}
	if err := vmfile.Create(p, i); err != nil {
		st.release(vmfile.Flat(p))
		return i, fileFault(name, err)
	}
	return i, nil
}

// maxDisk is what a VMDK can have.
const maxDisk = 62 << 40

// removeDisk deletes a disk's files.
func (s *Server) removeDisk(name string) types.BaseMethodFault {
	st, p, fault := s.writable(name)
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
	_, p, fault := s.reachable(name)
	if fault != nil {
		return vmfile.Info{}, fault
	}
	i, err := vmfile.Read(p)
	if err != nil {
		return i, fileFault(name, err)
	}
	return i, nil
}

// growDisk enlarges a disk's files.
func (s *Server) growDisk(name string, size int64) types.BaseMethodFault {
	st, p, fault := s.writable(name)
	if fault != nil {
		return fault
	}
	i, err := vmfile.Read(p)
	if err != nil {
		return fileFault(name, err)
	}
	if size < i.Size || size > maxDisk {
		return &types.InvalidArgument{InvalidProperty: "newCapacityKb"}
	}
	if fault := st.reserve(vmfile.Flat(p), size, i.Thin); fault != nil {
		return fault
	}
	if err := vmfile.Resize(p, size); err != nil {
		return fileFault(name, err)
	}
	return nil
}

// copyDisk copies a disk, with its own identity.
func (s *Server) copyDisk(from, to string, thin bool) types.BaseMethodFault {
	i, fault := s.readDisk(from)
	if fault != nil {
		return fault
	}
	if _, fault := s.createDisk(to, i.Size, thin); fault != nil {
		return fault
	}
	_, src, _ := s.resolve(from)
	_, dst, _ := s.resolve(to)
	if err := vmfile.CopyFlat(vmfile.Flat(src), vmfile.Flat(dst)); err != nil {
		_ = s.removeDisk(to)
		return fileFault(to, err)
	}
	return nil
}

// setUUID changes a disk's identity while nobody runs on it.
func (s *Server) setUUID(name, id string) types.BaseMethodFault {
	u, err := vmfile.ParseUUID(id)
	if err != nil {
		return &types.InvalidArgument{InvalidProperty: "uuid"}
	}
	if fault := s.readable(name); fault != nil {
		return fault
	}
	_, p, fault := s.writable(name)
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

// spaced is the notation of VirtualDiskManager: "60 00 C2 9x ... xx-xx ...".
func spaced(u [16]byte) string { return fmt.Sprintf("% x-% x", u[:8], u[8:]) }

// moveDisk gives a disk another name, on any datastore.
func (s *Server) moveDisk(from, to string) types.BaseMethodFault {
	st, src, fault := s.writable(from)
	if fault != nil {
		return fault
	}
	dst, p, fault := s.writable(to)
	if fault != nil {
		return fault
	}
	i, err := vmfile.Read(src)
	if err != nil {
		return fileFault(from, err)
	}
	if _, err := os.Lstat(p); err == nil {
		return fileFault(to, os.ErrExist)
	}
	if st != dst {
		if i.Thin && vmfile.Used(vmfile.Flat(src)) > dst.free() {
			return &types.NoDiskSpace{Datastore: dst.name, FileFault: types.FileFault{File: to}}
		}
		if fault := dst.reserve(vmfile.Flat(p), i.Size, i.Thin); fault != nil {
			return fault
		}
	}
	if err := vmfile.Rename(src, p, ""); err != nil {
		dst.release(vmfile.Flat(p))
		return fileFault(to, err)
	}
	st.release(vmfile.Flat(src))
	return dst.reserve(vmfile.Flat(p), i.Size, i.Thin)
}

// inflateDisk reserves all of a thin disk's room.
func (s *Server) inflateDisk(name string) types.BaseMethodFault {
	st, p, fault := s.writable(name)
	if fault != nil {
		return fault
	}
	i, err := vmfile.Read(p)
	if err != nil {
		return fileFault(name, err)
	}
	if fault := st.reserve(vmfile.Flat(p), i.Size, false); fault != nil {
		return fault
	}
	i.Thin = false
	if err := vmfile.Write(p, i); err != nil {
		return fileFault(name, err)
	}
	return nil
}
