package vc

import (
	"os"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// Control flags that mean something here.
const (
	flagKeep = "keepAfterDeleteVm"
	flagCBT  = "enableChangedBlockTracking"
)

// setFlags adds control flags to a first-class disk, or takes them away; none
// named means all of them.
func (s *Server) setFlags(id string, flags []string, on bool) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[id]
	if f == nil {
		return notFound()
	}
	for _, name := range flags {
		if name != flagKeep && name != flagCBT && name != "disableRelocation" {
			return &types.InvalidArgument{InvalidProperty: "controlFlags"}
		}
	}
	if !on && len(flags) == 0 {
		flags = []string{flagKeep, flagCBT, "disableRelocation"}
	}
	for _, name := range flags {
		switch name {
		case flagKeep:
			f.Keep = on
		case flagCBT:
			f.Tracking.set(on)
		default:
			f.Flags = slices.DeleteFunc(f.Flags, func(n string) bool { return n == name })
			if on {
				f.Flags = append(f.Flags, name)
			}
		}
	}
	s.saveFCD(f)
	return nil
}

// describeFCD is a first-class disk as the API shows it.
func (s *Server) describeFCD(f *fcd) types.VStorageObject {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.find(f.Base)
	var size int64
	if _, p, fault := s.resolve(d.Run); fault == nil {
		if i, err := vmfile.Read(p); err == nil {
			size = i.Size
		}
	}
	var consumers []types.ID
	for _, h := range d.Holders {
		if vm, ok := s.root.Map.Get(h.VM).(*simulator.VirtualMachine); ok {
			consumers = append(consumers, types.ID{Id: vm.Config.InstanceUuid})
		}
	}
	back := &types.BaseConfigInfoDiskFileBackingInfo{
		BaseConfigInfoFileBackingInfo: types.BaseConfigInfoFileBackingInfo{
			BaseConfigInfoBackingInfo: types.BaseConfigInfoBackingInfo{Datastore: s.store(f.Store).ref},
			FilePath:                  d.Run, BackingObjectId: f.BackingID,
		},
		ProvisioningType: f.Kind,
	}
	if back.ProvisioningType == "" {
		back.ProvisioningType = string(types.BaseConfigInfoDiskFileBackingInfoProvisioningTypeThin)
	}
	back.Parent = s.parentOf(f, d, d.Parent)
	return types.VStorageObject{Config: types.VStorageObjectConfigInfo{
		BaseConfigInfo: types.BaseConfigInfo{
			Id: types.ID{Id: f.ID}, Name: f.Name, CreateTime: f.Created,
			KeepAfterDeleteVm:           types.NewBool(f.Keep),
			RelocationDisabled:          types.NewBool(slices.Contains(f.Flags, "disableRelocation")),
			NativeSnapshotSupported:     types.NewBool(false),
			ChangedBlockTrackingEnabled: types.NewBool(f.Tracking.On),
			Backing:                     back,
			Metadata:                    slices.Clone(f.Metadata),
		},
		CapacityInMB:    size / mib,
		ConsumptionType: []string{"disk"},
		ConsumerId:      consumers,
	}}
}

func (s *Server) parentOf(f *fcd, d *disk, file string) types.BaseBaseConfigInfoFileBackingInfo {
	l := d.link(file)
	if l == nil {
		return nil
	}
	return &types.BaseConfigInfoDiskFileBackingInfo{
		BaseConfigInfoFileBackingInfo: types.BaseConfigInfoFileBackingInfo{
			BaseConfigInfoBackingInfo: types.BaseConfigInfoBackingInfo{Datastore: s.store(f.Store).ref},
			FilePath:                  l.File,
			Parent:                    s.parentOf(f, d, l.Parent),
		},
		ProvisioningType: f.Kind,
	}
}

// reconcile drops first-class disks from the catalog whose file is gone.
func (s *Server) reconcile(st *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, f := range s.fcds {
		d := s.find(f.Base)
		if _, p, _ := s.resolve(d.Run); f.Store == st.name && st.is() == online {
			if _, err := os.Lstat(p); err != nil {
				d.FCD = ""
				s.keep(d)
				delete(s.fcds, id)
				s.forgetFCD(f)
			}
		}
	}
}
