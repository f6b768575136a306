package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Run keeps this instance's lease, compares the catalog with the hypervisor
// every Options.Reconcile and after every event, and empties the trash, until
// ctx ends. It never deletes data to make the two agree, except trash whose
// time has come.
func (s *Service) Run(ctx context.Context) error {
	watching := make(chan struct{})
	go func() { defer close(watching); s.watch(ctx) }() // ends with ctx
	defer func() { <-watching }()
	renewing := make(chan struct{})
	go func() { defer close(renewing); s.keepLease(ctx) }() // ends with ctx
	defer func() { <-renewing }()

	round := time.NewTicker(s.o.Reconcile)
	defer round.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-round.C:
		}
		s.Round(ctx)
	}
}

// keepLease renews the lease beside the rounds: one that takes long must not
// make this instance look dead.
func (s *Service) keepLease(ctx context.Context) {
	lease := time.NewTicker(leaseRenew)
	defer lease.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-lease.C:
			if err := s.renew(ctx); err != nil && ctx.Err() == nil {
				log.G(ctx).WithError(err).Error("lease was not renewed: other instances will take this one for dead")
			}
		}
	}
}

// watch turns the hypervisor's events into extra rounds.
func (s *Service) watch(ctx context.Context) {
	w, ok := hypervisor.As[hypervisor.Watcher](s.o.Hypervisor)
	if !ok {
		return
	}
	events := make(chan hypervisor.Event, 16)
	ended := make(chan error, 1)
	go func() { ended <- w.Watch(ctx, events) }() // ends with ctx
	for {
		select {
		case e := <-events:
			log.G(ctx).WithField(log.VM, string(e.VM)).WithField("event", e.Kind).Info("hypervisor event")
			s.Kick()
		case err := <-ended:
			if err != nil && ctx.Err() == nil {
				log.G(ctx).WithError(err).Warn("hypervisor events ended: states are compared by time only")
			}
			return
		}
	}
}

// Kick asks Run for a round soon. It never blocks.
func (s *Service) Kick() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *Service) renew(ctx context.Context) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		return tx.Renew(s.o.Instance, s.o.Installation, leaseTTL)
	})
}

// Round compares once. Problems with one volume are logged and do not stop
// the others.
func (s *Service) Round(ctx context.Context) {
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"datastores", s.IdentifyDatastores},
		{"intents", s.Recover},
		{"attachments", s.reconcileAttachments},
		{"metadata", s.rewriteMeta},
		{"trash", s.emptyTrash},
		{"usage", s.measure},
	} {
		if ctx.Err() != nil {
			return
		}
		if err := step.do(ctx); err != nil {
			log.G(ctx).WithError(err).WithField(log.Stage, step.name).Warn("reconciliation step failed, it is tried again")
		}
	}
}

// IdentifyDatastores records the identity of datastores that are seen for the
// first time and marks them, so that an empty mount point is never taken for
// one of them.
func (s *Service) IdentifyDatastores(ctx context.Context) error {
	list, err := s.o.Hypervisor.Datastores(ctx)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.Name == volspec.PointsDatastore {
			continue // made by this process, never another disk
		}
		var known string
		err := s.o.Store.View(ctx, func(tx Tx) (err error) {
			known, err = tx.Datastore(d.Name)
			return err
		})
		if err != nil {
			return err
		}
		if known != "" {
			continue
		}
		id := d.ID
		if a, ok := hypervisor.As[hypervisor.Adopter](s.o.Hypervisor); ok {
			if id, err = a.Adopt(ctx, d.Name); err != nil {
				log.G(ctx).WithError(err).WithField(log.Datastore, d.Name).Warn("datastore cannot be used yet")
				continue
			}
		}
		if id == "" {
			continue
		}
		err = s.o.Store.Update(ctx, func(tx Tx) error { return tx.PutDatastore(d.Name, id) })
		if err != nil {
			return err
		}
		log.G(ctx).WithField(log.Datastore, d.Name).Info("new datastore is in use from now on")
	}
	return nil
}

// reconcileAttachments makes the catalog say what the hypervisor says, in
// both directions, and takes disks from VMs that are off or gone.
func (s *Service) reconcileAttachments(ctx context.Context) error {
	devices, err := s.o.Hypervisor.Attached(ctx)
	if err != nil {
		return err
	}
	held, err := s.held(ctx)
	if err != nil {
		return err
	}
	suspects := map[volspec.VolumeID]bool{}
	for _, d := range devices {
		suspects[d.Volume] = held[d.Volume].Holder.VM != d.VM
	}
	for id, r := range held {
		other, err := s.elsewhere(ctx, r.Holder)
		if err != nil {
			return err
		}
		if other {
			continue
		}
		if isAttached(devices, id) && !suspects[id] {
			gone, err := s.holderGone(ctx, r.Holder)
			suspects[id] = err == nil && gone
		} else {
			suspects[id] = true
		}
	}
	for id, suspect := range suspects {
		if !suspect {
			continue
		}
		// A disk that the catalog does not know is left alone: see Scan.
		if err := s.reconcileOne(ctx, id); err != nil && !errkind.Is(err, errkind.NotFound) {
			log.G(ctx).WithError(err).WithField("id", string(id)).Warn("attachment could not be reconciled yet")
		}
	}
	return nil
}

// held are all volumes with a holder.
func (s *Service) held(ctx context.Context) (map[volspec.VolumeID]Record, error) {
	out := map[volspec.VolumeID]Record{}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Volumes(Filter{Held: true})
		for _, r := range all {
			out[r.ID] = r
		}
		return err
	})
	return out, err
}

// reconcileOne looks at one volume again under its lock and acts.
func (s *Service) reconcileOne(ctx context.Context, id volspec.VolumeID) error {
	unlock, err := s.lock(ctx, lockKey{id: id}, "reconciliation")
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.settle(ctx, id); err != nil {
		return err
	}
	r, err := s.reread(ctx, id)
	if err != nil {
		return err
	}
	devices, err := s.o.Hypervisor.Attached(ctx)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.Volume == id && d.VM != r.Holder.VM {
			// Plugged in by nobody we know: give it back if it is unused.
			r, err = s.begin(ctx, id, Op{Kind: OpDetach, VM: d.VM}, nil)
			if err != nil {
				return err
			}
			log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VM, string(d.VM)).Warn("disk is attached to a VM that does not hold it")
			return s.unplug(ctx, r, d.VM)
		}
	}
	if r.Holder.VM == "" {
		return nil
	}
	if other, err := s.elsewhere(ctx, r.Holder); err != nil || other {
		return err
	}
	gone, err := s.holderGone(ctx, r.Holder)
	if err != nil {
		return err
	}
	if gone || !isAttached(devices, id) {
		_, err = s.release(ctx, r)
	}
	return err
}

func isAttached(devices []hypervisor.Device, id volspec.VolumeID) bool {
	for _, d := range devices {
		if d.Volume == id {
			return true
		}
	}
	return false
}

// rewriteMeta brings stale metadata records up to date.
func (s *Service) rewriteMeta(ctx context.Context) error {
	return s.each(ctx, Filter{Stale: true}, func(ctx context.Context, r Record) error {
		if r.Op.Kind != "" {
			return nil // whoever is at it writes it, and may hold the lock for long
		}
		unlock, err := s.lock(ctx, lockKey{id: r.ID}, "metadata")
		if err != nil {
			return err
		}
		defer unlock()
		r, err = s.reread(ctx, r.ID)
		if err != nil || !r.MetaStale || r.Op.Kind != "" || !s.writable(ctx, r) {
			return err
		}
		return s.refreshMeta(ctx, r)
	})
}

// writable reports whether r's datastore takes writes now. Where it does not,
// the work waits; the datastore's own state says why.
func (s *Service) writable(ctx context.Context, r Record) bool {
	return r.ViewOf != "" || s.online(ctx, r.Key.Datastore, true) == nil
}

// emptyTrash deletes what has been in the trash for Options.TrashKeep.
func (s *Service) emptyTrash(ctx context.Context) error {
	reaper := volspec.Caller{Admin: true, Actor: "mooringd"}
	return s.each(ctx, Filter{States: []volspec.State{volspec.Trashed}}, func(ctx context.Context, r Record) error {
		if now().Before(r.TrashedAt.Add(s.o.TrashKeep)) || !s.writable(ctx, r) {
			return nil
		}
		return s.purge(ctx, reaper, r.ID)
	})
}

// measure notes how much attached volumes really take on their datastore.
// Detached ones were measured when they were let go.
func (s *Service) measure(ctx context.Context) error {
	return s.each(ctx, Filter{Held: true}, func(ctx context.Context, r Record) error {
		if r.ViewOf != "" {
			return nil
		}
		d, err := s.o.Hypervisor.Stat(ctx, r.ref())
		health := d.Moved
		switch errkind.Of(err) {
		case "":
		case errkind.NotFound:
			health = "its disk is missing on datastore " + r.Key.Datastore + "; bring it back, or restore the volume from a backup"
		default: // the datastore is away: its own state says so
			return nil
		}
		if d.Allocated == r.Used && health == r.Health {
			return nil
		}
		_, err = s.update(ctx, r.ID, func(_ Tx, r *Record) error {
			r.Used, r.Health = d.Allocated, health
			return nil
		})
		return err
	})
}

// allocated is what r's disk takes, or what was known before.
func (s *Service) allocated(ctx context.Context, r Record) volspec.Size {
	used, _ := s.condition(ctx, r)
	return used
}

// condition is what r's disk takes, and what is wrong with it, or what was known
// of both before.
func (s *Service) condition(ctx context.Context, r Record) (used volspec.Size, health string) {
	if r.ViewOf != "" {
		return 0, ""
	}
	d, err := s.o.Hypervisor.Stat(ctx, r.ref())
	if err != nil {
		return r.Used, r.Health
	}
	return d.Allocated, d.Moved
}

// each calls fn for every volume that f selects; a failure is logged and does
// not stop the others.
func (s *Service) each(ctx context.Context, f Filter, fn func(context.Context, Record) error) error {
	var all []Record
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		all, err = tx.Volumes(f)
		return err
	})
	for _, r := range all {
		if ctx.Err() != nil {
			break
		}
		if err := fn(ctx, r); err != nil && !errkind.Is(err, errkind.NotFound) {
			log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).WithField(log.Kind, errkind.Of(err)).Warn("volume needs attention")
		}
	}
	return err
}
