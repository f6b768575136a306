package volume

import (
	"context"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Detach takes back a disk from the calling VM. It is never denied: not for a
// VM without vmgroup, not without an access row. A volume that the VM does
// not have, or has under a newer epoch, is a success. While the guest uses
// the disk it is errkind.InUse and nothing changes.
func (s *Service) Detach(ctx context.Context, c volspec.Caller, name string, req wire.Detach) error {
	_, err := do(ctx, s, "detaching volume "+name, func(ctx context.Context) (struct{}, error) {
		r, found, err := s.heldAs(ctx, c, name)
		if err != nil || !found {
			return struct{}{}, err
		}
		unlock, err := s.lock(ctx, lockKey{id: r.ID}, "detach")
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		return struct{}{}, s.detach(ctx, c, r.ID, c.VM, req.Epoch)
	})
	return err
}

// heldAs finds a volume that the calling VM has: by id, by full name, or by its
// short name where that is clear. The vmgroup does not matter: the VM may
// have left it.
func (s *Service) heldAs(ctx context.Context, c volspec.Caller, name string) (Record, bool, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return Record{}, false, err
	}
	var all []Record
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err = tx.Volumes(Filter{Holder: c.VM})
		return err
	})
	if err != nil {
		return Record{}, false, err
	}
	var short []Record
	for _, r := range all {
		if string(r.ID) == name || r.Name() == n {
			return r, true, nil
		}
		if n.Datastore == "" && r.Key.Name == n.Volume {
			short = append(short, r)
		}
	}
	if len(short) > 1 { // on several datastores: the default one is meant
		if r, _, err := s.find(ctx, c, "", name, volspec.DoMount); err == nil && r.Holder.VM == c.VM {
			return r, true, nil
		}
		return Record{}, false, errkind.New(errkind.Invalid, "volume %s is attached from several datastores: write %s@datastore", name, name)
	}
	if len(short) == 1 {
		return short[0], true, nil
	}
	return Record{}, false, nil
}

// detach is intent, deed and record; the lock is held.
func (s *Service) detach(ctx context.Context, c volspec.Caller, id volspec.VolumeID, vm volspec.VMID, epoch int64) error {
	if err := s.settle(ctx, id); err != nil {
		return err
	}
	r, err := s.reread(ctx, id)
	if err != nil || r.Holder.VM != vm || (epoch != 0 && r.Holder.Epoch != epoch) {
		if errkind.Is(err, errkind.NotFound) {
			err = nil
		}
		return err
	}
	if other, err := s.elsewhere(ctx, r.Holder); err != nil || other {
		return joined(err, errkind.New(errkind.Unavailable, "volume %s is attached to VM %s of another mooringd: run the command on its machine", r.Name(), r.Holder.VMName))
	}
	r, err = s.begin(ctx, id, Op{Kind: OpDetach, VM: vm}, func(tx Tx, r *Record) error {
		g, err := tx.Rights(r.Key.Group)
		if err != nil {
			return err
		}
		return tx.AddAudit(s.entry(ctx, c, g.Group.Name, "volume detach", r.Name().String()))
	})
	if err != nil {
		return err
	}
	crashpoint.Here("volume.detach.intent")
	if err := s.o.Hypervisor.Detach(ctx, vm, r.ref()); err != nil {
		_, e := s.end(ctx, id, nil) // still the holder's
		return joined(err, e)
	}
	crashpoint.Here("volume.detach.disk")
	if err := s.letGo(ctx, r); err != nil {
		return err
	}
	crashpoint.Here("volume.detach.done")
	log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VM, r.Holder.VMName).Info("volume detached")
	return nil
}

// ForceDetach is the admin's detach. Without force it succeeds when the guest
// has let go. With force the holder is fenced first: after it nothing that VM
// does reaches the disk. A volume that is not attached is a success.
func (s *Service) ForceDetach(ctx context.Context, c volspec.Caller, group, name string, req wire.DetachVolume) error {
	_, err := do(ctx, s, "detaching volume "+name, func(ctx context.Context) (struct{}, error) {
		r, _, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoMount)
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		if r.Holder.VM == "" && r.Op.Kind == "" {
			return struct{}{}, nil
		}
		err = s.detach(ctx, c, r.ID, r.Holder.VM, 0)
		if !errkind.Is(err, errkind.InUse) || !req.Force {
			return struct{}{}, err
		}
		return struct{}{}, s.fenceHolder(ctx, c, r)
	})
	if err != nil {
		s.audit(ctx, c, group, "volume detach", name, err)
	}
	return err
}

func (s *Service) fenceHolder(ctx context.Context, c volspec.Caller, r Record) error {
	vm := r.Holder.VM
	r, err := s.begin(ctx, r.ID, Op{Kind: OpFence, VM: vm}, func(tx Tx, r *Record) error {
		g, err := tx.Rights(r.Key.Group)
		if err != nil {
			return err
		}
		return tx.AddAudit(s.entry(ctx, c, g.Group.Name, "volume detach --force", r.Name().String()+" from VM "+r.Holder.VMName))
	})
	if err != nil {
		return err
	}
	crashpoint.Here("volume.fence.intent")
	if err := s.fence(ctx, r); err != nil {
		return err
	}
	log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VM, r.Holder.VMName).Warn("volume taken from its VM by force")
	return nil
}
