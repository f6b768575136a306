package volume

import (
	"context"
	"maps"
	"strings"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Set changes a volume's options that can change: access, attach-as,
// mountopts (all from the next attach on), protect and backup-policy (at
// once).
func (s *Service) Set(ctx context.Context, c volspec.Caller, group, name string, req wire.SetVolume) (wire.Volume, error) {
	opts := map[string]string{}
	for option, v := range map[string]*string{"access": req.Access, "attach-as": req.AttachAs} {
		if v != nil {
			opts[option] = *v
		}
	}
	if req.MountOpts != nil && len(*req.MountOpts) > 0 {
		opts["mountopts"] = strings.Join(*req.MountOpts, ",")
	}
	if req.BackupPolicy != nil && *req.BackupPolicy != "" {
		opts["backup-policy"] = *req.BackupPolicy
	}
	if len(opts) == 0 && req.Protect == nil && req.MountOpts == nil && req.BackupPolicy == nil {
		return wire.Volume{}, errkind.New(errkind.Invalid, "nothing to change on volume %s: options that can be edited are access, attach-as, mountopts, protect and backup-policy", name)
	}
	if _, err := volspec.ParseOptions(opts); err != nil {
		return wire.Volume{}, err
	}
	return do(ctx, s, "changing volume "+name, func(ctx context.Context) (wire.Volume, error) {
		r, t, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoMount)
		if err != nil {
			return wire.Volume{}, err
		}
		defer unlock()
		if err := s.settable(ctx, r, opts); err != nil {
			return wire.Volume{}, err
		}
		r, err = s.update(ctx, r.ID, func(tx Tx, r *Record) error {
			if r.Op.Kind == OpRestore || r.Op.Kind == OpReplace {
				return s.busy(*r) // the metadata is that job's
			}
			all := r.Spec.Options()
			if req.MountOpts != nil {
				delete(all, "mountopts")
			}
			if req.BackupPolicy != nil {
				delete(all, "backup-policy")
			}
			maps.Copy(all, opts)
			merge(&r.Spec, all)
			if req.Protect != nil {
				r.Spec.Protect = *req.Protect
			}
			r.MetaStale = true
			return tx.AddAudit(s.entry(ctx, c, t.rights.Group.Name, "volume set", r.Name().String()))
		})
		if err != nil {
			return wire.Volume{}, err
		}
		crashpoint.Here("volume.set.record")
		if err := s.refreshMeta(ctx, r); err != nil {
			log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
		}
		return s.present(ctx, r)
	})
}

// settable checks what a change asks of backup.
func (s *Service) settable(ctx context.Context, r Record, opts map[string]string) error {
	policy := opts["backup-policy"]
	switch {
	case r.ViewOf != "" && opts["access"] == volspec.ReadWrite:
		return s.onlyShown(r, "written to")
	case r.ViewOf != "" && policy != "":
		return s.onlyShown(r, "backed up")
	case policy == "":
		return nil
	case s.o.Points == nil:
		return noBackup("backup-policy")
	}
	return s.o.Points.CheckPolicy(ctx, r.Key.Group, policy)
}

// merge takes over the editable options; the others keep their value.
func merge(s *volspec.Spec, all map[string]string) {
	s.Access, s.AttachAs, s.MountOpts, s.BackupPolicy = all["access"], all["attach-as"], nil, all["backup-policy"]
	if m := all["mountopts"]; m != "" {
		s.MountOpts = strings.Split(m, ",")
	}
}

// Resize grows a volume. The new size is reserved in the quota before the
// disk grows. An attached guest grows the filesystem where its kernel allows
// it online, otherwise at the next mount; Volume.FSNote says which. A size
// already reached is a success, a smaller one errkind.Invalid.
func (s *Service) Resize(ctx context.Context, c volspec.Caller, group, name string, req wire.Resize) (wire.Volume, error) {
	v, err := do(ctx, s, "resizing volume "+name, func(ctx context.Context) (wire.Volume, error) {
		r, t, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoResize)
		if err != nil {
			return wire.Volume{}, err
		}
		defer unlock()
		if r.ViewOf != "" {
			return wire.Volume{}, s.onlyShown(r, "resized")
		}
		if err := s.online(ctx, r.Key.Datastore, true); err != nil {
			return wire.Volume{}, err
		}
		if req.Size, err = s.rounded(ctx, r.Key.Datastore, req.Size); err != nil {
			return wire.Volume{}, err
		}
		if req.Size < r.Size || r.State != volspec.Ready {
			return wire.Volume{}, errkind.New(errkind.Invalid, "volume %s is %s and cannot become %s: volumes only grow", r.Name(), r.Size, req.Size)
		}
		if req.Size == r.Size && r.Op.Kind == "" {
			return s.present(ctx, r)
		}
		r, err = s.begin(ctx, r.ID, Op{Kind: OpGrow, Size: req.Size}, func(tx Tx, r *Record) error {
			// begin has stored nothing yet: the usage is without the growth.
			if err := s.check(tx, c, t, volspec.DoResize, req.Size-r.Size, req.Size); err != nil {
				return err
			}
			return tx.AddAudit(s.entry(ctx, c, t.rights.Group.Name, "volume resize", r.Name().String()+" to "+req.Size.String()))
		})
		if err != nil {
			return wire.Volume{}, err
		}
		crashpoint.Here("volume.grow.intent")
		if err := s.growDisk(ctx, r); err != nil {
			return wire.Volume{}, err
		}
		log.G(ctx).WithField(log.Volume, r.Name().String()).Info("volume resized")
		r, err = s.reread(ctx, r.ID)
		if err != nil {
			return wire.Volume{}, err
		}
		return s.present(ctx, r)
	})
	if k := errkind.Of(err); k == errkind.Denied || k == errkind.Quota {
		s.audit(ctx, c, group, "volume resize", name, err)
	}
	return v, err
}

// Notes on a filesystem that is smaller than its disk.
const (
	noteWaiting = "the guest has not grown the filesystem yet"
	noteAtMount = "the filesystem grows at the next mount"
)

// growDisk is deed and record of a resize. Refused by the storage, the volume
// stays as it was.
func (s *Service) growDisk(ctx context.Context, r Record) error {
	size := r.Op.Size
	err := s.o.Hypervisor.Grow(ctx, r.ref(), size)
	if errkind.Is(err, errkind.InUse) {
		if err = s.freeToGrow(ctx, r, err); err == nil {
			err = s.o.Hypervisor.Grow(ctx, r.ref(), size)
		}
	}
	if k := errkind.Of(err); k == errkind.Quota || k == errkind.InUse {
		_, e := s.end(ctx, r.ID, nil)
		return joined(err, e)
	}
	if err != nil {
		return err
	}
	crashpoint.Here("volume.grow.disk")
	r, err = s.end(ctx, r.ID, func(r *Record) {
		r.Size, r.Spec.Size, r.MetaStale = size, size, true
		switch {
		case r.Format != volspec.Formatted:
		case r.Holder.VM != "":
			r.FSNote = noteWaiting
		default:
			r.FSNote = noteAtMount
		}
	})
	if err != nil {
		return err
	}
	return s.refreshMeta(ctx, r)
}

// freeToGrow removes the snapshots that were taken for backup, where snapshots
// keep a disk from growing: the next backup is a full one then. A user's stay,
// and are named.
func (s *Service) freeToGrow(ctx context.Context, r Record, refused error) error {
	sn, err := s.snapshotter()
	if err != nil {
		return refused
	}
	there, err := sn.Snapshots(ctx, r.ref())
	if err != nil || len(there) == 0 {
		return joined(refused, err)
	}
	all, err := s.snapshotsOf(ctx, r)
	if err != nil {
		return err
	}
	if users := usersOnly(all); len(users) > 0 {
		names := make([]string, len(users))
		for i, u := range users {
			names[i] = u.Name
		}
		return errkind.New(errkind.InUse, "volume %s cannot grow while it has snapshots on datastore %s: remove %s and repeat", r.Name(), r.Key.Datastore, strings.Join(names, ", "))
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		for _, id := range there {
			if err := tx.DeleteSnapshot(id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Here("volume.grow.unrecorded")
	for _, id := range there {
		if err := sn.DeleteSnapshot(ctx, r.ref(), id); err != nil {
			return err
		}
	}
	crashpoint.Here("volume.grow.freed")
	return nil
}
