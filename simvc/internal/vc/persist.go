package vc

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// savedVM is a machine in the directory of the state. Configurations are kept
// as the API writes them.
type savedVM struct {
	Moref     string
	Name      string
	Host      string
	On        bool
	Booted    *time.Time
	Datastore []types.ManagedObjectReference
	Network   []types.ManagedObjectReference
	Config    string
	Disks     []*disk
	Snapshots snapshots
	Configs   map[string]string // of the snapshots, by moref
}

// savedFCD is a first-class disk in the directory of the state.
type savedFCD struct {
	FCD  *fcd
	Disk *disk
}

func (s *Server) stateFile(kind, id string) string {
	return filepath.Join(s.o.Dir, "state", kind, id+".json")
}

// save writes a record whole.
func save(path string, v any) {
	data, err := json.Marshal(v)
	if err == nil {
		err = os.WriteFile(path+".tmp", data, 0o600)
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err != nil {
		complain("saving %s: %v", path, err)
	}
}

// complain writes to what Start keeps as the simulator's log.
func complain(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func encode(c *types.VirtualMachineConfigInfo) string {
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	start := xml.StartElement{Name: xml.Name{Local: "config"}, Attr: []xml.Attr{
		{Name: xml.Name{Local: "xmlns:xsi"}, Value: "http://www.w3.org/2001/XMLSchema-instance"},
		{Name: xml.Name{Local: "xmlns:xsd"}, Value: "http://www.w3.org/2001/XMLSchema"},
	}}
	if err := errors.Join(e.EncodeElement(c, start), e.Flush()); err != nil {
		complain("encoding a configuration: %v", err)
	}
	return b.String()
}

func decode(text string) (*types.VirtualMachineConfigInfo, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	d.TypeFunc = types.TypeFunc()
	c := &types.VirtualMachineConfigInfo{}
	return c, d.Decode(c)
}

// saveVM records a machine, which is locked.
func (s *Server) saveVM(vm *simulator.VirtualMachine) {
	v := savedVM{
		Moref: vm.Self.Value, Name: vm.Name, Config: encode(vm.Config), Configs: make(map[string]string),
		Booted: vm.Summary.Runtime.BootTime, Datastore: vm.Datastore, Network: vm.Network,
	}
	if h, ok := s.root.Map.Get(*vm.Runtime.Host).(*simulator.HostSystem); ok {
		v.Host = h.Name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.On = s.on[vm.Self]
	v.Snapshots = *s.machine(vm.Self)
	for _, sn := range v.Snapshots.List {
		c := s.frozenConfig(sn)
		v.Configs[sn.Ref.Value] = encode(&c)
	}
	for _, d := range flatDisks(vm.Config.Hardware.Device) {
		if held := s.find(flatBacking(d).FileName); len(held.Holders) > 0 {
			v.Disks = append(v.Disks, held)
		}
	}
	save(s.stateFile("vm", vm.Self.Value), v)
}

func (s *Server) forgetVM(vm *simulator.VirtualMachine) {
	s.mu.Lock()
	delete(s.machines, vm.Self)
	delete(s.on, vm.Self)
	s.mu.Unlock()
	_ = os.Remove(s.stateFile("vm", vm.Self.Value))
}

// saveFCD records a first-class disk. s.mu is held.
func (s *Server) saveFCD(f *fcd) {
	save(s.stateFile("fcd", f.ID), savedFCD{FCD: f, Disk: s.find(f.Base)})
}

func (s *Server) forgetFCD(f *fcd) { _ = os.Remove(s.stateFile("fcd", f.ID)) }

// load reads all records of a kind.
func load[T any](dir string) ([]T, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	var list []T
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// restoreState brings back what a predecessor had. It reports whether there was
// one.
func (s *Server) restoreState() (bool, error) {
	vms, err := load[savedVM](filepath.Join(s.o.Dir, "state", "vm"))
	if err != nil {
		return false, err
	}
	fcds, err := load[savedFCD](filepath.Join(s.o.Dir, "state", "fcd"))
	if err != nil {
		return false, err
	}
	for _, f := range fcds {
		s.adopt(f.Disk)
		s.fcds[f.FCD.ID] = f.FCD
	}
	slices.SortFunc(vms, func(a, b savedVM) int { return morefNumber(a.Moref) - morefNumber(b.Moref) })
	for _, v := range vms {
		if err := s.restoreVM(v); err != nil {
			return false, err
		}
	}
	for _, st := range s.stores {
		st.scan()
		s.publishStore(s.ctx(), st)
	}
	return len(vms) > 0 || len(fcds) > 0, nil
}

// adopt takes over a disk's record, unless there is a newer one.
func (s *Server) adopt(d *disk) {
	if d == nil {
		return
	}
	have := s.disks[d.Base]
	if have == nil {
		s.index(d)
		return
	}
	if d.Rev > have.Rev {
		have.Rev, have.Run, have.Parent, have.Links, have.Holders, have.FCD = d.Rev, d.Run, d.Parent, d.Links, d.Holders, d.FCD
		s.index(have)
	}
}

// scan finds what thick disks hold reserved.
func (st *store) scan() {
	st.mu.Lock()
	defer st.mu.Unlock()
	_ = filepath.WalkDir(st.dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(p, ".vmdk") || vmfile.IsFlat(p) {
			return nil //nolint:nilerr // files come and go
		}
		if i, err := vmfile.Read(p); err == nil && !i.Thin {
			st.thick[vmfile.Flat(p)] = i.Size
		}
		return nil
	})
	st.counted = time.Time{}
}
