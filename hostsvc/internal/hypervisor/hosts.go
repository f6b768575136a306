package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// Host is a machine that runs VMs.
type Host struct {
	ID      string
	Name    string
	Sockets int // of processors
}

// Hosts is optional; ask with As.
type Hosts interface {
	// VMHosts tells on which host each VM runs, or would: a VM may be on another
	// one the next moment.
	VMHosts(ctx context.Context) (map[volspec.VMID]Host, error)
}
