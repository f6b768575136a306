package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// trashed finds one volume in a vmgroup's trash, or on its way out of it, by
// id or by the name it had. Several of one name: the admin must give the id.
func (s *Service) trashed(ctx context.Context, c volspec.Caller, group, name string) (Record, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return Record{}, err
	}
	var found []Record
	err = s.o.Store.View(ctx, func(tx Tx) error {
		g, err := callerGroup(tx, c, group)
		if err != nil {
			return err
		}
		all, err := tx.Volumes(Filter{Group: g.ID, States: []volspec.State{volspec.Trashed, volspec.Deleting}})
		for _, r := range all {
			if string(r.ID) == name || r.Name() == n || (n.Datastore == "" && r.Key.Name == n.Volume) {
				found = append(found, r)
			}
		}
		return err
	})
	switch {
	case err != nil:
		return Record{}, err
	case len(found) == 0:
		return Record{}, errkind.New(errkind.NotFound, "Volume %s not found in the trash of vmgroup %s: see `mooring volume trash ls`", n, group)
	case len(found) > 1:
		return Record{}, errkind.New(errkind.Invalid, "the trash of vmgroup %s holds %d volumes called %s: give the id of one, see `mooring volume trash ls`", group, len(found), n)
	}
	return found[0], nil
}

// Undelete takes a volume out of the trash, under its old name or a new one.
// The name must be free: errkind.Exists otherwise. Its quota was never given
// back, so none is asked for.
func (s *Service) Undelete(ctx context.Context, c volspec.Caller, group, name string, req wire.Undelete) (wire.Volume, error) {
	return do(ctx, s, "restoring volume "+name, func(ctx context.Context) (wire.Volume, error) {
		r, err := s.trashed(ctx, c, group, name)
		if err != nil {
			return wire.Volume{}, err
		}
		as := volspec.Name{Volume: r.Key.Name}
		if req.NewName != "" {
			if as, err = volspec.ParseNewName(req.NewName); err != nil {
				return wire.Volume{}, err
			}
			if as.Datastore != "" && as.Datastore != r.Key.Datastore {
				return wire.Volume{}, errkind.New(errkind.Invalid, "volume %s lies on datastore %s and cannot be restored to %s: name it without a datastore", r.Name(), r.Key.Datastore, as.Datastore)
			}
		}
		unlock, err := s.lock(ctx, lockKey{id: r.ID}, "undelete")
		if err != nil {
			return wire.Volume{}, err
		}
		defer unlock()
		r, err = s.update(ctx, r.ID, func(tx Tx, r *Record) error {
			if r.State != volspec.Trashed || r.Op.Kind != "" {
				return errkind.New(errkind.NotFound, "Volume %s is not in the trash any more", name)
			}
			r.Key.Name, r.State, r.MetaStale = as.Volume, volspec.Ready, true
			r.TrashedAt = time.Time{}
			return tx.AddAudit(s.entry(ctx, c, group, "volume undelete", r.Name().String()))
		})
		if err != nil {
			return wire.Volume{}, err
		}
		crashpoint.Here("volume.undelete.record")
		if err := s.refreshMeta(ctx, r); err != nil {
			log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
		}
		log.G(ctx).WithField(log.Volume, r.Name().String()).Info("volume taken out of the trash")
		return s.present(ctx, r)
	})
}
