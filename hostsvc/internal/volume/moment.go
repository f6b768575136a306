package volume

import (
	"context"
	"fmt"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// copyRate is what a copy is expected to make in a second, in bytes.
const copyRate = 200 * 1000 * 1000

// spareRoom is how much of a datastore a copy leaves free at least, so that
// thin volumes can still be written: a twentieth, up to this.
const spareRoom = 10 * volspec.GiB

// plan is how a moment of a volume is had.
type plan struct {
	live   bool         // a guest may be writing to its filesystem
	cost   volspec.Size // bytes that the storage must copy; 0: it shares blocks
	simple func(context.Context, hypervisor.Ref, volspec.SnapshotID) error
	frozen func(context.Context, hypervisor.Ref, volspec.SnapshotID) error // nil: there is no such ability
}

// plan decides how a snapshot of r for backup is taken; it refuses what will
// not work before anything is changed.
func (s *Service) plan(ctx context.Context, r Record) (plan, error) {
	sn, err := s.snapshotter()
	if err != nil {
		return plan{}, err
	}
	p := plan{simple: sn.Snapshot, live: r.Holder.VM != "" && !r.Holder.ReadOnly && r.Format == volspec.Formatted}
	f, ok := hypervisor.As[hypervisor.FrozenSnapshotter](s.o.Hypervisor)
	if !ok {
		return p, nil
	}
	p.frozen = f.SnapshotFrozen
	if p.cost, err = f.SnapshotCost(ctx, r.ref()); err != nil || p.cost == 0 {
		return p, err
	}
	if p.live {
		if err := s.quickEnough(r, p.cost); err != nil {
			return p, err
		}
	}
	return p, s.roomFor(ctx, r, p.cost)
}

// quickEnough refuses a copy that would hold writers for too long.
func (s *Service) quickEnough(r Record, cost volspec.Size) error {
	need := time.Duration(float64(cost) / copyRate * float64(time.Second))
	limit := min(s.o.FreezeCopyLimit, s.o.FreezeLease)
	if need <= limit {
		return nil
	}
	return errkind.New(errkind.Unsupported, "volume %s cannot be backed up while VM %s has it: datastore %s copies instead of sharing blocks, and writers would wait about %s for a copy of %s where %s are allowed; %s",
		r.Name(), r.Holder.VMName, r.Key.Datastore, need.Round(time.Second/10), cost, limit, remedies)
}

const remedies = "make the datastore a managed one (size = in its configuration), move the volume to a datastore on xfs or btrfs, or back it up while it is detached"

// roomFor refuses a copy that would fill the datastore.
func (s *Service) roomFor(ctx context.Context, r Record, cost volspec.Size) error {
	stores, err := s.stores(ctx)
	for _, d := range stores {
		spare := min(d.Capacity/20, spareRoom)
		if d.Name == r.Key.Datastore && cost > d.Free-spare {
			return errkind.New(errkind.Quota, "volume %s cannot be backed up: a snapshot on datastore %s is a copy of %s, and of the %s that are free %s stay so for the volumes; free some room, or use a datastore on xfs or btrfs",
				r.Name(), d.Name, cost, d.Free, spare)
		}
	}
	return err
}

// take is intent and deed; afterwards the lock is held, if begun.
func (x *shot) take(ctx context.Context) (outcome, error) {
	if x.how.live {
		return x.takeLive(ctx)
	}
	// Detached, attached read-only, or blank: nothing writes to a blank disk
	// before its formatting is granted, which needs the lock.
	if err := x.begin(ctx); err != nil {
		return outcome{}, err
	}
	return outcome{consistency: volspec.FilesystemConsistent}, x.takeStill(ctx)
}

// takeStill takes a snapshot of a disk that nobody writes to.
func (x *shot) takeStill(ctx context.Context) error {
	take := x.how.simple
	if x.rec.Holder.VM != "" && !x.rec.Holder.ReadOnly && x.how.frozen != nil {
		take = x.how.frozen // the storage cannot know that a blank disk is not written to
	}
	if x.how.cost == 0 {
		return x.expose(ctx, take)
	}
	err := x.s.apart(ctx, x.rec.ID, &x.unlock, func() error { return x.expose(ctx, take) })
	x.s.notifyReleased() // whoever waited to attach it
	return err
}

// takeLive takes a snapshot of a disk that a guest may be writing to. The lock
// is given back while the guest is waited for: the freeze is nothing that the
// volume's record tells, so an unmount may come first. From then on the lease
// bounds how long anybody waits.
func (x *shot) takeLive(ctx context.Context) (outcome, error) {
	if x.require == volspec.CrashConsistent && x.how.cost == 0 {
		return x.unfrozen(ctx, "its guest was not asked to freeze it")
	}
	x.release()
	var began bool
	var failed error
	held, stall, note, err := x.freeze(ctx, func(ctx context.Context) error {
		began = true
		failed = x.underFreeze(ctx)
		return failed
	})
	switch {
	case failed != nil:
		return outcome{}, failed
	case ctx.Err() != nil:
		return outcome{}, errkind.Wrap(errkind.Unavailable, ctx.Err(), "taking a snapshot of volume %s was ended", x.rec.Name())
	case !began:
		return x.silent(ctx, note, err)
	case err != nil:
		held, note = false, errkind.Text(err)
	}
	if held {
		return outcome{volspec.FilesystemConsistent, stall, ""}, nil
	}
	if note == "" {
		note = "the guest did not hold its filesystem still to the end"
	}
	switch {
	case x.how.cost > 0:
		return outcome{}, errkind.New(errkind.Unavailable, "volume %s was written to while it was copied, the copy is dropped: %s; repeat the backup, or %s", x.rec.Name(), note, remedies)
	case x.require == volspec.FilesystemConsistent:
		return outcome{}, x.notConsistent(note)
	}
	return outcome{volspec.CrashConsistent, stall, note}, nil
}

func (x *shot) freeze(ctx context.Context, do func(context.Context) error) (bool, time.Duration, string, error) {
	f, h := x.s.o.Freezer, x.rec.Holder
	if f == nil {
		return false, 0, "this host service cannot ask guests to freeze a filesystem", nil
	}
	return f.Freeze(ctx, h.VM, x.rec.ID, x.rec.Name().String(), h.Epoch, x.s.o.FreezeLease, do)
}

// underFreeze runs within the guest's lease, with which ctx ends.
func (x *shot) underFreeze(ctx context.Context) error {
	if err := x.lock(ctx); err != nil {
		return err
	}
	if err := x.begin(ctx); err != nil {
		return err
	}
	if x.how.cost > 0 {
		return x.expose(ctx, x.how.frozen)
	}
	return x.expose(ctx, x.how.simple)
}

// silent is for a guest that did not freeze.
func (x *shot) silent(ctx context.Context, note string, err error) (outcome, error) {
	if err != nil {
		note = errkind.Text(err)
	}
	switch {
	case x.how.cost > 0:
		return outcome{}, errkind.New(errkind.Unavailable, "volume %s cannot be backed up while VM %s has it: datastore %s copies instead of sharing blocks, so the guest must freeze the filesystem, but %s; start or upgrade the plugin there, or %s",
			x.rec.Name(), x.rec.Holder.VMName, x.rec.Key.Datastore, note, remedies)
	case x.require == volspec.FilesystemConsistent:
		return outcome{}, x.notConsistent(note)
	}
	if err := x.lock(ctx); err != nil {
		return outcome{}, err
	}
	return x.unfrozen(ctx, note)
}

// unfrozen takes the moment as it comes.
func (x *shot) unfrozen(ctx context.Context, why string) (outcome, error) {
	if err := x.begin(ctx); err != nil {
		return outcome{}, err
	}
	return outcome{volspec.CrashConsistent, 0, fmt.Sprintf("as after a power failure: %s", why)}, x.expose(ctx, x.how.simple)
}

func (x *shot) notConsistent(why string) error {
	return errkind.New(errkind.Unavailable, "volume %s cannot be backed up with a consistent filesystem: %s; start or upgrade the plugin in VM %s, back the volume up while it is detached, or let the policy accept crash-consistent points",
		x.rec.Name(), why, x.rec.Holder.VMName)
}
