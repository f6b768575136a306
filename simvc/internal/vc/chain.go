package vc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// freeze keeps a disk's content as it is now for an owner. The running file
// gets a child's name, and the old name is a copy that stays.
func (s *Server) freeze(d *disk, owner, changeID string) (*link, types.BaseMethodFault) {
	d.lock.Lock()
	defer d.lock.Unlock()
	st, old, fault := s.writable(d.Run)
	if fault != nil {
		return nil, fault
	}
	i, err := vmfile.Read(old)
	if err != nil {
		return nil, fileFault(d.Run, err)
	}
	if used := vmfile.Used(vmfile.Flat(old)); used > st.free() {
		return nil, &types.NoDiskSpace{Datastore: st.name, FileFault: types.FileFault{File: d.Run}}
	}
	goOn, err := vmfile.Still(vmfile.Flat(old))
	if err != nil {
		return nil, fileFault(d.Run, err)
	}
	defer goOn()
	tmp := vmfile.Flat(old) + ".frozen"
	if err := vmfile.CopyFlat(vmfile.Flat(old), tmp); err != nil {
		_ = os.Remove(tmp)
		return nil, fileFault(d.Run, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &link{File: d.Run, Parent: d.Parent, Owner: owner, ChangeID: changeID}
	child, path := s.childName(d)
	if err := s.renameRun(st, old, path, filepath.Base(old)); err != nil {
		_ = os.Remove(tmp)
		return nil, fileFault(d.Run, err)
	}
	i.Thin = true
	if err := os.Rename(tmp, vmfile.Flat(old)); err != nil {
		return nil, fileFault(d.Run, err)
	}
	if err := vmfile.Write(old, i); err != nil {
		return nil, fileFault(d.Run, err)
	}
	d.Run, d.Parent = child, l.File
	d.Links = append(d.Links, l)
	s.keep(d)
	return l, nil
}

// childName is the next free name of a child. s.mu is held.
func (s *Server) childName(d *disk) (name, path string) {
	base := strings.TrimSuffix(d.Base, ".vmdk")
	for n := 1; ; n++ {
		name = fmt.Sprintf("%s-%06d.vmdk", base, n)
		_, path, _ = s.resolve(name)
		if _, err := os.Lstat(path); err != nil {
			return name, path
		}
	}
}

// renameRun renames a disk's files with what they hold reserved.
func (s *Server) renameRun(st *store, from, to, parent string) error {
	if err := vmfile.Rename(from, to, parent); err != nil {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.thick, vmfile.Flat(to))
	if n, ok := st.thick[vmfile.Flat(from)]; ok {
		st.thick[vmfile.Flat(to)] = n
		delete(st.thick, vmfile.Flat(from))
	}
	return nil
}

// fold merges frozen files that nobody owns and nobody reads: their one child
// takes their name. It reports whether any is left.
func (s *Server) fold(d *disk) (left bool) {
	d.lock.Lock()
	defer d.lock.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for again := true; again; {
		again, left = false, false
		for _, l := range slices.Clone(d.Links) {
			if l.Owner != "" {
				continue
			}
			if len(l.Readers) > 0 || !s.merge(d, l) {
				left = true
				continue
			}
			again = true
			break
		}
	}
	s.keep(d)
	return left
}

// merge ends one frozen file. s.mu is held.
func (s *Server) merge(d *disk, l *link) bool {
	var children []*link
	for _, c := range d.Links {
		if c.Parent == l.File {
			children = append(children, c)
		}
	}
	running := d.Parent == l.File
	st, p, _ := s.resolve(l.File)
	hint := ""
	if l.Parent != "" {
		_, parent, _ := s.resolve(l.Parent)
		hint = filepath.Base(parent)
	}
	switch {
	case len(children) == 0 && !running:
		if vmfile.Remove(p) != nil {
			return false
		}
	case len(children) == 0:
		_, run, _ := s.resolve(d.Run)
		if s.renameRun(st, run, p, hint) != nil {
			return false
		}
		d.Run, d.Parent = l.File, l.Parent
	case len(children) == 1 && !running:
		c := children[0]
		_, from, _ := s.resolve(c.File)
		if s.renameRun(st, from, p, hint) != nil {
			return false
		}
		for _, o := range d.Links {
			if o.Parent == c.File {
				o.Parent = l.File
			}
		}
		if d.Parent == c.File {
			d.Parent = l.File
		}
		c.File, c.Parent = l.File, l.Parent
	default:
		return false
	}
	d.Links = slices.DeleteFunc(d.Links, func(o *link) bool { return o == l })
	return true
}

// restore puts a frozen content into the running file, which stays the same
// file of the host.
func (s *Server) restore(d *disk, l *link) types.BaseMethodFault {
	d.lock.Lock()
	defer d.lock.Unlock()
	_, from, fault := s.reachable(l.File)
	if fault != nil {
		return fault
	}
	_, to, fault := s.writable(d.Run)
	if fault != nil {
		return fault
	}
	if err := vmfile.CopyFlat(vmfile.Flat(from), vmfile.Flat(to)); err != nil {
		return fileFault(d.Run, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Parent = l.File
	return nil
}
