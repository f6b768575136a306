package tenancy

import (
	"context"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Newcomer is what is about to be backed up: a VM or a volume.
type Newcomer struct {
	Name   string
	VM     volspec.VMID     // "" for a volume
	Volume volspec.VolumeID // "" for a VM
}

// Admission begins the decision whether vmgroups may protect more. What it
// returns acts in a transaction of the caller, in which the newcomers' backups
// are enqueued or their points recorded; there it refuses, as quota, what was
// not protected before and is together more than the allowance.
func (s *Service) Admission(ctx context.Context) func(tx AllowanceTx, g volspec.VMGroup, all ...Newcomer) error {
	at := s.places(ctx)
	return func(tx AllowanceTx, g volspec.VMGroup, all ...Newcomer) error {
		pool, err := tx.Pool()
		if err != nil {
			return err
		}
		desired, err := tx.Allowances(g.ID)
		if err != nil {
			return err
		}
		allowed := volspec.Delegated(desired, g.ID)
		for _, k := range kinds {
			*k.of(&allowed) = volspec.Bound(*k.of(&pool), *k.of(&allowed))
		}
		if allowed.Sockets == volspec.Unbounded && allowed.VMs == volspec.Unbounded && allowed.Volumes == volspec.Unbounded {
			return nil
		}
		u, err := tx.Use(g.ID)
		if err != nil {
			return err
		}
		for _, n := range all {
			if err := admit(g, allowed, u, n, at); err != nil {
				return err
			}
			u = u.With(n.VM, n.Volume)
		}
		return nil
	}
}

// admit is the pure half of Admission. allowed is what g may use.
func admit(g volspec.VMGroup, allowed volspec.Amounts, u volspec.Use, n Newcomer, at placement) error {
	if n.VM == "" {
		if allowed.Volumes == volspec.Unbounded || slices.Contains(u.Volumes, n.Volume) || int64(len(u.Volumes)) < allowed.Volumes {
			return nil
		}
		return usedUp(g, volumes, "volume "+n.Name, int64(len(u.Volumes)), allowed.Volumes)
	}
	if slices.Contains(u.VMs, n.VM) {
		return nil
	}
	if allowed.VMs != volspec.Unbounded && int64(len(u.VMs)) >= allowed.VMs {
		return usedUp(g, vms, "VM "+n.Name, int64(len(u.VMs)), allowed.VMs)
	}
	if allowed.Sockets == volspec.Unbounded {
		return nil
	}
	if at.err != nil {
		return at.err
	}
	before := at.sockets(u.VMs)
	after := at.sockets(append(slices.Clone(u.VMs), n.VM))
	if after == before || after <= allowed.Sockets {
		return nil
	}
	return errkind.New(errkind.Quota, "VM %s cannot be protected: it runs on host %s with %d sockets, vmgroup %s uses %d of the %d sockets that were delegated to it; move the VM to a host of other protected VMs, or ask the administrator to raise the allowance with `mooring vmgroup allowance set --name=%s --sockets=…`",
		n.Name, at.hosts[n.VM].Name, at.hosts[n.VM].Sockets, g.Name, before, allowed.Sockets, g.Name)
}

func usedUp(g volspec.VMGroup, k kind, what string, used, allowed int64) error {
	return errkind.New(errkind.Quota, "%s cannot be protected: vmgroup %s uses %d of the %d %s that were delegated to it; remove all recovery points of another one, or ask the administrator to raise the allowance with `mooring vmgroup allowance set --name=%s --%s=…`",
		what, g.Name, used, allowed, k.name, g.Name, k.flag)
}
