package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

// wholeMachines are the VMs of the hypervisor as backup needs them.
type wholeMachines struct {
	hypervisor.MachineImager
	tenants *tenancy.Service
}

// machinesOf is nil where the hypervisor has no images of VMs.
func machinesOf(h hypervisor.Hypervisor, tenants *tenancy.Service) backup.Machines {
	m, ok := hypervisor.As[hypervisor.MachineImager](h)
	if !ok {
		return nil
	}
	return wholeMachines{m, tenants}
}

// Machines leaves out VMs that are in the scope of no vmgroup.
func (w wholeMachines) Machines(ctx context.Context, g volspec.VMGroupID) ([]backup.Machine, error) {
	all, err := w.tenants.Protected(ctx)
	var out []backup.Machine
	for _, p := range all {
		if g != "" && p.Group.ID != g {
			continue
		}
		m := backup.Machine{ID: p.VM.ID, Group: p.Group, Name: p.VM.Name}
		if p.Granted {
			m.Folder = p.VM.Folder
		}
		out = append(out, m)
	}
	return out, err
}

// Granted implements backup.Machines.
func (w wholeMachines) Granted(ctx context.Context, g volspec.VMGroupID, f volspec.Folder) (bool, error) {
	return w.tenants.Granted(ctx, g, f)
}

// Adopt leaves _DEFAULT alone: every VM is of it that is of no other.
func (w wholeMachines) Adopt(ctx context.Context, c volspec.Caller, group string, vm volspec.VMID) error {
	if group == volspec.DefaultGroup {
		return nil
	}
	all, err := w.tenants.Protected(ctx)
	for _, p := range all {
		if p.VM.ID == vm && p.Group.Name == group && err == nil {
			return nil
		}
	}
	return w.tenants.AddVMs(ctx, c, group, []string{string(vm)})
}
