package volume

import (
	"context"
	"errors"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Recover finishes or undoes every intent that a dead process left. Call it
// before the first request. A volume that cannot be settled now (its
// datastore is away) keeps its intent, is logged, and is tried again by Run
// and by the next operation on it.
func (s *Service) Recover(ctx context.Context) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	var open []Record
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		open, err = tx.Volumes(Filter{Busy: true})
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range open {
		ctx := log.With(ctx, log.Volume, r.Name().String(), log.Op, string(r.Op.Kind))
		// Whoever has the lock is at it, and may be for long: no round waits for it.
		unlock, ok := s.locks.TryLock(lockKey{id: r.ID})
		if !ok {
			continue
		}
		err := s.settle(ctx, r.ID)
		unlock()
		if err != nil && !errkind.Is(err, errkind.InUse) {
			log.G(ctx).WithError(err).WithField(log.Kind, errkind.Of(err)).Warn("interrupted operation could not be settled yet")
		}
	}
	return nil
}

func (s *Service) settleLocked(ctx context.Context, id volspec.VolumeID) error {
	unlock, err := s.lock(ctx, lockKey{id: id}, "recovery")
	if err != nil {
		return err
	}
	defer unlock()
	return s.settle(ctx, id)
}

// settle finishes or undoes the intent of a volume whose lock is held, if
// nobody alive is at it. Nothing to settle: nil. The intent of another living
// process, or of work that goes on apart: errkind.InUse.
func (s *Service) settle(ctx context.Context, id volspec.VolumeID) error {
	var r Record
	alive := false
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if r, err = tx.Volume(id); err != nil {
			return err
		}
		switch {
		case r.Op.Kind == "":
		case r.Op.Instance == s.o.Instance:
			alive = s.isAway(id)
		default:
			alive, err = tx.Alive(r.Op.Instance)
		}
		return err
	})
	if err == nil && !alive && r.Op.VM != "" {
		alive, err = s.elsewhere(ctx, r.Holder) // only its own host service can look at that VM
	}
	switch {
	case errkind.Is(err, errkind.NotFound):
		return nil
	case err != nil:
		return err
	case r.Op.Kind == "":
		return nil
	case alive:
		return s.busy(r)
	}
	if err := s.finish(ctx, r); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "volume %s: its interrupted %s cannot be settled", r.Name(), r.Op.Kind)
	}
	log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.Op, string(r.Op.Kind)).Info("interrupted operation settled")
	return nil
}

// finish is what each intent means when its process is gone. Every case can
// be interrupted and repeated.
func (s *Service) finish(ctx context.Context, r Record) error {
	switch r.Op.Kind {
	case OpCreate, OpClone, OpRestore, OpDelete:
		return s.dropDisk(ctx, r)
	case OpGrow:
		return s.growDisk(ctx, r)
	case OpReset:
		return s.blankDisk(ctx, r)
	case OpAttach, OpDetach:
		// The guest of an unfinished attach was never answered, but may have been
		// given the disk by an earlier answer: the hypervisor decides.
		return s.unplug(ctx, r, r.Op.VM)
	case OpFence:
		return s.fence(ctx, r)
	case OpSnapshot, OpUnsnapshot:
		return s.dropSnapshot(ctx, r, r.Op.Snapshot)
	case OpReplace:
		_, err := s.finishReplace(ctx, r)
		return err
	}
	return errkind.New(errkind.Corrupt, "volume %s has an intent %q that this version of mooringd does not know: upgrade mooringd", r.Name(), r.Op.Kind)
}

// unplug detaches a disk and records who has it then: nobody, or the VM that
// still uses it.
func (s *Service) unplug(ctx context.Context, r Record, vm volspec.VMID) error {
	err := s.o.Hypervisor.Detach(ctx, vm, r.ref())
	if errkind.Is(err, errkind.NotFound) { // the VM is gone, its disks with it unless listed
		devices, e := s.o.Hypervisor.Attached(ctx)
		if e == nil && !isAttached(devices, r.ID) {
			err = nil
		}
	}
	switch {
	case err == nil:
		return s.letGo(ctx, r)
	case errkind.Is(err, errkind.InUse):
		return s.keepHolder(ctx, r, vm)
	}
	return err
}

// letGo records that nobody has the disk.
func (s *Service) letGo(ctx context.Context, r Record) error {
	used, health := s.condition(ctx, r)
	_, err := s.end(ctx, r.ID, func(r *Record) { r.Holder, r.Used, r.Health = Holder{Epoch: r.Holder.Epoch}, used, health })
	if err == nil {
		s.notifyReleased()
	}
	return err
}

// keepHolder records that vm has the disk in use, because the hypervisor says
// so.
func (s *Service) keepHolder(ctx context.Context, r Record, vm volspec.VMID) error {
	m, err := s.o.Hypervisor.VM(ctx, vm)
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return err
	}
	mode, err := s.attachedMode(ctx, r, vm)
	if err != nil {
		return err
	}
	_, err = s.end(ctx, r.ID, func(r *Record) {
		if r.Holder.VM == vm {
			return
		}
		r.Holder = Holder{VM: vm, VMName: m.Name, BootID: m.BootID, Installation: s.o.Installation, Epoch: r.Holder.Epoch + 1, ReadOnly: mode, Since: now()}
	})
	return err
}

func (s *Service) attachedMode(ctx context.Context, r Record, vm volspec.VMID) (readOnly bool, err error) {
	devices, err := s.o.Hypervisor.Attached(ctx)
	for _, d := range devices {
		if d.Volume == r.ID && d.VM == vm {
			return d.ReadOnly, nil
		}
	}
	return r.Spec.Access == volspec.ReadOnly, err
}

// blankDisk replaces a disk whose first mkfs was interrupted. It never held
// data: nothing is mounted before its mkfs is recorded as done.
func (s *Service) blankDisk(ctx context.Context, r Record) error {
	if err := s.o.Hypervisor.Delete(ctx, r.ref()); err != nil {
		return err
	}
	crashpoint.Here("volume.reset.deleted")
	r.Format = volspec.Blank
	if err := s.putMeta(ctx, r); err != nil {
		return err
	}
	if err := s.newDisk(ctx, r); err != nil {
		return err
	}
	crashpoint.Here("volume.reset.disk")
	_, err := s.end(ctx, r.ID, func(r *Record) { r.Format = volspec.Blank })
	return err
}

func (s *Service) fence(ctx context.Context, r Record) error {
	if err := s.o.Hypervisor.Fence(ctx, r.Op.VM, r.ref()); err != nil {
		// Not fenced: the holder stays, and the admin is told why.
		_, e := s.end(ctx, r.ID, nil)
		return errors.Join(err, e)
	}
	return s.letGo(ctx, r)
}

// elsewhere reports whether a holder is a VM of another host service on the
// same catalog, which this hypervisor does not know and says nothing about.
func (s *Service) elsewhere(ctx context.Context, h Holder) (bool, error) {
	if h.VM == "" || h.Installation == "" || h.Installation == s.o.Installation {
		return false, nil
	}
	_, err := s.o.Hypervisor.VM(ctx, h.VM)
	if errkind.Is(err, errkind.NotFound) {
		return true, nil
	}
	return false, err
}

// holderGone reports whether a record's holder cannot be using the disk any
// more: its VM is off, gone, or has booted again since the attach.
func (s *Service) holderGone(ctx context.Context, h Holder) (bool, error) {
	m, err := s.o.Hypervisor.VM(ctx, h.VM)
	switch {
	case errkind.Is(err, errkind.NotFound):
		return h.Installation == "" || h.Installation == s.o.Installation, nil
	case err != nil:
		return false, err
	case m.Power == hypervisor.Off:
		return true, nil
	case m.Power == hypervisor.On && m.BootID != "" && h.BootID != "" && m.BootID != h.BootID:
		return true, nil
	}
	return false, nil
}

// release takes the disk from a holder that is gone; the volume's lock is
// held.
func (s *Service) release(ctx context.Context, r Record) (Record, error) {
	vm := r.Holder.VM
	r, err := s.begin(ctx, r.ID, Op{Kind: OpDetach, VM: vm}, nil)
	if err != nil {
		return r, err
	}
	if err := s.unplug(ctx, r, vm); err != nil {
		return r, err
	}
	r, err = s.reread(ctx, r.ID)
	if err == nil && r.Holder.VM == "" {
		log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VM, string(vm)).Info("volume released: its VM is off, gone or has rebooted")
	}
	return r, err
}

func (s *Service) reread(ctx context.Context, id volspec.VolumeID) (r Record, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err = tx.Volume(id)
		return err
	})
	return r, err
}
