package tenancy

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// madeDefault is the setting that says that _DEFAULT has been made once.
const madeDefault = "default-vmgroup-made"

// EnsureDefault makes the vmgroup _DEFAULT once in the life of an
// installation, so that every VM is served until the admin says otherwise.
// Removed by the admin it does not come back. While it is not enabled nothing
// happens, and nothing is remembered.
//
// Its default datastore is that of the VM, stored as "" and printed as
// nothing; rows _VM_DS and _ALL_DS give full access.
func (s *Service) EnsureDefault(ctx context.Context, enabled bool) error {
	if !enabled {
		return nil
	}
	made := false
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		made = false
		if v, err := tx.Setting(madeDefault); err != nil || v != "" {
			return err
		}
		if err := tx.PutSetting(madeDefault, "yes"); err != nil {
			return err
		}
		switch _, err := tx.GroupByName(volspec.DefaultGroup); {
		case err == nil:
			return nil // declared, or restored from the disks
		case !errkind.Is(err, errkind.NotFound):
			return err
		}
		made = true
		g := volspec.VMGroup{ID: volspec.DefaultGroupID, Name: volspec.DefaultGroup, Description: "This is a default vmgroup"}
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		for _, ds := range []string{volspec.VMDatastore, volspec.AllDatastores} {
			if err := tx.PutAccess(volspec.Access{Group: g.ID, Datastore: ds, AllowCreate: true}); err != nil {
				return err
			}
		}
		return tx.AddAudit(line(ctx, volspec.Caller{Actor: "mooringd"}, g.Name, "vmgroup create", g.Name))
	})
	if err == nil && made {
		log.G(ctx).WithField(log.VMGroup, volspec.DefaultGroup).Info("vmgroup made for all VMs that no other vmgroup lists")
	}
	return err
}

// RestoreGroup makes sure that volumes found on a datastore have a vmgroup: it
// returns the group with this id, else the one of this name, else makes one
// with both. A group made so has no VMs and no access rows: whoever may use
// it again is for the admin to say. A group being removed is in-use.
func (s *Service) RestoreGroup(ctx context.Context, id volspec.VMGroupID, name string) (volspec.VMGroupID, error) {
	if id == volspec.DefaultGroupID || name == volspec.DefaultGroup {
		id, name = volspec.DefaultGroupID, volspec.DefaultGroup
	}
	if err := volspec.CheckVMGroupName(name); err != nil {
		return "", err
	}
	if id == "" {
		return "", errkind.New(errkind.Invalid, "vmgroup %s has no id", name)
	}
	found := id
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		var same *volspec.VMGroup
		for i, g := range groups {
			if g.ID == id {
				same = &groups[i]
				break
			}
			if g.Name == name {
				same = &groups[i]
			}
		}
		if same != nil {
			found = same.ID
			return removing(*same)
		}
		found = id
		if err := tx.PutGroup(volspec.VMGroup{ID: id, Name: name}); err != nil {
			return err
		}
		return tx.AddAudit(line(ctx, volspec.Caller{Actor: "mooringd"}, name, "vmgroup restore", name))
	})
	return found, err
}
