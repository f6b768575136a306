package vc

import (
	"path"
	"slices"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// disk is a disk that somebody holds: a machine, the catalog of first-class
// disks, or a snapshot. Every file of its chain has the whole content of its
// moment; the running one is the same file of the host for as long as the disk
// lives, only its name changes.
type disk struct {
	lock sync.Mutex // orders changes of the chain

	Rev     int    // grows with every change: the records of its holders differ in age
	Base    string // name without snapshots
	Run     string // name of the running file
	Parent  string // frozen file that the running one comes from
	Links   []*link
	Holders []holder
	FCD     string

	indexed []string
}

// link is a frozen file.
type link struct {
	File   string
	Parent string
	Owner  string // snapshot: moref of a machine's, id of a first-class disk's; "" is nobody's
	// Readers are devices on other machines that read it.
	Readers []holder
	// ChangeID is what a query for changes since this snapshot gives.
	ChangeID string
}

// holder is a device on a machine.
type holder struct {
	VM      types.ManagedObjectReference
	Key     int32
	Mode    string
	Sharing string
}

func (h holder) shares(o holder) bool {
	ro := string(types.VirtualDiskModeIndependent_nonpersistent)
	multi := string(types.VirtualDiskSharingSharingMultiWriter)
	return h.Mode == ro && o.Mode == ro || h.Sharing == multi && o.Sharing == multi
}

func (d *disk) files() []string {
	names := []string{d.Base, d.Run}
	for _, l := range d.Links {
		names = append(names, l.File)
	}
	return names
}

func (d *disk) link(file string) *link {
	for _, l := range d.Links {
		if l.File == file {
			return l
		}
	}
	return nil
}

func (d *disk) owned(owner string) *link {
	for _, l := range d.Links {
		if l.Owner == owner {
			return l
		}
	}
	return nil
}

// keep notes that a disk changed. s.mu is held.
func (s *Server) keep(d *disk) {
	d.Rev++
	s.index(d)
}

// index puts a disk into the index under all its names, or takes it out when
// nobody needs it any more. s.mu is held.
func (s *Server) index(d *disk) {
	for _, name := range d.indexed {
		if s.disks[name] == d {
			delete(s.disks, name)
		}
	}
	d.indexed = nil
	if len(d.Holders) == 0 && len(d.Links) == 0 && d.FCD == "" {
		return
	}
	d.indexed = d.files()
	for _, name := range d.indexed {
		s.disks[name] = d
	}
}

// find is the disk of a file; a new one, not indexed yet, when nobody holds it.
// s.mu is held.
func (s *Server) find(name string) *disk {
	if d := s.disks[name]; d != nil {
		return d
	}
	return &disk{Base: name, Run: name}
}

// canon is the one notation of a name.
func canon(name string) string {
	var p object.DatastorePath
	if !p.FromString(name) {
		return name
	}
	p.Path = path.Clean(p.Path)
	return p.String()
}

// running says whether a machine holds locks. s.mu is held.
func (s *Server) running(ref types.ManagedObjectReference) bool { return s.on[ref] }

// free finds out whether a file may be changed, moved or deleted: nobody runs
// on it, and no snapshot or first-class disk needs it.
func (s *Server) untouched(name string) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disks[name]
	if d == nil {
		return nil
	}
	locked := d.FCD != "" || len(d.Links) > 0
	for _, h := range d.Holders {
		locked = locked || s.running(h.VM)
	}
	if locked {
		return &types.FileLocked{FileFault: types.FileFault{File: name}}
	}
	return nil
}

// readable finds out whether a file may be read as a whole: frozen ones may,
// what a running machine writes to may not.
func (s *Server) readable(name string) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.disks[name]
	if d == nil || d.Run != name {
		return nil
	}
	for _, h := range d.Holders {
		if s.running(h.VM) && h.Mode != string(types.VirtualDiskModeIndependent_nonpersistent) {
			return &types.FileLocked{FileFault: types.FileFault{File: name}}
		}
	}
	return nil
}

// hold takes a disk for a machine's device. A running machine locks it; a
// first-class disk has one consumer, running or not.
func (s *Server) hold(name string, h holder) (func(), types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(name)
	locked := &types.FileLocked{FileFault: types.FileFault{File: name}}
	if l := d.link(name); l != nil {
		if h.Mode != string(types.VirtualDiskModeIndependent_nonpersistent) {
			return nil, locked
		}
		l.Readers = append(l.Readers, h)
		return func() { s.letGo(name, h) }, nil
	}
	for _, o := range d.Holders {
		if o.shares(h) {
			continue
		}
		if d.FCD != "" {
			return nil, &types.ResourceInUse{Type: "VStorageObject", Name: d.FCD}
		}
		if s.running(o.VM) || o.VM == h.VM {
			return nil, locked
		}
	}
	d.Holders = append(d.Holders, h)
	s.keep(d)
	return func() { s.letGo(name, h) }, nil
}

// letGo ends what hold began.
func (s *Server) letGo(name string, h holder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(o holder) bool { return o.VM == h.VM && o.Key == h.Key }
	d := s.find(name)
	if l := d.link(name); l != nil {
		l.Readers = slices.DeleteFunc(l.Readers, same)
	}
	d.Holders = slices.DeleteFunc(d.Holders, same)
	s.keep(d)
}
