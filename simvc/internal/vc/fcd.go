package vc

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// fcd is a first-class disk. Its content is the disk of the same base.
type fcd struct {
	ID        string
	Name      string
	Created   time.Time
	Keep      bool // after its machine is deleted
	Store     string
	Base      string
	BackingID string
	Kind      string // provisioning type
	Metadata  []types.KeyValue
	Flags     []string
	Snapshots []fcdSnapshot
	Tracking  tracking
}

type fcdSnapshot struct {
	ID          string
	BackingID   string
	Created     time.Time
	Description string
	Metadata    []types.KeyValue
}

const mib = 1 << 20

func notFound() types.BaseMethodFault { return &types.NotFound{} }

// fcdByID is a first-class disk and its chain.
func (s *Server) fcdByID(id string) (*fcd, *disk, types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[id]
	if f == nil {
		return nil, nil, notFound()
	}
	return f, s.find(f.Base), nil
}

// createFCD makes a first-class disk.
func (s *Server) createFCD(spec *types.VslmCreateSpec) (*fcd, types.BaseMethodFault) {
	b, ok := spec.BackingSpec.(*types.VslmCreateSpecDiskFileBackingSpec)
	if !ok || spec.Name == "" || spec.CapacityInMB < 1 {
		return nil, &types.InvalidArgument{InvalidProperty: "spec"}
	}
	f, fault := s.newFCD(spec.Name, b, spec.KeepAfterDeleteVm, spec.Metadata)
	if fault != nil {
		return nil, fault
	}
	if _, fault := s.createDisk(f.Base, spec.CapacityInMB*mib, f.thin()); fault != nil {
		return nil, fault
	}
	s.catalogue(f)
	return f, nil
}

func (f *fcd) thin() bool {
	return f.Kind == "" || f.Kind == string(types.BaseConfigInfoDiskFileBackingInfoProvisioningTypeThin)
}

// newFCD finds a name for the files; nothing is made yet but the default folder.
func (s *Server) newFCD(name string, b *types.VslmCreateSpecDiskFileBackingSpec, keep *bool, meta []types.KeyValue) (*fcd, types.BaseMethodFault) {
	st := s.storeOf(b.Datastore)
	if st == nil {
		return nil, &types.InvalidDatastore{Datastore: &b.Datastore}
	}
	f := &fcd{
		ID: uuid.NewString(), Name: name, Created: time.Now(), Store: st.name, BackingID: uuid.NewString(),
		Keep: keep != nil && *keep, Kind: b.ProvisioningType, Metadata: mergeMetadata(nil, meta, nil),
	}
	p := b.Path
	switch {
	case p == "":
		p = "fcd/" + strings.ReplaceAll(f.ID, "-", "") + ".vmdk"
		if _, _, fault := s.writable(fmt.Sprintf("[%s] fcd", st.name)); fault != nil {
			return nil, fault
		}
		_ = os.MkdirAll(filepath.Join(st.dir, "fcd"), 0o700)
	case !strings.HasSuffix(p, ".vmdk"):
		p = path.Join(p, strings.ReplaceAll(f.ID, "-", "")+".vmdk")
	}
	f.Base = canon(fmt.Sprintf("[%s] %s", st.name, p))
	return f, nil
}

// catalogue enters a first-class disk whose files are there.
func (s *Server) catalogue(f *fcd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(f.Base)
	d.FCD = f.ID
	s.fcds[f.ID] = f
	s.keep(d)
	s.saveFCD(f)
}

// registerFCD makes a disk that exists a first-class one.
func (s *Server) registerFCD(file, name string) (*fcd, types.BaseMethodFault) {
	st, p, fault := s.writable(file)
	if fault != nil {
		return nil, fault
	}
	info, err := vmfile.Read(p)
	if err != nil {
		return nil, &types.InvalidArgument{InvalidProperty: "path"}
	}
	file = canon(file)
	s.mu.Lock()
	d := s.find(file)
	known := d.FCD
	s.mu.Unlock()
	if known != "" {
		return nil, &types.AlreadyExists{Name: known}
	}
	if name == "" {
		name = strings.TrimSuffix(path.Base(p), ".vmdk")
	}
	kind := types.BaseConfigInfoDiskFileBackingInfoProvisioningTypeThin
	if !info.Thin {
		kind = types.BaseConfigInfoDiskFileBackingInfoProvisioningTypeLazyZeroedThick
	}
	f := &fcd{
		ID: uuid.NewString(), Name: name, Created: time.Now(), Store: st.name, Base: file,
		BackingID: uuid.NewString(), Kind: string(kind), Keep: true,
	}
	s.catalogue(f)
	return f, nil
}

// deleteFCD removes a first-class disk that no machine has, with its snapshots.
func (s *Server) deleteFCD(id string) types.BaseMethodFault {
	f, d, fault := s.fcdByID(id)
	if fault != nil {
		return fault
	}
	if _, _, fault := s.writable(f.Base); fault != nil {
		return fault
	}
	s.mu.Lock()
	consumers := len(d.Holders)
	readers := 0
	for _, l := range d.Links {
		readers += len(l.Readers)
	}
	files := slices.Compact(append(d.files()[1:], d.Base))
	s.mu.Unlock()
	switch {
	case consumers > 0:
		return &types.InvalidState{}
	case readers > 0:
		return &types.FileLocked{FileFault: types.FileFault{File: f.Base}}
	}
	for _, name := range files {
		if _, p, fault := s.resolve(name); fault == nil {
			if _, err := os.Lstat(p); err != nil {
				continue
			}
		}
		if fault := s.removeDisk(name); fault != nil {
			return fault
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.FCD, d.Links = "", nil
	s.keep(d)
	delete(s.fcds, id)
	s.forgetFCD(f)
	return nil
}

// extendFCD enlarges a first-class disk; what is attached sees it.
func (s *Server) extendFCD(ctx *simulator.Context, id string, mb int64) types.BaseMethodFault {
	_, d, fault := s.fcdByID(id)
	if fault != nil {
		return fault
	}
	if s.chained(d.Run) {
		return &types.InvalidState{}
	}
	if fault := s.growDisk(d.Run, mb*mib); fault != nil {
		return fault
	}
	s.refresh(ctx, d)
	return nil
}

// relocateFCD moves a first-class disk that no machine has.
func (s *Server) relocateFCD(id string, b *types.VslmCreateSpecDiskFileBackingSpec) types.BaseMethodFault {
	f, d, fault := s.fcdByID(id)
	if fault != nil {
		return fault
	}
	if len(d.Holders) > 0 || len(d.Links) > 0 {
		return &types.InvalidState{}
	}
	n, fault := s.newFCD(f.Name, b, &f.Keep, nil)
	if fault != nil {
		return fault
	}
	if fault := s.moveDisk(f.Base, n.Base); fault != nil {
		return fault
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Base, d.Run, f.Base, f.Store = n.Base, n.Base, n.Base, n.Store
	s.keep(d)
	s.saveFCD(f)
	return nil
}

// cloneFCD copies a first-class disk, or one of its snapshots, to a new one.
func (s *Server) cloneFCD(id, snapshot, name string, b *types.VslmCreateSpecDiskFileBackingSpec, keep *bool, meta []types.KeyValue) (*fcd, types.BaseMethodFault) {
	_, d, fault := s.fcdByID(id)
	if fault != nil {
		return nil, fault
	}
	from := d.Run
	if snapshot != "" {
		s.mu.Lock()
		l := d.owned(snapshot)
		s.mu.Unlock()
		if l == nil {
			return nil, notFound()
		}
		from = l.File
	} else if fault := s.readable(from); fault != nil {
		return nil, &types.InvalidState{}
	}
	f, fault := s.newFCD(name, b, keep, meta)
	if fault != nil {
		return nil, fault
	}
	if fault := s.copyDisk(from, f.Base, f.thin()); fault != nil {
		return nil, fault
	}
	s.catalogue(f)
	return f, nil
}

// updateMetadata changes what is noted of a first-class disk.
func (s *Server) updateMetadata(id string, set []types.KeyValue, remove []string) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[id]
	if f == nil {
		return notFound()
	}
	f.Metadata = mergeMetadata(f.Metadata, set, remove)
	s.saveFCD(f)
	return nil
}

func mergeMetadata(have, set []types.KeyValue, remove []string) []types.KeyValue {
	m := make(map[string]string)
	for _, kv := range have {
		m[kv.Key] = kv.Value
	}
	for _, k := range remove {
		delete(m, k)
	}
	for _, kv := range set {
		m[kv.Key] = kv.Value
	}
	var list []types.KeyValue
	for k, v := range m {
		list = append(list, types.KeyValue{Key: k, Value: v})
	}
	sortBy(list, func(kv types.KeyValue) string { return kv.Key })
	return list
}
