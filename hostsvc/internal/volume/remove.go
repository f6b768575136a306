package volume

import (
	"context"
	"errors"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Remove takes a volume out of its vmgroup's namespace: into the trash, where
// it is kept for Options.TrashKeep and counts in the quota, or for good with
// purge or when nothing is kept. A guest may repeat it: absent is a success
// for a guest. A volume in use is errkind.InUse, a protected one
// errkind.Denied.
//
// The admin may purge what is already in the trash by its id.
func (s *Service) Remove(ctx context.Context, c volspec.Caller, group, name string, purge bool) error {
	_, err := do(ctx, s, "removing volume "+name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.remove(ctx, c, group, name, purge)
	})
	switch errkind.Of(err) {
	case errkind.Denied:
		s.audit(ctx, c, group, "volume rm", name, err)
	case errkind.NotFound:
		if !c.Names() {
			return nil
		}
	}
	return err
}

func (s *Service) remove(ctx context.Context, c volspec.Caller, group, name string, purge bool) error {
	r, _, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoRemove)
	if errkind.Is(err, errkind.NotFound) && c.Names() && purge {
		return s.purgeTrashed(ctx, c, group, name, err)
	}
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.removableFrom(ctx, r); err != nil {
		return err
	}
	if err := s.settle(ctx, r.ID); err != nil {
		return err
	}
	if r, err = s.reread(ctx, r.ID); err != nil || r.State != volspec.Ready {
		return err
	}
	if r, err = s.removable(ctx, r); err != nil {
		return err
	}
	return s.discard(ctx, c, r, purge || s.o.TrashKeep <= 0 || r.ViewOf != "")
}

// removableFrom checks that r's datastore takes a removal. A view is on none,
// and is never kept: the recovery point stays where it is.
func (s *Service) removableFrom(ctx context.Context, r Record) error {
	if r.ViewOf != "" {
		return nil
	}
	return s.online(ctx, r.Key.Datastore, true)
}

// removable checks that nobody uses or protects the volume; a holder that is
// gone loses it first.
func (s *Service) removable(ctx context.Context, r Record) (Record, error) {
	if r.Spec.Protect {
		return r, errkind.New(errkind.Denied, "volume %s is protected against removal: ask the administrator to run `mooring volume unprotect` on it", r.Name())
	}
	if r.Holder.VM != "" {
		gone, err := s.holderGone(ctx, r.Holder)
		if err == nil && gone {
			r, err = s.release(ctx, r)
		}
		if err != nil {
			return r, err
		}
	}
	if r.Holder.VM != "" {
		return r, errkind.New(errkind.InUse, "Failed to remove volume %s, in use by VM = %s.", r.Key.Name, r.Holder.VMName)
	}
	return r, nil
}

// discard moves a free volume to the trash, or deletes it for good.
func (s *Service) discard(ctx context.Context, c volspec.Caller, r Record, forGood bool) error {
	action, op := "volume rm", Op{}
	if forGood {
		action, op = "volume purge", Op{Kind: OpDelete}
	}
	change := func(tx Tx, r *Record) error {
		if r.Holder.VM != "" {
			return errkind.New(errkind.InUse, "Failed to remove volume %s, in use by VM = %s.", r.Key.Name, r.Holder.VMName)
		}
		r.State = volspec.Deleting
		if !forGood {
			r.State, r.TrashedAt, r.MetaStale = volspec.Trashed, now(), true
		}
		g, err := tx.Rights(r.Key.Group)
		if err != nil {
			return err
		}
		return tx.AddAudit(s.entry(ctx, c, g.Group.Name, action, r.Name().String()))
	}
	var err error
	if !forGood {
		if r, err = s.update(ctx, r.ID, change); err != nil {
			return err
		}
		crashpoint.Here("volume.trash.record")
		if err := s.refreshMeta(ctx, r); err != nil {
			log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
		}
		log.G(ctx).WithField(log.Volume, r.Name().String()).Info("volume moved to the trash")
		return nil
	}
	if r, err = s.begin(ctx, r.ID, op, change); err != nil {
		return err
	}
	crashpoint.Here("volume.delete.intent")
	if err := s.dropDisk(ctx, r); err != nil {
		return err
	}
	crashpoint.Here("volume.delete.done")
	log.G(ctx).WithField(log.Volume, r.Name().String()).Info("volume deleted")
	return nil
}

// purgeTrashed deletes a volume in the trash, named by id or by its old name
// if that is clear.
func (s *Service) purgeTrashed(ctx context.Context, c volspec.Caller, group, name string, absent error) error {
	r, err := s.trashed(ctx, c, group, name)
	if errkind.Is(err, errkind.NotFound) {
		return absent
	}
	if err != nil {
		return err
	}
	return s.purge(ctx, c, r.ID)
}

// purge deletes a trashed volume for good.
func (s *Service) purge(ctx context.Context, c volspec.Caller, id volspec.VolumeID) error {
	unlock, err := s.lock(ctx, lockKey{id: id}, "purge")
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.settle(ctx, id); err != nil { // an interrupted purge
		return err
	}
	r, err := s.reread(ctx, id)
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	if err != nil || r.State != volspec.Trashed {
		return err
	}
	if err := s.online(ctx, r.Key.Datastore, true); err != nil {
		return err
	}
	return s.discard(ctx, c, r, true)
}

// RemoveAll deletes all volumes of a vmgroup for good, those in the trash
// too. If any is in use or protected nothing is touched. It can be repeated
// after an interruption.
func (s *Service) RemoveAll(ctx context.Context, c volspec.Caller, group volspec.VMGroupID) error {
	_, err := do(ctx, s, "removing all volumes of the vmgroup", func(ctx context.Context) (struct{}, error) {
		var all []Record
		err := s.o.Store.View(ctx, func(tx Tx) (err error) {
			all, err = tx.Volumes(Filter{Group: group})
			return err
		})
		if err != nil {
			return struct{}{}, err
		}
		if err := s.allRemovable(ctx, all); err != nil {
			return struct{}{}, err
		}
		for _, r := range all {
			if err := s.removeOne(ctx, c, r.ID); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}

func (s *Service) allRemovable(ctx context.Context, all []Record) error {
	var problems []error
	for _, r := range all {
		if r.State != volspec.Ready {
			continue
		}
		if err := s.removableFrom(ctx, r); err != nil {
			problems = append(problems, err)
			continue
		}
		if r.Holder.VM == "" && !r.Spec.Protect {
			continue
		}
		unlock, err := s.lock(ctx, lockKey{id: r.ID}, "removal")
		if err == nil {
			_, err = s.removable(ctx, r)
			unlock()
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

func (s *Service) removeOne(ctx context.Context, c volspec.Caller, id volspec.VolumeID) error {
	unlock, err := s.lock(ctx, lockKey{id: id}, "removal")
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.settle(ctx, id); err != nil {
		return err
	}
	r, err := s.reread(ctx, id)
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if r, err = s.removable(ctx, r); err != nil {
		return err
	}
	return s.discard(ctx, c, r, true)
}
