package tenancy

import (
	"context"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Protected is a VM with the vmgroup that may protect it.
type Protected struct {
	VM    hypervisor.VM
	Group volspec.VMGroup
	// Granted: because of a folder. The VM is no member, and has no volumes of
	// the vmgroup.
	Granted bool
}

// Protected lists all VMs that a vmgroup may protect, by name, each with that
// vmgroup: the one that lists it; else the one that was granted a folder it is
// in; else _DEFAULT, if there is one.
func (s *Service) Protected(ctx context.Context) ([]Protected, error) {
	vms, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return nil, err
	}
	var all []Protected
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all = nil
		scopes, err := readScopes(tx)
		for _, vm := range vms {
			if id, granted := scopes.of(vm); err == nil && id != "" {
				all = append(all, Protected{vm, scopes.groups[id], granted})
			}
		}
		return err
	})
	return all, err
}

// Granted reports whether a folder is there and was granted to a vmgroup, itself
// or one above it.
func (s *Service) Granted(ctx context.Context, g volspec.VMGroupID, f volspec.Folder) (bool, error) {
	found := false
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Folders(g)
		found = slices.ContainsFunc(all, func(have volspec.FolderGrant) bool { return have.Folder.Holds(f) })
		return err
	})
	if err != nil || !found {
		return false, err
	}
	_, err = s.findFolder(ctx, string(f))
	if errkind.Is(err, errkind.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// scopes are the facts from which follows who may protect a VM.
type scopes struct {
	groups  map[volspec.VMGroupID]volspec.VMGroup
	members map[volspec.VMID]volspec.VMGroupID
	folders []volspec.FolderGrant
}

func readScopes(tx Tx) (scopes, error) {
	sc := scopes{groups: map[volspec.VMGroupID]volspec.VMGroup{}, members: map[volspec.VMID]volspec.VMGroupID{}}
	groups, err := tx.Groups()
	if err != nil {
		return sc, err
	}
	for _, g := range groups {
		sc.groups[g.ID] = g
	}
	members, err := tx.Members("")
	if err != nil {
		return sc, err
	}
	for _, m := range members {
		sc.members[m.VM] = m.Group
	}
	sc.folders, err = tx.Folders("")
	return sc, err
}

// of is the vmgroup that may protect a VM, "" for none.
func (sc scopes) of(vm hypervisor.VM) (id volspec.VMGroupID, granted bool) {
	if g, member := sc.members[vm.ID]; member {
		return g, false
	}
	for _, f := range sc.folders {
		if f.Folder.Holds(vm.Folder) {
			return f.Group, true
		}
	}
	return sc.groups[volspec.DefaultGroupID].ID, false
}
