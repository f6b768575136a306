package tenancy

import (
	"context"
	"slices"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// AddVMs puts VMs, given by name or id, into a vmgroup. A VM that is in any
// vmgroup already, or has volumes attached, is refused, and with it all.
func (s *Service) AddVMs(ctx context.Context, c volspec.Caller, group string, names []string) error {
	var vms []volspec.Member
	prepare := func() (err error) {
		if err := listable(group); err != nil {
			return err
		}
		if len(names) == 0 {
			return errkind.New(errkind.Invalid, "VM list cannot be empty")
		}
		vms, err = s.resolve(ctx, names, nil)
		return err
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup vm add", strings.Join(names, ",")), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		return join(tx, g, vms)
	})
}

// RemoveVMs takes VMs out of a vmgroup; they belong to _DEFAULT then, if there
// is one. A VM with volumes attached is refused, and with it all. A VM that
// the hypervisor has forgotten goes by the name it had.
func (s *Service) RemoveVMs(ctx context.Context, c volspec.Caller, group string, names []string) error {
	var inventory []hypervisor.VM
	prepare := func() (err error) {
		if err := listable(group); err != nil {
			return err
		}
		if len(names) == 0 {
			return errkind.New(errkind.Invalid, "VM list cannot be empty")
		}
		if err := unique(names); err != nil {
			return err
		}
		inventory, err = s.o.Machines.VMs(ctx)
		return err
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup vm rm", strings.Join(names, ",")), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		members, err := tx.Members(g.ID)
		if err != nil {
			return err
		}
		for _, name := range names {
			m, err := memberCalled(name, g, members, inventory)
			if err != nil {
				return err
			}
			if err := leave(tx, m, "Cannot complete vmgroup vm rm."); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReplaceVMs makes names the list of a vmgroup's VMs. Those that are in it
// stay, with whatever they have attached; those that leave or come must have
// nothing attached, and those that come must be in no vmgroup.
func (s *Service) ReplaceVMs(ctx context.Context, c volspec.Caller, group string, names []string) error {
	var vms []volspec.Member
	prepare := func() (err error) {
		if err := listable(group); err != nil {
			return err
		}
		if len(names) == 0 {
			return errkind.New(errkind.Invalid, "Replace VM cannot be empty")
		}
		var known []volspec.Member
		err = s.o.Store.View(ctx, func(tx Tx) error {
			g, err := find(tx, group)
			if err == nil {
				known, err = tx.Members(g.ID)
			}
			return err
		})
		if err != nil {
			return err
		}
		vms, err = s.resolve(ctx, names, known)
		return err
	}
	return s.verb(ctx, line(ctx, c, group, "vmgroup vm replace", strings.Join(names, ",")), prepare, func(tx Tx) error {
		g, err := changeable(tx, group)
		if err != nil {
			return err
		}
		return replace(tx, g, vms, "Cannot complete vmgroup vm replace.")
	})
}

func replace(tx Tx, g volspec.VMGroup, vms []volspec.Member, what string) error {
	members, err := tx.Members(g.ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if !contains(vms, m.VM) {
			if err := leave(tx, m, what); err != nil {
				return err
			}
		}
	}
	for _, m := range vms {
		if !contains(members, m.VM) {
			if err := joinOne(tx, g, m, what); err != nil {
				return err
			}
		}
	}
	return nil
}

func contains(list []volspec.Member, vm volspec.VMID) bool {
	return slices.ContainsFunc(list, func(m volspec.Member) bool { return m.VM == vm })
}

// listable refuses verbs about the list that _DEFAULT does not have.
func listable(group string) error {
	if group == volspec.DefaultGroup {
		return errkind.New(errkind.Invalid, "This feature is not supported for vmgroup %s.", volspec.DefaultGroup)
	}
	return nil
}

func join(tx Tx, g volspec.VMGroup, vms []volspec.Member) error {
	for _, m := range vms {
		if err := joinOne(tx, g, m, "Cannot add VM to vmgroup"); err != nil {
			return err
		}
	}
	return nil
}

func joinOne(tx Tx, g volspec.VMGroup, m volspec.Member, what string) error {
	have, err := tx.Member(m.VM)
	switch {
	case err == nil && have.Group == g.ID:
		return errkind.New(errkind.Exists, "VM '%s' has already been associated with tenant '%s', cannot add it again", m.Name, g.Name)
	case err == nil:
		return errkind.New(errkind.Exists, "VM '%s' has already been associated with tenant '%s', can't add it", m.Name, groupName(tx, have.Group))
	case !errkind.Is(err, errkind.NotFound):
		return err
	}
	if err := idle(tx, m, what); err != nil {
		return err
	}
	m.Group = g.ID
	return tx.PutMember(m)
}

func leave(tx Tx, m volspec.Member, what string) error {
	if err := idle(tx, m, what); err != nil {
		return err
	}
	return tx.DeleteMember(m.VM)
}

// idle refuses a VM that has volumes: they would be another vmgroup's then.
func idle(tx Tx, m volspec.Member, what string) error {
	n, err := tx.HeldBy(m.VM)
	if err == nil && n > 0 {
		err = errkind.New(errkind.InUse, "%s VM '%s' has volumes mounted. Stop the containers that use them, then repeat the command", what, m.Name)
	}
	return err
}

func groupName(tx Tx, id volspec.VMGroupID) string {
	groups, err := tx.Groups()
	i := slices.IndexFunc(groups, func(g volspec.VMGroup) bool { return g.ID == id })
	if err != nil || i < 0 {
		return string(id)
	}
	return groups[i].Name
}

func unique(names []string) error {
	sorted := slices.Sorted(slices.Values(names))
	if len(slices.Compact(sorted)) < len(names) {
		return errkind.New(errkind.Invalid, "VMs %s contain duplicates, they should be unique", quoted(names))
	}
	return nil
}

// resolve finds VMs by name or id in the hypervisor or, when it has forgotten
// them, among the members known. All that are missing are named at once.
func (s *Service) resolve(ctx context.Context, names []string, known []volspec.Member) ([]volspec.Member, error) {
	if err := unique(names); err != nil {
		return nil, err
	}
	inventory, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return nil, err
	}
	return resolveIn(inventory, names, known)
}

func resolveIn(inventory []hypervisor.VM, names []string, known []volspec.Member) (found []volspec.Member, err error) {
	var missing []string
	for _, name := range names {
		same := calledIn(inventory, name)
		for _, m := range known {
			if len(same) == 0 && (m.Name == name || string(m.VM) == name) {
				same = append(same, m)
			}
		}
		switch len(same) {
		case 0:
			missing = append(missing, name)
		case 1:
			if contains(found, same[0].VM) {
				return nil, errkind.New(errkind.Invalid, "VMs %s contain duplicates, they should be unique", quoted(names))
			}
			found = append(found, same[0])
		default:
			return nil, ambiguous(name, same)
		}
	}
	if len(missing) > 0 {
		return nil, errkind.New(errkind.NotFound, "Cannot find vm %s", strings.Join(missing, ","))
	}
	return found, nil
}

func calledIn(inventory []hypervisor.VM, name string) (same []volspec.Member) {
	for _, vm := range inventory {
		if vm.Name == name || string(vm.ID) == name {
			same = append(same, volspec.Member{VM: vm.ID, Name: vm.Name})
		}
	}
	return same
}

func ambiguous(name string, same []volspec.Member) error {
	var ids []string
	for _, m := range same {
		ids = append(ids, string(m.VM))
	}
	return errkind.New(errkind.Invalid, "VM '%s' is ambiguous: give the id of one of %s", name, strings.Join(ids, ", "))
}

// memberCalled finds the member that a person calls name: by the name it has
// now, by its id, or by the name it had when it was added.
func memberCalled(name string, g volspec.VMGroup, members []volspec.Member, inventory []hypervisor.VM) (volspec.Member, error) {
	now := calledIn(inventory, name)
	var same []volspec.Member
	for _, m := range members {
		if contains(now, m.VM) || string(m.VM) == name {
			same = append(same, m)
		}
	}
	for _, m := range members {
		if len(same) == 0 && m.Name == name {
			same = append(same, m)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], nil
	case len(same) > 1:
		return volspec.Member{}, ambiguous(name, same)
	case len(now) > 0:
		return volspec.Member{}, errkind.New(errkind.NotFound, "VM '%s' has not been associated with tenant '%s', cannot remove it", name, g.Name)
	}
	return volspec.Member{}, errkind.New(errkind.NotFound, "Cannot find vm %s", name)
}
