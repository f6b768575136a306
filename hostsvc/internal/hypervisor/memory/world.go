package memory

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// SetPower switches a VM. Off to on is a new boot. What was attached stays so
// until it is detached, as with a real hypervisor, but nothing in the VM uses
// it any more.
func (m *Memory) SetPower(id volspec.VMID, p hypervisor.Power) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.vms[id]
	if v.Power == p {
		return
	}
	if p == hypervisor.On && v.Power == hypervisor.Off {
		v.boot()
	}
	v.Power = p
	switch p {
	case hypervisor.On:
		m.notify(hypervisor.Event{Time: time.Now(), VM: id, Kind: "power-on"})
	case hypervisor.Off:
		m.idle(id)
		m.notify(hypervisor.Event{Time: time.Now(), VM: id, Kind: "power-off"})
	}
}

// Reboot gives a running VM a new boot id without events.
func (m *Memory) Reboot(id volspec.VMID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.idle(id)
	m.vms[id].boot()
}

func (m *Memory) idle(id volspec.VMID) {
	for r, dev := range m.attached {
		if dev.VM == id {
			m.disks[r].busy = false
		}
	}
}

// AddVM adds a VM that is on.
func (m *Memory) AddVM(v hypervisor.VM) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v.Power, v.Folder = hypervisor.On, cmp.Or(v.Folder, AllVMs)
	mc := &machine{VM: v}
	mc.boot()
	m.vms[v.ID] = mc
}

// RemoveVM makes a VM unknown; its attachments end.
func (m *Memory) RemoveVM(id volspec.VMID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for r, dev := range m.attached {
		if dev.VM == id {
			m.release(r)
		}
	}
	delete(m.vms, id)
}

// SetDatastore changes what a datastore is: its state, room, ID. The name
// chooses it; a new name adds one.
func (m *Memory) SetDatastore(d hypervisor.Datastore) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stores[d.Name] = &d
}

// SetBusy says whether something in the guest has an attached disk mounted or
// open. Of a disk that is not attached it does nothing.
func (m *Memory) SetBusy(r hypervisor.Ref, busy bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.attached[r]; ok {
		m.disks[r].busy = busy
	}
}

// Corrupt makes the disk r unreadable, or the entry of a disk that never was.
func (m *Memory) Corrupt(r hypervisor.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disks[r] == nil {
		m.disks[r] = &disk{content: content{}, size: volspec.MiB, format: volspec.Thin, snapshots: map[volspec.SnapshotID]disk{}}
	}
	m.disks[r].corrupt = true
}

// Vanish removes a disk behind the service's back, metadata and attachment
// with it.
func (m *Memory) Vanish(r hypervisor.Ref) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.disks, r)
	delete(m.meta, r)
	delete(m.attached, r)
}

// Write is what a program in a VM does: it overwrites a part of an attached
// disk.
func (m *Memory) Write(vm volspec.VMID, serial string, off int64, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dev, d, err := m.plugged(vm, serial)
	if err != nil {
		return err
	}
	end := off + int64(len(data))
	switch {
	case dev.ReadOnly:
		return errkind.New(errkind.Denied, "device %s is read-only", serial)
	case end > int64(d.size):
		return errkind.New(errkind.Invalid, "device %s ends at %s", serial, d.size)
	}
	d.writeAt(data, off)
	return nil
}

// Read is what a program in a VM sees on an attached disk.
func (m *Memory) Read(vm volspec.VMID, serial string, off int64, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, d, err := m.plugged(vm, serial)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	d.readAt(b, off)
	return b, nil
}

func (m *Memory) plugged(vm volspec.VMID, serial string) (hypervisor.Device, *disk, error) {
	for r, dev := range m.attached {
		if dev.VM == vm && dev.Serial == serial && m.vms[vm].Power == hypervisor.On {
			return dev, m.disks[r], nil
		}
	}
	return hypervisor.Device{}, nil, errkind.New(errkind.NotFound, "no device %s in VM %s", serial, vm)
}

type watcher struct {
	queue []hypervisor.Event
	more  chan struct{} // capacity one: the queue has grown
}

func (m *Memory) notify(e hypervisor.Event) {
	for w := range m.watchers {
		w.queue = append(w.queue, e)
		select {
		case w.more <- struct{}{}:
		default:
		}
	}
}

// Watch implements hypervisor.Watcher.
func (m *Memory) Watch(ctx context.Context, events chan<- hypervisor.Event) error {
	w := &watcher{more: make(chan struct{}, 1)}
	m.mu.Lock()
	m.watchers[w] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watchers, w)
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.more:
		}
		m.mu.Lock()
		batch := w.queue
		w.queue = nil
		m.mu.Unlock()
		for _, e := range batch {
			select {
			case events <- e:
			case <-ctx.Done():
				return nil
			}
		}
	}
}
