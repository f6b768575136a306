package backup

import (
	"context"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Machine is a VM as backup sees it.
type Machine struct {
	ID    volspec.VMID
	Group volspec.VMGroup // that may protect it
	Name  string
	// Folder is where a VM lies that is no member: the vmgroup was granted this
	// folder, or one above it. "" for a member.
	Folder volspec.Folder
}

// Machines are the VMs of the hypervisor with the vmgroups that may protect them.
type Machines interface {
	hypervisor.MachineImager
	// Machines lists the VMs that a vmgroup may protect, by name; "" those of all. A
	// VM is one vmgroup's at most.
	Machines(ctx context.Context, g volspec.VMGroupID) ([]Machine, error)
	// Granted reports whether a folder is there and a vmgroup may protect what is
	// in it.
	Granted(ctx context.Context, g volspec.VMGroupID, f volspec.Folder) (bool, error)
	// Adopt makes a VM a member of a vmgroup that may not protect it already.
	Adopt(ctx context.Context, c volspec.Caller, group string, vm volspec.VMID) error
}

// machinePrefix is written before the name of a VM where a volume's could
// stand too: no volume has a slash in its name.
const machinePrefix = "vm/"

func machineName(name string) string { return machinePrefix + name }

// machineSpace is the namespace of the ids of VMs' disks and of their points.
var machineSpace = uuid.MustParse("0d6c6a52-8d0b-5c55-9a0e-6b6b5a7a1c2e")

// diskID is what a disk of a VM is called where a volume's id could stand.
func diskID(vm volspec.VMID, key string) volspec.VolumeID {
	return volspec.VolumeID(uuid.NewSHA1(machineSpace, []byte(string(vm)+"/"+key)).String())
}

// diskPoint is the point of one disk in a set.
func diskPoint(set volspec.PointID, key string) volspec.PointID {
	return volspec.PointID(uuid.NewSHA1(machineSpace, []byte(string(set)+"/"+key)).String())
}

// machineMeta is what each point of a set keeps of the VM, so that the set can
// be put together again from the repository alone. A copy keeps what its
// original does: which set it is of follows from where it is.
type machineMeta struct {
	Set     volspec.PointID `json:"set"`
	Origin  volspec.PointID `json:"-"` // the first set of that moment, of which others are copies
	VM      volspec.VMID    `json:"vm"`
	Name    string          `json:"name"`
	Folder  volspec.Folder  `json:"folder,omitempty"` // see Machine
	Config  json.RawMessage `json:"config"`
	Key     string          `json:"key"` // of this disk
	Change  string          `json:"change,omitempty"`
	Disks   []machineDisk   `json:"disks"`
	LeftOut []leftOut       `json:"left_out,omitempty"`
}

// of completes what a point keeps with what follows from the point: the set of
// a copy and its points.
func (m *machineMeta) of(p Point) {
	m.Origin = m.Set
	if p.Body.Point.CopyOf == "" {
		return
	}
	m.Set = copyID(m.Origin, p.Repository)
	for i, d := range m.Disks {
		m.Disks[i].Point = diskPoint(m.Set, d.Key)
	}
}

// label is that of the disk whose point keeps this.
func (m *machineMeta) label() string {
	for _, d := range m.Disks {
		if d.Key == m.Key {
			return d.Label
		}
	}
	return "disk " + m.Key
}

// machineDisk is one disk of a set.
type machineDisk struct {
	Key       string          `json:"key"`
	Label     string          `json:"label"`
	Size      volspec.Size    `json:"size"`
	Datastore string          `json:"datastore"`
	Point     volspec.PointID `json:"point"`
}

// leftOut is a disk of the VM that the set does not hold.
type leftOut struct {
	Key    string           `json:"key"`
	Label  string           `json:"label"`
	Volume volspec.VolumeID `json:"volume,omitempty"`
	Why    string           `json:"why"`
}

var noMachines = errkind.New(errkind.Unsupported, "this hypervisor makes no images of whole VMs: protect the volumes of the VM instead")

// machines lists the VMs that a vmgroup may protect; none where the hypervisor has no images
// of VMs.
func (s *Service) machines(ctx context.Context, g volspec.VMGroupID) ([]Machine, error) {
	if s.o.Machines == nil {
		return nil, nil
	}
	return s.o.Machines.Machines(ctx, g)
}

// findMachine finds a VM that a vmgroup may protect by name or id; another's and
// none are the same.
func (s *Service) findMachine(ctx context.Context, group, name string) (Machine, error) {
	if s.o.Machines == nil {
		return Machine{}, noMachines
	}
	name = strings.TrimPrefix(name, machinePrefix)
	var g volspec.VMGroup
	if err := s.inGroup(ctx, group, func(_ Tx, have volspec.VMGroup) error { g = have; return nil }); err != nil {
		return Machine{}, err
	}
	all, err := s.machines(ctx, g.ID)
	if err != nil {
		return Machine{}, err
	}
	all = slices.DeleteFunc(all, func(m Machine) bool { return m.Name != name && string(m.ID) != name })
	switch len(all) {
	case 0:
		return Machine{}, errkind.New(errkind.NotFound, "VM %s is not in vmgroup %s: see `mooring vmgroup vm ls` and `mooring vmgroup folder ls`", name, group)
	case 1:
		return all[0], nil
	}
	return Machine{}, errkind.New(errkind.Invalid, "VM %s is ambiguous in vmgroup %s: %d have that name; give the id of one, see `mooring vm ls`", name, group, len(all))
}

// stillIn finds a VM again, and refuses work on one that left the vmgroup or its
// folders since it was asked for.
func (s *Service) stillIn(ctx context.Context, g volspec.VMGroupID, vm volspec.VMID, name string) (Machine, error) {
	all, err := s.machines(ctx, g)
	if err != nil {
		return Machine{}, err
	}
	i := slices.IndexFunc(all, func(m Machine) bool { return m.ID == vm })
	if i < 0 {
		return Machine{}, errkind.New(errkind.NotFound, "VM %s is not in the vmgroup any more that this was asked for, nor in a folder of it: see `mooring vmgroup vm ls` and `mooring vmgroup folder ls`", name)
	}
	return all[i], nil
}

// selectsMachine reports whether a policy protects a VM. Patterns of exclude
// are about VMs when they begin with vm/.
func selectsMachine(p Policy, m Machine) bool {
	if m.Group.ID != p.Group {
		return false
	}
	matches := func(patterns []string, name string) bool {
		return slices.ContainsFunc(patterns, func(pattern string) bool {
			ok, _ := path.Match(pattern, name)
			return ok
		})
	}
	return matches(p.Spec.VMs, m.Name) && !matches(p.Spec.Exclude, machineName(m.Name))
}

// selectedMachines are the VMs that a policy protects now.
func (s *Service) selectedMachines(ctx context.Context, p Policy) ([]Machine, error) {
	if len(p.Spec.VMs) == 0 {
		return nil, nil
	}
	if s.o.Machines == nil {
		return nil, noMachines
	}
	all, err := s.machines(ctx, p.Group)
	return slices.DeleteFunc(all, func(m Machine) bool { return !selectsMachine(p, m) }), err
}

// signatureSetting is where the signature of this catalog is kept.
const signatureSetting = "backup-signature"

// signature begins the ids of the snapshots of VMs that this catalog knows of:
// another mooringd may use the same hypervisor with a catalog of its own.
func (s *Service) signature(ctx context.Context) (sign string, err error) {
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if sign, err = tx.Setting(signatureSetting); err != nil || sign != "" {
			return err
		}
		sign = strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
		return tx.PutSetting(signatureSetting, sign)
	})
	return sign + "-", err
}

// sweepMachines removes the snapshots of VMs that no job is to go on with,
// those of other catalogs excepted. What is listed first was noted by its job
// before it was made.
func (s *Service) sweepMachines(ctx context.Context) error {
	if s.o.Machines == nil {
		return nil
	}
	all, err := s.o.Machines.MachineSnapshots(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	sign, err := s.signature(ctx)
	if err != nil {
		return err
	}
	needed, err := s.neededMachines(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, sn := range all {
		if strings.HasPrefix(string(sn.ID), sign) && !needed[sn.ID] {
			failed = joined(failed, s.o.Machines.DeleteMachineSnapshot(ctx, sn.VM, sn.ID))
		}
	}
	return failed
}

// ofVolume says how the disk that is a volume is protected.
func (s *Service) ofVolume(ctx context.Context, id volspec.VolumeID) (string, error) {
	v, err := s.o.Volumes.Volume(ctx, id)
	if errkind.Is(err, errkind.NotFound) {
		return "it is a volume that is being removed", nil
	}
	if err != nil {
		return "", err
	}
	var names []string
	err = s.o.Store.View(ctx, func(tx Tx) error {
		names = nil
		all, err := tx.Policies(v.Group.ID)
		for _, p := range all {
			if enabled(p) && selects(p, v) {
				names = append(names, p.Name)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "it is volume " + v.Name.String() + ", which no policy protects", nil
	}
	return "it is volume " + v.Name.String() + ", protected by policy " + strings.Join(names, ", "), nil
}
