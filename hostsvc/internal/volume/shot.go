package volume

import (
	"context"
	"errors"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
)

// Taken is a snapshot for backup as it came about.
type Taken struct {
	Volume      BackupVolume
	Size        volspec.Size
	Consistency volspec.Consistency
	Stall       time.Duration // how long writers in the guest waited
	Note        string        // why it is not more consistent, or ""
	At          time.Time     // everything written before is in it
}

// TakeBackupSnapshot freezes a volume's content for backup, under an id and
// for an owner that the caller chooses. It counts in no quota and is no user's.
// Repeated with the same id it tells of the snapshot that is there, without
// Stall and Note.
//
// A volume that nobody writes to is filesystem-consistent. Else the guest is
// asked to hold its filesystem still, for Options.FreezeLease at most; one that
// does not gives a crash-consistent snapshot, and Note says why. require is
// the least that will do: with FilesystemConsistent that is errkind.Unavailable
// instead. With CrashConsistent the guest is not asked at all, unless the
// storage must copy; "" is the best that can be had.
//
// A storage that copies (see hypervisor.FrozenSnapshotter) needs the freeze,
// and the estimate must be below Options.FreezeCopyLimit: else unsupported,
// with the remedies. No room for the copy: errkind.Quota.
//
// A volume in use by something else is errkind.InUse. It ends with ctx; after a
// failure and after a crash there is no snapshot. The volume's lock is held
// while its filesystem is frozen and not while the guest is waited for.
func (s *Service) TakeBackupSnapshot(ctx context.Context, id volspec.VolumeID, snap volspec.SnapshotID, owner string, require volspec.Consistency) (Taken, error) {
	if owner == "" {
		return Taken{}, errkind.New(errkind.Internal, "a snapshot for backup needs an owner")
	}
	leave, err := s.enter("taking a snapshot for backup")
	if err != nil {
		return Taken{}, err
	}
	defer leave()
	for try := 1; ; try++ {
		x := &shot{s: s, require: require, snap: Snapshot{ID: snap, Volume: id, Owner: owner}}
		t, err := x.run(ctx)
		if !errors.Is(err, errMoved) || try == 3 {
			return t, err
		}
	}
}

// errMoved: the volume was attached, detached or resized between the plan and
// the deed, so the plan is void.
var errMoved = errors.New("it was attached or detached at the same moment, repeat the command")

// shot is one try to take a snapshot for backup.
type shot struct {
	s       *Service
	require volspec.Consistency
	snap    Snapshot
	rec     Record
	how     plan
	unlock  func() // of the volume, nil while it is not locked
	begun   bool   // the intent is recorded
	at      time.Time
}

// outcome is what the deed was worth.
type outcome struct {
	consistency volspec.Consistency
	stall       time.Duration
	note        string
}

func (x *shot) run(ctx context.Context) (t Taken, err error) {
	if err := x.lock(ctx); err != nil {
		return t, err
	}
	defer x.release()
	before, err := x.prepare(ctx)
	if err != nil || before != nil {
		if before != nil {
			t = *before
		}
		return t, err
	}
	out, err := x.take(ctx)
	if err == nil {
		err = x.keep(ctx, out)
	}
	if err != nil {
		return t, joined(err, x.drop(ctx))
	}
	v, err := x.s.BackupVolume(ctx, x.rec.ID)
	return Taken{Volume: v, Size: x.snap.Size, Consistency: out.consistency, Stall: out.stall, Note: out.note, At: x.snap.Created}, err
}

func (x *shot) lock(ctx context.Context) (err error) {
	x.unlock, err = x.s.lock(ctx, lockKey{id: x.snap.Volume}, "taking a snapshot for backup")
	return err
}

func (x *shot) release() {
	if x.unlock != nil {
		x.unlock()
		x.unlock = nil
	}
}

// prepare settles and reads the volume, and plans. A snapshot of that id that
// is there already is returned.
func (x *shot) prepare(ctx context.Context) (*Taken, error) {
	id := x.snap.Volume
	if err := x.s.settle(ctx, id); err != nil {
		return nil, err
	}
	r, have, err := x.s.ownedSnapshot(ctx, id, x.snap.ID)
	if err != nil {
		return nil, err
	}
	if have != nil {
		return x.before(ctx, *have)
	}
	switch {
	case r.ID == "" || r.State != volspec.Ready:
		return nil, errkind.New(errkind.NotFound, "Volume %s not found", id)
	case r.ViewOf != "":
		return nil, x.s.onlyShown(r, "backed up")
	case r.Format == volspec.Formatting:
		return nil, errkind.New(errkind.InUse, "volume %s is being formatted: back it up when its first mount has ended", r.Name())
	}
	if err := x.s.online(ctx, r.Key.Datastore, true); err != nil {
		return nil, err
	}
	if r.Holder.VM != "" {
		if r, err = x.held(ctx, r); err != nil {
			return nil, err
		}
	}
	x.rec = r
	x.how, err = x.s.plan(ctx, r)
	return nil, err
}

// before is Taken of a snapshot that an earlier call took.
func (x *shot) before(ctx context.Context, have Snapshot) (*Taken, error) {
	if have.Owner != x.snap.Owner {
		return nil, errkind.New(errkind.Exists, "snapshot %s exists and belongs to %s", have.ID, have.Owner)
	}
	v, err := x.s.BackupVolume(ctx, have.Volume)
	return &Taken{Volume: v, Size: have.Size, Consistency: consistencyIn(have.Name), At: have.Created}, err
}

// held releases a holder that is gone, and refuses one that only another host
// service can talk to.
func (x *shot) held(ctx context.Context, r Record) (Record, error) {
	other, err := x.s.elsewhere(ctx, r.Holder)
	if err != nil {
		return r, err
	}
	if other {
		return r, errkind.New(errkind.Unavailable, "volume %s is attached to VM %s of another mooringd: back it up there", r.Name(), r.Holder.VMName)
	}
	gone, err := x.s.holderGone(ctx, r.Holder)
	if err != nil || !gone {
		return r, err
	}
	return x.s.release(ctx, r)
}

// begin records the intent. The lock is held; what was planned for must still
// be so.
func (x *shot) begin(ctx context.Context) error {
	planned := x.rec
	r, err := x.s.begin(ctx, x.snap.Volume, Op{Kind: OpSnapshot, Snapshot: x.snap.ID}, func(tx Tx, r *Record) error {
		if r.Holder.VM != planned.Holder.VM || r.Holder.Epoch != planned.Holder.Epoch || r.Format != planned.Format || r.Size != planned.Size || r.State != volspec.Ready {
			return errkind.Wrap(errkind.Unavailable, errMoved, "volume %s cannot be backed up at this moment", r.Name())
		}
		x.snap.Size, x.snap.Created, x.snap.Name = r.Size, now(), ownedName(x.snap.ID, volspec.CrashConsistent)
		return tx.PutSnapshot(x.snap)
	})
	if err != nil {
		return err
	}
	x.rec, x.begun = r, true
	crashpoint.Here("volume.backupsnapshot.intent")
	return nil
}

// expose is the deed, after begin.
func (x *shot) expose(ctx context.Context, take func(context.Context, hypervisor.Ref, volspec.SnapshotID) error) error {
	x.at = now()
	if err := take(ctx, x.rec.ref(), x.snap.ID); err != nil {
		return err
	}
	crashpoint.Here("volume.backupsnapshot.disk")
	return nil
}

// keep records the result.
func (x *shot) keep(ctx context.Context, out outcome) error {
	if x.unlock == nil {
		return errkind.New(errkind.Unavailable, "the snapshot of volume %s was not recorded: repeat the command", x.rec.Name())
	}
	x.snap.Created, x.snap.Name = x.at, ownedName(x.snap.ID, out.consistency)
	r, err := x.s.update(ctx, x.rec.ID, func(tx Tx, r *Record) error {
		r.Op, r.MetaStale = Op{}, true
		return tx.PutSnapshot(x.snap)
	})
	if err != nil {
		return err
	}
	x.begun = false
	crashpoint.Here("volume.backupsnapshot.done")
	if err := x.s.refreshMeta(ctx, r); err != nil {
		log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
	}
	return nil
}

// drop undoes what was begun.
func (x *shot) drop(ctx context.Context) error {
	if !x.begun || x.unlock == nil { // without the lock the intent is for settle
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undo.Limit)
	defer cancel()
	return x.s.dropSnapshot(ctx, x.rec, x.snap.ID)
}

// The name of a snapshot of backup says what a repeated call must know. No
// user's snapshot has a slash in its name.
func ownedName(id volspec.SnapshotID, c volspec.Consistency) string {
	return "backup/" + string(c) + "/" + string(id)
}

func consistencyIn(name string) volspec.Consistency {
	if strings.HasPrefix(name, "backup/"+string(volspec.FilesystemConsistent)+"/") {
		return volspec.FilesystemConsistent
	}
	return volspec.CrashConsistent
}
