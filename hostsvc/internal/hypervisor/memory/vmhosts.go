package memory

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Hosts = (*Memory)(nil)

// oneHost is where all VMs run that no test has put elsewhere.
var oneHost = hypervisor.Host{ID: "host", Name: "host", Sockets: 1}

// VMHosts implements hypervisor.Hosts.
func (m *Memory) VMHosts(ctx context.Context) (map[volspec.VMID]hypervisor.Host, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	on := map[volspec.VMID]hypervisor.Host{}
	for id := range m.vms {
		on[id] = oneHost
		if h, ok := m.hosts[id]; ok {
			on[id] = h
		}
	}
	return on, nil
}

// SetHost moves a VM to a host.
func (m *Memory) SetHost(id volspec.VMID, h hypervisor.Host) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.hosts == nil {
		m.hosts = map[volspec.VMID]hypervisor.Host{}
	}
	m.hosts[id] = h
}
