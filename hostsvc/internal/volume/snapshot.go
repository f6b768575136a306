package volume

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (s *Service) snapshotter() (hypervisor.Snapshotter, error) {
	if sn, ok := hypervisor.As[hypervisor.Snapshotter](s.o.Hypervisor); ok {
		return sn, nil
	}
	return nil, errkind.New(errkind.Unsupported, "this hypervisor cannot take snapshots of volumes")
}

// Snapshots lists a volume's snapshots, oldest first.
func (s *Service) Snapshots(ctx context.Context, c volspec.Caller, group, name string) ([]wire.Snapshot, error) {
	r, _, err := s.find(ctx, c, group, name, volspec.DoMount)
	if err != nil {
		return nil, err
	}
	list, err := s.snapshotsOf(ctx, r)
	list = usersOnly(list)
	out := make([]wire.Snapshot, 0, len(list))
	for _, sn := range list {
		out = append(out, presentSnapshot(r, sn))
	}
	return out, err
}

func (s *Service) snapshotsOf(ctx context.Context, r Record) (list []Snapshot, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		list, err = tx.Snapshots(r.ID)
		return err
	})
	return list, err
}

// usersOnly leaves out what was taken for backup.
func usersOnly(list []Snapshot) []Snapshot {
	return slices.DeleteFunc(list, func(sn Snapshot) bool { return sn.Owner != "" })
}

func presentSnapshot(r Record, sn Snapshot) wire.Snapshot {
	return wire.Snapshot{ID: sn.ID, Name: sn.Name, Volume: r.Name().String(), Size: int64(sn.Size), Created: sn.Created}
}

func (s *Service) snapshotByName(ctx context.Context, r Record, name string) (Snapshot, error) {
	list, err := s.snapshotsOf(ctx, r)
	for _, sn := range usersOnly(list) {
		if sn.Name == name || string(sn.ID) == name {
			return sn, nil
		}
	}
	if err != nil {
		return Snapshot{}, err
	}
	return Snapshot{}, errkind.New(errkind.NotFound, "Snapshot %s of volume %s not found", name, r.Name())
}

func checkSnapshotName(name string) error {
	if n, err := volspec.ParseNewName(name); err != nil || n.Datastore != "" {
		return errkind.New(errkind.Invalid, "snapshot name %q is not valid: use 1 to %d characters without / \\ and @", name, volspec.MaxNameLen)
	}
	return nil
}

// CreateSnapshot freezes a volume's content under a name. It counts in the
// quota with the volume's size. A name that exists is errkind.Exists.
func (s *Service) CreateSnapshot(ctx context.Context, c volspec.Caller, group, name string, req wire.CreateSnapshot) (wire.Snapshot, error) {
	if err := checkSnapshotName(req.Name); err != nil {
		return wire.Snapshot{}, err
	}
	sn, err := s.snapshotter()
	if err != nil {
		return wire.Snapshot{}, err
	}
	return do(ctx, s, "taking snapshot "+req.Name, func(ctx context.Context) (wire.Snapshot, error) {
		r, t, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoMount)
		if err != nil {
			return wire.Snapshot{}, err
		}
		defer unlock()
		if r.ViewOf != "" {
			return wire.Snapshot{}, s.onlyShown(r, "snapshot")
		}
		if err := s.online(ctx, r.Key.Datastore, true); err != nil {
			return wire.Snapshot{}, err
		}
		snap := Snapshot{ID: volspec.SnapshotID(uuid.NewString()), Volume: r.ID, Name: req.Name, Created: now()}
		r, err = s.begin(ctx, r.ID, Op{Kind: OpSnapshot, Snapshot: snap.ID}, func(tx Tx, r *Record) error {
			snap.Size = r.Size
			return s.reserveSnapshot(ctx, tx, c, t, *r, snap, "snapshot create")
		})
		if err != nil {
			return wire.Snapshot{}, err
		}
		crashpoint.Here("volume.snapshot.intent")
		if err := sn.Snapshot(ctx, r.ref(), snap.ID); err != nil {
			return wire.Snapshot{}, joined(err, s.dropSnapshot(context.WithoutCancel(ctx), r, snap.ID))
		}
		crashpoint.Here("volume.snapshot.disk")
		if r, err = s.end(ctx, r.ID, func(r *Record) { r.MetaStale = true }); err != nil {
			return wire.Snapshot{}, err
		}
		log.G(ctx).WithField(log.Volume, r.Name().String()).Info("snapshot taken")
		return presentSnapshot(r, snap), s.refreshMeta(ctx, r)
	})
}

func (s *Service) reserveSnapshot(ctx context.Context, tx Tx, c volspec.Caller, t target, r Record, snap Snapshot, action string) error {
	if r.State != volspec.Ready {
		return absent(t.name)
	}
	list, err := tx.Snapshots(r.ID)
	if err != nil {
		return err
	}
	for _, old := range list {
		if old.Name == snap.Name {
			return errkind.New(errkind.Exists, "volume %s already has a snapshot %s: choose another name", r.Name(), snap.Name)
		}
	}
	// The volume itself does not grow: only the quota is asked.
	if err := s.check(tx, c, t, volspec.DoResize, snap.Size, 0); err != nil {
		return err
	}
	if err := tx.PutSnapshot(snap); err != nil {
		return err
	}
	return tx.AddAudit(s.entry(ctx, c, t.rights.Group.Name, action, r.Name().String()+" "+snap.Name))
}

// DeleteSnapshot removes a snapshot, named by name or id. Clones made of it
// do not depend on it.
func (s *Service) DeleteSnapshot(ctx context.Context, c volspec.Caller, group, name, snapshot string) error {
	_, err := do(ctx, s, "removing snapshot "+snapshot, func(ctx context.Context) (struct{}, error) {
		r, t, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoMount)
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		snap, err := s.snapshotByName(ctx, r, snapshot)
		if err != nil {
			return struct{}{}, err
		}
		r, err = s.begin(ctx, r.ID, Op{Kind: OpUnsnapshot, Snapshot: snap.ID}, func(tx Tx, r *Record) error {
			return tx.AddAudit(s.entry(ctx, c, t.rights.Group.Name, "snapshot rm", r.Name().String()+" "+snap.Name))
		})
		if err != nil {
			return struct{}{}, err
		}
		crashpoint.Here("volume.unsnapshot.intent")
		return struct{}{}, s.dropSnapshot(ctx, r, snap.ID)
	})
	return err
}

// dropSnapshot deletes a snapshot's data, then its record and the intent.
func (s *Service) dropSnapshot(ctx context.Context, r Record, id volspec.SnapshotID) error {
	sn, err := s.snapshotter()
	if err != nil {
		return err
	}
	if err := sn.DeleteSnapshot(ctx, r.ref(), id); err != nil {
		return err
	}
	crashpoint.Here("volume.unsnapshot.disk")
	_, err = s.update(ctx, r.ID, func(tx Tx, r *Record) error {
		r.Op, r.MetaStale = Op{}, true
		return tx.DeleteSnapshot(id)
	})
	if err != nil {
		return err
	}
	if r, err = s.reread(ctx, r.ID); err != nil {
		return err
	}
	return s.refreshMeta(ctx, r)
}
