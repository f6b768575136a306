package vsphere

import (
	"context"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
)

// VMs implements hypervisor.Machines.
func (v *VSphere) VMs(ctx context.Context) ([]hypervisor.VM, error) {
	found, err := v.inv.VMs(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]hypervisor.VM, 0, len(found))
	for _, m := range found {
		if _, ok := isCarrier(m.Name); !ok { // nobody's VM
			all = append(all, machine(m))
		}
	}
	return all, nil
}

// VM implements hypervisor.Machines.
func (v *VSphere) VM(ctx context.Context, id volspec.VMID) (hypervisor.VM, error) {
	m, err := v.inv.VM(ctx, string(id))
	if err != nil {
		return hypervisor.VM{}, err
	}
	return machine(m), nil
}

// FindFolder implements hypervisor.Folders.
func (v *VSphere) FindFolder(ctx context.Context, f volspec.Folder) (volspec.Folder, error) {
	found, err := v.inv.Folder(ctx, f)
	return found.Path, err
}

func machine(m vcenter.VM) hypervisor.VM {
	out := hypervisor.VM{ID: volspec.VMID(m.ID), Name: m.Name, Datastore: m.Datastore, Power: power(m), Folder: m.Folder}
	if out.Power == hypervisor.On && !m.BootTime.IsZero() {
		out.BootID = m.BootTime.UTC().Format(time.RFC3339Nano)
	}
	return out
}

// power: what a disconnected host last said of its VMs is not what they do now,
// and a suspended VM still has its disks mounted, although it does not run.
func power(m vcenter.VM) hypervisor.Power {
	switch {
	case !m.Connected:
		return hypervisor.Unknown
	case m.Power == types.VirtualMachinePowerStatePoweredOn:
		return hypervisor.On
	case m.Power == types.VirtualMachinePowerStatePoweredOff:
		return hypervisor.Off
	}
	return hypervisor.Unknown
}
