package vc

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/plug"
)

// Plug shows a machine's disks beyond the first in a directory that is the /dev
// of a guest, from now on.
func (s *Server) Plug(name, dir string) error {
	vm, err := s.byName(name)
	if err != nil {
		return err
	}
	g, err := plug.Open(dir)
	if err != nil {
		return err
	}
	s.plugs.Lock()
	s.plugs.guests[vm.Self], s.plugs.dirs[vm.Self.Value] = g, dir
	save(s.plugFile(), s.plugs.dirs)
	s.plugs.Unlock()
	ctx := s.ctx()
	ctx.WithLock(vm, func() { err = s.syncPlug(vm) })
	return err
}

// Unplug ends what Plug began.
func (s *Server) Unplug(name string) error {
	vm, err := s.byName(name)
	if err != nil {
		return err
	}
	return s.unplug(vm.Self)
}

func (s *Server) unplug(ref types.ManagedObjectReference) error {
	s.plugs.Lock()
	defer s.plugs.Unlock()
	g := s.plugs.guests[ref]
	if g == nil {
		return nil
	}
	delete(s.plugs.guests, ref)
	delete(s.plugs.dirs, ref.Value)
	save(s.plugFile(), s.plugs.dirs)
	return g.Close()
}

// UnplugLeft frees what a server that was killed left plugged.
func UnplugLeft(dir string) error {
	s := &Server{o: Options{Dir: dir}}
	dirs, err := s.plugDirs()
	for _, d := range dirs {
		g, e := plug.Open(d)
		if e == nil {
			e = g.Close()
		}
		err = errors.Join(err, e)
	}
	return err
}

// plugDirs reads which guests a predecessor had, as far as they are still there.
func (s *Server) plugDirs() (map[string]string, error) {
	dirs := make(map[string]string)
	data, err := os.ReadFile(s.plugFile())
	if errors.Is(err, fs.ErrNotExist) {
		return dirs, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &dirs)
	}
	for moref, dir := range dirs {
		if _, gone := os.Stat(dir); gone != nil {
			delete(dirs, moref)
		}
	}
	return dirs, err
}

// UnplugAll frees all devices, at an orderly end.
func (s *Server) UnplugAll() error {
	s.plugs.Lock()
	defer s.plugs.Unlock()
	var errs []error
	for _, g := range s.plugs.guests {
		errs = append(errs, g.Close())
	}
	return errors.Join(errs...)
}

func (s *Server) plugFile() string { return filepath.Join(s.o.Dir, "state", "plugs.json") }

// restorePlugs takes over the guests of a predecessor that was killed.
func (s *Server) restorePlugs() error {
	dirs, err := s.plugDirs()
	for moref, dir := range dirs {
		err = errors.Join(err, s.Plug(moref, dir))
	}
	return err
}

// syncPlug shows a machine's disks as they are now. The machine is locked.
func (s *Server) syncPlug(vm *simulator.VirtualMachine) error {
	s.plugs.Lock()
	defer s.plugs.Unlock()
	g := s.plugs.guests[vm.Self]
	if g == nil {
		return nil
	}
	var disks []plug.Disk
	if s.isOn(vm.Self) {
		for _, d := range s.describeDisks(object.VirtualDeviceList(vm.Config.Hardware.Device)) {
			if d.Controller == 0 && d.Unit == 0 {
				continue
			}
			disks = append(disks, plug.Disk{
				UUID: d.UUID, Path: d.Path,
				ReadOnly: d.Mode == string(types.VirtualDiskModeIndependent_nonpersistent),
			})
		}
	}
	return g.Sync(disks)
}

// changed records a machine, which is locked, and shows its guest what it has.
func (s *Server) changed(vm *simulator.VirtualMachine) {
	s.saveVM(vm)
	if err := s.syncPlug(vm); err != nil {
		complain("plugging the disks of %s: %v", vm.Name, err)
	}
}
