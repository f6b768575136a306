package tenancy

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Create makes a vmgroup with its VMs. Without a default datastore it has no
// access rows and its VMs' own datastores are their default. _DEFAULT gets its
// fixed id, so volumes it had belong to it again. A name in use is exists.
func (s *Service) Create(ctx context.Context, c volspec.Caller, req wire.CreateVMGroup) (v wire.VMGroup, err error) {
	g := volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: req.Name, Description: req.Description}
	if g.Name == volspec.DefaultGroup {
		g.ID = volspec.DefaultGroupID
	}
	var vms []volspec.Member
	prepare := func() (err error) {
		vms, err = s.newGroup(ctx, req, &g)
		return err
	}
	inventory := s.inventory(ctx)
	err = s.verb(ctx, line(ctx, c, g.Name, "vmgroup create", g.Name), prepare, func(tx Tx) error {
		if err := makeGroup(tx, g, vms); err != nil {
			return err
		}
		v, err = describe(tx, g.Name, inventory)
		return err
	})
	return v, err
}

// newGroup checks a request to create and completes g from it.
func (s *Service) newGroup(ctx context.Context, req wire.CreateVMGroup, g *volspec.VMGroup) (vms []volspec.Member, err error) {
	if err := volspec.CheckVMGroupName(g.Name); err != nil {
		return nil, err
	}
	if err := checkDescription(g.Description); err != nil {
		return nil, err
	}
	if g.DefaultDatastore, err = s.checkDefault(ctx, req.DefaultDatastore); err != nil {
		return nil, err
	}
	if len(req.VMs) == 0 {
		return nil, nil
	}
	if g.Name == volspec.DefaultGroup {
		return nil, errkind.New(errkind.Invalid, "Invalid Argument(%s): every VM that no other vmgroup lists belongs to %s", quoted(req.VMs), g.Name)
	}
	return s.resolve(ctx, req.VMs, nil)
}

func free(tx Tx, name string) error {
	g, err := tx.GroupByName(name)
	switch {
	case err == nil && g.State == volspec.GroupDeleted:
		return errkind.New(errkind.Exists, "Vmgroup %s already exists: it is deleted, and its name is free when it is gone for good", name)
	case err == nil:
		return errkind.New(errkind.Exists, "Vmgroup %s already exists", name)
	case errkind.Is(err, errkind.NotFound):
		return nil
	}
	return err
}

// Update changes what is not nil: default datastore, name, description. A new
// default datastore gets a row as in Create; the old one keeps its row.
func (s *Service) Update(ctx context.Context, c volspec.Caller, name string, req wire.UpdateVMGroup) (v wire.VMGroup, err error) {
	newName, object := name, name
	if req.NewName != nil && *req.NewName != name {
		newName, object = *req.NewName, name+" -> "+*req.NewName
	}
	var ds string
	prepare := func() (err error) {
		ds, err = s.checkUpdate(ctx, name, newName, req)
		return err
	}
	inventory := s.inventory(ctx)
	err = s.verb(ctx, line(ctx, c, name, "vmgroup update", object), prepare, func(tx Tx) error {
		g, err := changeable(tx, name)
		if err != nil {
			return err
		}
		if req.Description != nil {
			g.Description = *req.Description
		}
		if newName != name {
			if err := free(tx, newName); err != nil {
				return err
			}
			g.Name = newName
			if err := tx.StaleMeta(g.ID); err != nil {
				return err
			}
		}
		if req.DefaultDatastore != nil {
			g.DefaultDatastore = ds
			if err := defaultRow(tx, g); err != nil {
				return err
			}
		}
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		v, err = describe(tx, newName, inventory)
		return err
	})
	return v, err
}

func (s *Service) checkUpdate(ctx context.Context, name, newName string, req wire.UpdateVMGroup) (ds string, err error) {
	if newName != name {
		if name == volspec.DefaultGroup {
			return "", errkind.New(errkind.Invalid, "Vmgroup name %s is invalid, only rename of vmgroups other than %s is allowed", name, name)
		}
		if err := volspec.CheckVMGroupName(newName); err != nil {
			return "", err
		}
		if newName == volspec.DefaultGroup {
			return "", errkind.New(errkind.Invalid, "Vmgroup name %s is invalid, it is reserved for the VMs that no vmgroup lists", newName)
		}
	}
	if req.Description != nil {
		if err := checkDescription(*req.Description); err != nil {
			return "", err
		}
	}
	if req.DefaultDatastore == nil {
		return "", nil
	}
	return s.checkDefault(ctx, *req.DefaultDatastore)
}

func quoted(names []string) string { return "['" + strings.Join(names, "', '") + "']" }
