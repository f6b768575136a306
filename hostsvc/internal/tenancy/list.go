package tenancy

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// List describes all vmgroups, by name.
func (s *Service) List(ctx context.Context) ([]wire.VMGroup, error) {
	var groups []wire.VMGroup
	inventory := s.inventory(ctx)
	err := s.o.Store.View(ctx, func(tx Tx) error {
		groups = []wire.VMGroup{}
		all, err := tx.Groups()
		if err != nil {
			return err
		}
		members, err := tx.Members("")
		if err != nil {
			return err
		}
		rows, err := tx.AccessRows("")
		if err != nil {
			return err
		}
		folders, err := tx.Folders("")
		if err != nil {
			return err
		}
		usages, err := tx.Usages()
		if err != nil {
			return err
		}
		byGroup, rowsOf := map[volspec.VMGroupID][]volspec.Member{}, map[volspec.VMGroupID][]volspec.Access{}
		foldersOf := map[volspec.VMGroupID][]volspec.FolderGrant{}
		for _, f := range folders {
			foldersOf[f.Group] = append(foldersOf[f.Group], f)
		}
		for _, m := range members {
			byGroup[m.Group] = append(byGroup[m.Group], m)
		}
		for _, a := range rows {
			rowsOf[a.Group] = append(rowsOf[a.Group], a)
		}
		for _, g := range all {
			groups = append(groups, assemble(g, byGroup[g.ID], rowsOf[g.ID], foldersOf[g.ID], usages, inventory))
		}
		return examine(tx, all, groups)
	})
	return groups, err
}

// Get describes one vmgroup.
func (s *Service) Get(ctx context.Context, name string) (v wire.VMGroup, err error) {
	inventory := s.inventory(ctx)
	err = s.o.Store.View(ctx, func(tx Tx) (err error) {
		v, err = describe(tx, name, inventory)
		return err
	})
	return v, err
}

func describe(tx Tx, name string, inventory map[volspec.VMID]hypervisor.VM) (wire.VMGroup, error) {
	g, err := find(tx, name)
	if err != nil {
		return wire.VMGroup{}, err
	}
	members, err := tx.Members(g.ID)
	if err != nil {
		return wire.VMGroup{}, err
	}
	rows, err := tx.AccessRows(g.ID)
	if err != nil {
		return wire.VMGroup{}, err
	}
	usages := map[Place]volspec.Usage{}
	for _, a := range rows {
		if usages[Place{g.ID, a.Datastore}], err = tx.Usage(g.ID, a.Datastore); err != nil {
			return wire.VMGroup{}, err
		}
	}
	folders, err := tx.Folders(g.ID)
	if err != nil {
		return wire.VMGroup{}, err
	}
	v := assemble(g, members, rows, folders, usages, inventory)
	for i, vm := range v.VMs {
		if v.VMs[i].Attached, err = tx.HeldBy(vm.ID); err != nil {
			return wire.VMGroup{}, err
		}
	}
	views := []wire.VMGroup{v}
	err = examine(tx, []volspec.VMGroup{g}, views)
	return views[0], err
}

// examine adds state and health to the views of vmgroups.
func examine(tx Tx, groups []volspec.VMGroup, views []wire.VMGroup) error {
	ids := make([]volspec.VMGroupID, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
	}
	facts, err := tx.Facts(ids)
	for i, g := range groups {
		f := facts[g.ID]
		if !readiness(g, f).Ready {
			f.Notices++
		}
		views[i].State, views[i].Health = cmp.Or(string(g.State), wire.TenantEnabled), health(f.Alarms, f.Notices)
	}
	return err
}

// VMs lists a vmgroup's VMs, by name. _DEFAULT has no list.
func (s *Service) VMs(ctx context.Context, name string) ([]wire.VM, error) {
	v, err := s.Get(ctx, name)
	if err == nil && name == volspec.DefaultGroup {
		err = errkind.New(errkind.Invalid, "%s tenant contains all VMs which were not added to other tenants", volspec.DefaultGroup)
	}
	return v.VMs, err
}

// inventory is what the hypervisor knows of its VMs. Vmgroups can be listed
// while it is away: VMs appear under the names they were added with.
func (s *Service) inventory(ctx context.Context) map[volspec.VMID]hypervisor.VM {
	vms, err := s.o.Machines.VMs(ctx)
	if err != nil {
		log.G(ctx).WithError(err).Debug("vmgroups are listed without the hypervisor")
	}
	m := make(map[volspec.VMID]hypervisor.VM, len(vms))
	for _, vm := range vms {
		m[vm.ID] = vm
	}
	return m
}

func assemble(g volspec.VMGroup, members []volspec.Member, rows []volspec.Access, folders []volspec.FolderGrant, usages map[Place]volspec.Usage, inventory map[volspec.VMID]hypervisor.VM) wire.VMGroup {
	v := wire.VMGroup{
		ID: g.ID, Name: g.Name, Description: g.Description, DefaultDatastore: g.DefaultDatastore, Source: g.Source,
		VMs: []wire.VM{}, Access: []wire.Access{}, Folders: []volspec.Folder{},
	}
	for _, f := range folders {
		v.Folders = append(v.Folders, f.Folder)
	}
	for _, m := range members {
		vm := wire.VM{ID: m.VM, Name: m.Name, VMGroup: g.Name, Power: string(hypervisor.Unknown)}
		if now, ok := inventory[m.VM]; ok {
			vm.Name, vm.Datastore, vm.Power = now.Name, now.Datastore, string(now.Power)
		}
		v.VMs = append(v.VMs, vm)
	}
	slices.SortFunc(v.VMs, func(a, b wire.VM) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	for _, a := range rows {
		v.Access = append(v.Access, wire.Access{
			Datastore: a.Datastore, AllowCreate: a.AllowCreate, MaxSize: a.MaxSize, TotalSize: a.TotalSize,
			UsedBytes: int64(usages[Place{g.ID, a.Datastore}].Bytes),
		})
	}
	return v
}
