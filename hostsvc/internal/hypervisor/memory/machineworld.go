package memory

import (
	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// AddMachineDisk gives a VM a disk of its own that reads as zeros. A Refusal
// in d makes it one that snapshots leave out.
func (m *Memory) AddMachineDisk(vm volspec.VMID, d hypervisor.MachineDisk) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.vms[vm]
	v.disks = append(v.disks, &machineDisk{MachineDisk: d, content: content{}, epoch: uuid.NewString()})
}

// WriteMachineDisk is what a program in a VM does to one of its own disks.
func (m *Memory) WriteMachineDisk(vm volspec.VMID, key string, off int64, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[vm].disk(key).writeAt(data, off)
}

// ReadMachineDisk is what a VM has on one of its own disks.
func (m *Memory) ReadMachineDisk(vm volspec.VMID, key string, off int64, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := make([]byte, n)
	m.vms[vm].disk(key).readAt(b, off)
	return b
}

// GrowMachineDisk changes the size of one of a VM's own disks.
func (m *Memory) GrowMachineDisk(vm volspec.VMID, key string, size volspec.Size) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[vm].disk(key).Size = size
}

// LoseTrack forgets what changed on a disk until now. With off nothing is
// tracked from now on either.
func (m *Memory) LoseTrack(vm volspec.VMID, key string, off bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.vms[vm].disk(key)
	d.past, d.epoch = nil, uuid.NewString()
	if off {
		d.epoch = ""
	}
}

// SetTools says whether a VM's guest can be quiesced.
func (m *Memory) SetTools(vm volspec.VMID, there bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[vm].tools = there
}

// SetForeignSnapshot gives a VM a snapshot that somebody else took; "" removes
// it.
func (m *Memory) SetForeignSnapshot(vm volspec.VMID, name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vms[vm].foreign = name
}
