package vc

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// moveStorage moves a machine's disks to the datastores that a specification
// names, and with a datastore for the machine its own files. Disks land in the
// machine's folder under its name, whatever they were called; a disk with an
// entry of its own goes there, or stays if that is where it is. The guest goes
// on meanwhile: extents stay the same files of the host.
func (s *Server) moveStorage(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineRelocateSpec) types.BaseMethodFault {
	moves, fault := s.disksToMove(vm, spec)
	if fault != nil {
		return fault
	}
	home := vm.Config.Files.VmPathName
	if spec.Datastore != nil {
		if home, fault = s.moveOwn(vm, s.storeOf(*spec.Datastore)); fault != nil {
			return fault
		}
	}
	var folder object.DatastorePath
	folder.FromString(path.Dir(home))
	for _, m := range moves {
		to := s.freeName(fmt.Sprintf("[%s] %s", m.to.name, folder.Path), "")
		if fault := s.moveChain(vm, m.disk, m.to, canon(to)); fault != nil {
			return fault
		}
	}
	if len(moves) == 0 && spec.Datastore == nil {
		return nil
	}
	files := vm.Config.Files
	if _, p, fault := s.resolve(files.VmPathName); fault == nil {
		_ = os.Remove(filepath.Dir(p)) // if nothing is left in it
	}
	files.VmPathName = home
	files.LogDirectory, files.SnapshotDirectory = path.Dir(home)+"/", path.Dir(home)+"/"
	ctx.Update(vm, []types.PropertyChange{
		{Name: "config.files", Val: files},
		{Name: "summary.config.vmPathName", Val: home},
	})
	s.publishSnapshots(ctx, vm)
	ctx.Update(vm, []types.PropertyChange{{Name: "datastore", Val: s.storesOf(vm)}})
	for _, st := range s.stores {
		s.publishStore(ctx, st)
	}
	s.changed(vm)
	return nil
}

type diskMove struct {
	disk *disk
	to   *store
}

// disksToMove finds out which disks go where, and that all of them can.
func (s *Server) disksToMove(vm *simulator.VirtualMachine, spec *types.VirtualMachineRelocateSpec) (moves []diskMove, fault types.BaseMethodFault) {
	target := map[int32]types.ManagedObjectReference{}
	for _, l := range spec.Disk {
		target[l.DiskId] = l.Datastore
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		ref, named := target[d.Key]
		if !named && spec.Datastore != nil {
			ref, named = *spec.Datastore, true
		}
		if !named {
			continue
		}
		to := s.storeOf(ref)
		if to == nil {
			return nil, &types.InvalidDatastore{Datastore: &ref}
		}
		held := s.find(flatBacking(d).FileName)
		from, _, _ := s.resolve(held.Run)
		if from == to {
			continue
		}
		if f := s.fcds[held.FCD]; f != nil && s.o.PinSnapshots && len(f.Snapshots) > 0 {
			return nil, &types.NotSupported{}
		}
		if to.is() != online || from.is() != online {
			return nil, &types.InaccessibleDatastore{InvalidDatastore: types.InvalidDatastore{Datastore: &ref, Name: to.name}}
		}
		moves = append(moves, diskMove{held, to})
	}
	return moves, nil
}

// moveOwn moves what is the machine's beside its disks, and returns where its
// configuration is then.
func (s *Server) moveOwn(vm *simulator.VirtualMachine, to *store) (string, types.BaseMethodFault) {
	st, from, fault := s.writable(vm.Config.Files.VmPathName)
	if fault != nil || st == to {
		return vm.Config.Files.VmPathName, fault
	}
	home, fault := s.vmFolder(fmt.Sprintf("[%s]", to.name), vm.Name)
	if fault != nil {
		return "", fault
	}
	_, vmx, fault := s.writable(home)
	if fault != nil {
		return "", fault
	}
	if err := moveOwnFiles(from, vmx); err != nil {
		return "", fileFault(home, err)
	}
	return home, nil
}

// moveChain gives all files of a disk the name of another base.
func (s *Server) moveChain(vm *simulator.VirtualMachine, d *disk, to *store, base string) types.BaseMethodFault {
	d.lock.Lock()
	defer d.lock.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := strings.TrimSuffix(d.Base, ".vmdk")
	renamed := func(name string) string {
		if name == "" {
			return ""
		}
		return strings.TrimSuffix(base, ".vmdk") + strings.TrimPrefix(name, old)
	}
	parent := map[string]string{d.Run: d.Parent}
	for _, l := range d.Links {
		parent[l.File] = l.Parent
	}
	var room int64
	for name := range parent {
		_, p, _ := s.resolve(name)
		room += vmfile.Used(vmfile.Flat(p))
	}
	if room > to.free() {
		return &types.NoDiskSpace{Datastore: to.name, FileFault: types.FileFault{File: base}}
	}
	for name, above := range parent {
		if fault := s.moveFile(name, renamed(name), renamed(above)); fault != nil {
			return fault
		}
	}
	for _, l := range d.Links {
		l.File, l.Parent = renamed(l.File), renamed(l.Parent)
	}
	was := d.Base
	d.Base, d.Run, d.Parent = base, renamed(d.Run), renamed(d.Parent)
	for _, sn := range s.machine(vm.Self).List {
		for key, name := range sn.Disks {
			if name == was {
				sn.Disks[key] = base
			}
		}
	}
	if f := s.fcds[d.FCD]; f != nil {
		f.Base, f.Store = base, to.name
		defer s.saveFCD(f)
	}
	s.keep(d)
	return nil
}

// moveFile moves one file of a chain to any datastore.
func (s *Server) moveFile(from, to, parent string) types.BaseMethodFault {
	st, src, fault := s.writable(from)
	if fault != nil {
		return fault
	}
	dst, p, fault := s.writable(to)
	if fault != nil {
		return fault
	}
	if err := mkParent(p); err != nil {
		return fileFault(to, err)
	}
	i, err := vmfile.Read(src)
	if err != nil {
		return fileFault(from, err)
	}
	hint := ""
	if parent != "" {
		hint = path.Base(parent)
	}
	if err := vmfile.Rename(src, p, hint); err != nil {
		return fileFault(to, err)
	}
	st.release(vmfile.Flat(src))
	return dst.reserve(vmfile.Flat(p), i.Size, i.Thin)
}

// storesOf are the datastores that a machine has files on.
func (s *Server) storesOf(vm *simulator.VirtualMachine) (refs []types.ManagedObjectReference) {
	names := []string{vm.Config.Files.VmPathName}
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		names = append(names, flatBacking(d).FileName)
	}
	for _, name := range names {
		if st, _, _ := s.resolve(name); st != nil && !slices.Contains(refs, st.ref) {
			refs = append(refs, st.ref)
		}
	}
	return refs
}

// moveOwnFiles moves the files that a machine has beside its disks.
func moveOwnFiles(from, to string) error {
	if err := mkParent(to); err != nil {
		return err
	}
	own, _ := filepath.Glob(filepath.Join(filepath.Dir(from), "*")) // the pattern is valid
	for _, p := range own {
		if strings.HasSuffix(p, ".vmdk") {
			continue
		}
		if err := os.Rename(p, filepath.Join(filepath.Dir(to), filepath.Base(p))); err != nil {
			return err
		}
	}
	return nil
}
