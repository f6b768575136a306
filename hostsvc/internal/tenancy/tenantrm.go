package tenancy

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// DeleteTenant takes a tenant out of use: it is disabled and out of sight of its
// users until its grace period ends, and then removed for good; meanwhile
// UpdateTenant brings it back. One that has volumes or repositories is refused
// without withData. With immediately there is no grace period. Repeated with
// other flags it changes those.
func (s *Service) DeleteTenant(ctx context.Context, c volspec.Caller, name string, withData, immediately bool) error {
	var g volspec.VMGroup
	object := name
	if withData {
		object += " with data"
	}
	err := s.verb(ctx, line(ctx, c, name, "vmgroup delete", object), nil, func(tx Tx) (err error) {
		if g, err = find(tx, name); err != nil {
			return err
		}
		if err := declared(g); err != nil {
			return err
		}
		d, err := tx.Details(g.ID)
		if err != nil {
			return err
		}
		if err := deletable(tx, g, withData || d.WithData); err != nil {
			return err
		}
		if g.State != volspec.GroupDeleted {
			g.State, d.Deleted = volspec.GroupDeleted, now()
		}
		d.WithData = d.WithData || withData
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		return tx.PutDetails(g.ID, d)
	})
	if err != nil {
		return err
	}
	crashpoint.Here("tenancy.delete.marked")
	if s.o.CancelJobs != nil {
		if err := s.o.CancelJobs(ctx, c, g); err != nil {
			return err
		}
	}
	if !immediately {
		return nil
	}
	return s.purge(ctx, c, g)
}

// deletable refuses to delete data that nobody mentioned.
func deletable(tx Tx, g volspec.VMGroup, withData bool) error {
	if withData {
		return nil
	}
	states, err := tx.VolumeStates(g.ID)
	if err != nil {
		return err
	}
	volumes := 0
	for _, n := range states {
		volumes += n
	}
	repos, err := tx.RepositoryNames(g.ID)
	if err != nil || volumes+len(repos) == 0 {
		return err
	}
	return errkind.New(errkind.InUse, "Vmgroup %s cannot be deleted: it has %d volumes and %d repositories; remove them first, or delete it with its data, which destroys the volumes and leaves what the repositories hold where it is",
		g.Name, volumes, len(repos))
}

// purge removes a deleted tenant for good. Interrupted at any point it is ended
// by the next look, see Run.
func (s *Service) purge(ctx context.Context, c volspec.Caller, g volspec.VMGroup) error {
	var d Details
	err := s.o.Store.Update(ctx, func(tx Tx) (err error) {
		now, err := tx.GroupByName(g.Name)
		if err != nil {
			return err
		}
		if d, err = tx.Details(g.ID); err != nil {
			return err
		}
		if now.ID != g.ID || now.State != volspec.GroupDeleted {
			return errkind.New(errkind.NotFound, "Vmgroup %s is not deleted any more", g.Name)
		}
		if err := unused(tx, now); err != nil {
			return err
		}
		now.Removing = true // from here on there is no way back
		return tx.PutGroup(now)
	})
	if err != nil {
		return err
	}
	crashpoint.Here("tenancy.purge.begun")
	if d.WithData && s.o.DetachRepositories != nil {
		if err := s.o.DetachRepositories(ctx, c, g); err != nil {
			return err
		}
	}
	crashpoint.Here("tenancy.purge.detached")
	return s.Remove(ctx, c, g.Name, true, d.WithData)
}

// unused refuses a vmgroup whose VMs hold volumes: containers run on them.
func unused(tx Tx, g volspec.VMGroup) error {
	members, err := tx.Members(g.ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := idle(tx, m, "Cannot remove vmgroup "+g.Name+" for good."); err != nil {
			return err
		}
	}
	return nil
}

// look is the pause between two looks at deleted tenants.
const look = time.Minute

// Run removes deleted tenants for good when their grace period is over, until
// ctx ends.
func (s *Service) Run(ctx context.Context) error {
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		s.PurgeDeleted(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// PurgeDeleted removes those deleted tenants for good whose grace period is
// over, or whose removal was interrupted. One that cannot be removed now is
// tried again with the next call.
func (s *Service) PurgeDeleted(ctx context.Context) {
	var due []volspec.VMGroup
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		due, err = tx.Deleted(now().Add(-s.o.Grace))
		return err
	})
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("deleted vmgroups cannot be looked at")
	}
	for _, g := range due {
		if err := s.purge(ctx, volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "mooringd"}, g); err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.VMGroup, g.Name).WithField(log.Err, err.Error()).Warn("a deleted vmgroup cannot be removed for good yet")
		}
	}
}
