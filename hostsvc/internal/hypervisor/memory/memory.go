// Package memory is a hypervisor that exists only in this process's memory:
// disks with sizes, metadata, snapshots and content, VMs whose power
// a test can switch. Unit tests of use cases run on it; it passes the contract
// suite, so what they learn here holds elsewhere.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Options describe the world at the start. Datastores without a state are
// online; without an ID they get one from their name. VMs without a power
// state are on.
type Options struct {
	Datastores []hypervisor.Datastore // Capacity 0: no limit
	VMs        []hypervisor.VM
	Moments    bool // changes of disks are tracked
}

// Memory implements hypervisor.Hypervisor, Snapshotter, Imager, Moments,
// FrozenSnapshotter, Watcher, GuestInfo, MachineImager, Folders and Hosts.
type Memory struct {
	tracks   bool
	mu       sync.Mutex // guards everything below
	stores   map[string]*hypervisor.Datastore
	vms      map[volspec.VMID]*machine
	folders  map[volspec.Folder]bool // absolute, without AllVMs
	disks    map[hypervisor.Ref]*disk
	meta     map[hypervisor.Ref][]byte
	attached map[hypervisor.Ref]hypervisor.Device
	building map[hypervisor.Ref]bool // see Build
	watchers map[*watcher]bool
	hosts    map[volspec.VMID]hypervisor.Host // see SetHost
}

type machine struct {
	hypervisor.VM
	boots   int
	info    map[string]string // see GuestInfo
	tools   bool              // its guest can be quiesced
	disks   []*machineDisk
	frozen  map[volspec.SnapshotID]*machineSnapshot
	foreign string // name of a snapshot that somebody else took, "" for none
	built   string // see MachineBuild.ID
}

type disk struct {
	content
	size      volspec.Size
	format    string
	corrupt   bool
	busy      bool // mounted or open in the guest
	snapshots map[volspec.SnapshotID]disk
	moment    string             // of a snapshot
	moments   map[string]content // of a disk, and what it held then
}

var (
	_ hypervisor.Hypervisor  = (*Memory)(nil)
	_ hypervisor.Snapshotter = (*Memory)(nil)
	_ hypervisor.Watcher     = (*Memory)(nil)
)

// New returns the world that o describes.
func New(o Options) *Memory {
	m := &Memory{
		tracks: o.Moments, stores: map[string]*hypervisor.Datastore{}, vms: map[volspec.VMID]*machine{}, folders: map[volspec.Folder]bool{},
		disks: map[hypervisor.Ref]*disk{}, meta: map[hypervisor.Ref][]byte{},
		attached: map[hypervisor.Ref]hypervisor.Device{}, building: map[hypervisor.Ref]bool{}, watchers: map[*watcher]bool{},
	}
	for _, d := range o.Datastores {
		if d.State == "" {
			d.State = hypervisor.Online
		}
		if d.ID == "" {
			d.ID = "memory-" + d.Name
		}
		if d.Type == "" {
			d.Type = "memory"
		}
		m.stores[d.Name] = &d
	}
	for _, v := range o.VMs {
		if v.Power == "" {
			v.Power = hypervisor.On
		}
		v.Folder = cmp.Or(v.Folder, AllVMs)
		mc := &machine{VM: v}
		if v.Power == hypervisor.On {
			mc.boot()
		}
		m.vms[v.ID] = mc
	}
	return m
}

func (v *machine) boot() {
	v.boots++
	v.BootID = fmt.Sprintf("%s-%d", v.ID, v.boots)
}

// lock takes the mutex unless ctx has ended.
func (m *Memory) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the request ended before its work began: repeat it")
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// store finds a datastore for reading, or for writing.
func (m *Memory) store(name string, write bool) (*hypervisor.Datastore, error) {
	d := m.stores[name]
	switch {
	case d == nil:
		return nil, errkind.New(errkind.NotFound, "no datastore %s: see the list of datastores", name)
	case d.State == hypervisor.Offline:
		return nil, errkind.New(errkind.Unavailable, "datastore %s is offline (%s): bring it back and repeat", name, d.Detail)
	case write && d.State == hypervisor.ReadOnlyStore:
		return nil, errkind.New(errkind.Unavailable, "datastore %s is read-only (%s): make it writable and repeat", name, d.Detail)
	}
	return d, nil
}

// place checks that r can be on its datastore.
func (m *Memory) place(r hypervisor.Ref, write bool) error {
	if err := r.Check(); err != nil {
		return err
	}
	_, err := m.store(r.Datastore, write)
	return err
}

// find is the disk r for reading, or for writing.
func (m *Memory) find(r hypervisor.Ref, write bool) (*disk, error) {
	if err := m.place(r, write); err != nil {
		return nil, err
	}
	d := m.disks[r]
	if d == nil {
		return nil, errkind.New(errkind.NotFound, "no disk %s on datastore %s", r.Volume, r.Datastore)
	}
	if d.corrupt {
		return nil, unreadable(r)
	}
	return d, nil
}

func unreadable(r hypervisor.Ref) error {
	return errkind.New(errkind.Corrupt, "disk %s on datastore %s is unreadable: remove it or repair the datastore", r.Volume, r.Datastore)
}

func allocated(d disk) volspec.Size {
	if d.format == volspec.Thin {
		return min(volspec.Size(d.bytes()), d.size)
	}
	return d.size
}

func (m *Memory) free(s *hypervisor.Datastore) volspec.Size {
	if s.Capacity == 0 {
		return volspec.PiB
	}
	free := s.Capacity
	for r, d := range m.disks {
		if r.Datastore == s.Name {
			free -= allocated(*d)
		}
	}
	for _, v := range m.vms {
		for _, d := range v.disks {
			if d.Datastore == s.Name {
				free -= volspec.Size(d.bytes())
			}
		}
	}
	return max(free, 0)
}

func (m *Memory) room(s *hypervisor.Datastore, need volspec.Size) error {
	if free := m.free(s); need > free {
		return errkind.New(errkind.Quota, "datastore %s has no room: %s asked, %s free; remove volumes or use another datastore", s.Name, need, free)
	}
	return nil
}

// sector is what disks are multiples of.
const sector = 512

// Datastores implements hypervisor.Datastores.
func (m *Memory) Datastores(ctx context.Context) ([]hypervisor.Datastore, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var all []hypervisor.Datastore
	for _, s := range m.stores {
		d := *s
		d.Free, d.Unit = m.free(s), sector
		if d.State == hypervisor.Offline {
			d.Capacity, d.Free = 0, 0
		}
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b hypervisor.Datastore) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
