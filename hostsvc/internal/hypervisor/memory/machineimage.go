package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.MachineImager = (*Memory)(nil)

// machineDisk is a disk of a VM's own.
type machineDisk struct {
	hypervisor.MachineDisk
	content
	epoch string    // of its change tracking, "" where there is none
	past  []content // at each moment that a Change of this epoch names
}

type machineSnapshot struct {
	hypervisor.MachineSnapshot
	disks map[string]content
}

// config is what a VM is made of.
type config struct {
	Datastore string                   `json:"datastore"`
	Disks     []hypervisor.MachineDisk `json:"disks"`
}

// MachineDisks implements hypervisor.MachineImager.
func (m *Memory) MachineDisks(ctx context.Context, vm volspec.VMID) ([]hypervisor.MachineDisk, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	v, err := m.machine(vm)
	if err != nil {
		return nil, err
	}
	return m.disksOf(v), nil
}

// disksOf are a VM's own disks and the volumes that it has.
func (m *Memory) disksOf(v *machine) (all []hypervisor.MachineDisk) {
	for _, d := range v.disks {
		all = append(all, d.MachineDisk)
	}
	var volumes []hypervisor.MachineDisk
	for r, dev := range m.attached {
		if dev.VM == v.ID {
			volumes = append(volumes, hypervisor.MachineDisk{
				Key: "volume-" + string(r.Volume), Label: "Volume " + string(r.Volume), Size: dev.Size, Datastore: r.Datastore, Volume: r.Volume,
			})
		}
	}
	slices.SortFunc(volumes, func(a, b hypervisor.MachineDisk) int { return strings.Compare(a.Key, b.Key) })
	return append(all, volumes...)
}

// SnapshotMachine implements hypervisor.MachineImager.
func (m *Memory) SnapshotMachine(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, quiesce bool) (hypervisor.MachineSnapshot, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return hypervisor.MachineSnapshot{}, err
	}
	defer unlock()
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return hypervisor.MachineSnapshot{}, err
	}
	v, err := m.machine(vm)
	if err != nil {
		return hypervisor.MachineSnapshot{}, err
	}
	if s := v.frozen[id]; s != nil {
		return s.MachineSnapshot, nil
	}
	s := &machineSnapshot{disks: map[string]content{}}
	s.At, s.Quiesced = time.Now().UTC().Truncate(time.Microsecond), quiesce && v.tools
	if quiesce && !v.tools {
		s.Note = "VM " + v.Name + " has no guest tools: its disks are as after a power failure"
	}
	c := config{Datastore: v.Datastore}
	for _, d := range v.disks {
		c.Disks = append(c.Disks, d.MachineDisk)
	}
	if s.Config, err = json.Marshal(c); err != nil {
		return hypervisor.MachineSnapshot{}, errkind.Wrap(errkind.Internal, err, "configuration of VM %s", v.Name)
	}
	s.Disks = m.disksOf(v)
	for i, d := range v.disks {
		if d.Refusal != "" {
			continue
		}
		now := d.clone()
		s.disks[d.Key] = now
		if d.epoch != "" {
			s.Disks[i].Change = fmt.Sprintf("%s/%d", d.epoch, len(d.past))
			d.past = append(d.past, now)
		}
	}
	if v.frozen == nil {
		v.frozen = map[volspec.SnapshotID]*machineSnapshot{}
	}
	v.frozen[id] = s
	return s.MachineSnapshot, nil
}

// DeleteMachineSnapshot implements hypervisor.MachineImager.
func (m *Memory) DeleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return err
	}
	if v := m.vms[vm]; v != nil {
		delete(v.frozen, id)
	}
	return nil
}

// MachineSnapshots implements hypervisor.MachineImager.
func (m *Memory) MachineSnapshots(ctx context.Context) ([]hypervisor.MachineSnapshotRef, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []hypervisor.MachineSnapshotRef
	for _, v := range m.vms {
		for id := range v.frozen {
			all = append(all, hypervisor.MachineSnapshotRef{VM: v.ID, ID: id})
		}
	}
	return all, nil
}

// frozenDisk finds a disk of a snapshot of a VM.
func (m *Memory) frozenDisk(vm volspec.VMID, id volspec.SnapshotID, key string) (d *machineDisk, c content, size volspec.Size, err error) {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return nil, nil, 0, err
	}
	v, err := m.machine(vm)
	if err != nil {
		return nil, nil, 0, err
	}
	s := v.frozen[id]
	if s == nil {
		return nil, nil, 0, errkind.New(errkind.NotFound, "VM %s has no snapshot %s", v.Name, id)
	}
	i := slices.IndexFunc(s.Disks, func(d hypervisor.MachineDisk) bool { return d.Key == key })
	if i < 0 {
		return nil, nil, 0, errkind.New(errkind.NotFound, "snapshot %s of VM %s has no disk %s", id, v.Name, key)
	}
	if why := s.Disks[i].Refusal; why != "" {
		return nil, nil, 0, errkind.New(errkind.Unsupported, "%s of VM %s cannot be read: %s", s.Disks[i].Label, v.Name, why)
	}
	return v.disk(key), s.disks[key], s.Disks[i].Size, nil
}

func (v *machine) disk(key string) *machineDisk {
	for _, d := range v.disks {
		if d.Key == key {
			return d
		}
	}
	return nil
}

// OpenMachineDisk implements hypervisor.MachineImager.
func (m *Memory) OpenMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (image.Image, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	_, c, size, err := m.frozenDisk(vm, id, key)
	if err != nil {
		return nil, err
	}
	return opened{size: int64(size), c: c}, nil
}

// ChangedMachineDisk implements hypervisor.MachineImager.
func (m *Memory) ChangedMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key, since string) image.Extents {
	return yieldFound(ctx, func() ([]image.Extent, error) { return m.changedSince(ctx, vm, id, key, since) })
}

func (m *Memory) changedSince(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key, since string) ([]image.Extent, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	d, now, size, err := m.frozenDisk(vm, id, key)
	if err != nil {
		return nil, err
	}
	epoch, number, _ := strings.Cut(since, "/")
	n, err := strconv.Atoi(number)
	if d == nil || err != nil || epoch == "" || epoch != d.epoch || n < 0 || n >= len(d.past) {
		return nil, errkind.New(errkind.Unsupported, "what changed on disk %s of VM %s since the last backup cannot be told: changes were not tracked all the time", key, m.name(vm))
	}
	return extents(differences(d.past[n], now), int64(size)), nil
}
