package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// BackupVolume is a volume as backup sees it.
type BackupVolume struct {
	ID         volspec.VolumeID
	Group      volspec.VMGroup
	Name       volspec.Name // full
	Size       volspec.Size
	Spec       volspec.Spec // defaults filled in
	Format     volspec.Format
	FSUUID     string
	FSSize     volspec.Size
	AttachedTo string // name of the VM that has it, "" for none
	State      volspec.State
	Policy     string // the volume's own backup policy, or ""
	Created    time.Time
}

func backupVolume(r Record, g volspec.VMGroup) BackupVolume {
	return BackupVolume{
		ID: r.ID, Group: g, Name: r.Name(), Size: r.Size, Spec: r.Spec, Format: r.Format, FSUUID: r.FSUUID, FSSize: r.FSSize,
		AttachedTo: r.Holder.VMName, State: r.State, Policy: r.Spec.BackupPolicy, Created: r.Created,
	}
}

// BackupVolumes lists the ready volumes of a vmgroup that have a disk of their
// own, in the order of listings; of all vmgroups for "".
func (s *Service) BackupVolumes(ctx context.Context, g volspec.VMGroupID) ([]BackupVolume, error) {
	var out []BackupVolume
	err := s.o.Store.View(ctx, func(tx Tx) error {
		out = nil
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		byID := map[volspec.VMGroupID]volspec.VMGroup{}
		for _, x := range groups {
			byID[x.ID] = x
		}
		all, err := tx.Volumes(Filter{Group: g, States: []volspec.State{volspec.Ready}})
		for _, r := range all {
			if r.ViewOf == "" {
				out = append(out, backupVolume(r, byID[r.Key.Group]))
			}
		}
		return err
	})
	return out, err
}

// BackupVolume is one volume, in whatever state. Absent, and without a disk of
// its own: errkind.NotFound.
func (s *Service) BackupVolume(ctx context.Context, id volspec.VolumeID) (v BackupVolume, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err := tx.Volume(id)
		if err == nil && r.ViewOf != "" {
			err = errkind.New(errkind.NotFound, "Volume %s not found", id)
		}
		if err != nil {
			return err
		}
		rights, err := tx.Rights(r.Key.Group)
		v = backupVolume(r, rights.Group)
		return err
	})
	return v, err
}

// BackupTarget is the volume that a caller names, in the caller's vmgroup or
// in the one the admin names. Absent, and in another vmgroup: errkind.NotFound
// in the same words.
func (s *Service) BackupTarget(ctx context.Context, c volspec.Caller, group, name string) (BackupVolume, error) {
	r, t, err := s.find(ctx, c, group, name, volspec.DoMount)
	switch {
	case err != nil:
		return BackupVolume{}, err
	case r.ViewOf != "":
		return BackupVolume{}, s.onlyShown(r, "backed up")
	case r.State != volspec.Ready:
		return BackupVolume{}, errkind.New(errkind.Unavailable, "volume %s is still being created: repeat the command when it is ready", r.Name())
	}
	return backupVolume(r, t.rights.Group), nil
}

// OwnedSnapshot is a snapshot that was taken for backup.
type OwnedSnapshot struct {
	Volume  volspec.VolumeID
	ID      volspec.SnapshotID
	Owner   string
	Created time.Time
}

// BackupSnapshots lists all snapshots that were taken for backup, but not
// those that are being taken at this moment.
func (s *Service) BackupSnapshots(ctx context.Context) ([]OwnedSnapshot, error) {
	var out []OwnedSnapshot
	err := s.o.Store.View(ctx, func(tx Tx) error {
		out = nil
		busy, err := tx.Volumes(Filter{Busy: true})
		if err != nil {
			return err
		}
		coming := map[volspec.SnapshotID]bool{}
		for _, r := range busy {
			coming[r.Op.Snapshot] = r.Op.Kind == OpSnapshot
		}
		all, err := tx.OwnedSnapshots()
		for _, sn := range all {
			if !coming[sn.ID] {
				out = append(out, OwnedSnapshot{Volume: sn.Volume, ID: sn.ID, Owner: sn.Owner, Created: sn.Created})
			}
		}
		return err
	})
	return out, err
}

// DropBackupSnapshot removes a snapshot that was taken for backup. An absent
// snapshot or volume is nil; one of a user is errkind.Invalid.
func (s *Service) DropBackupSnapshot(ctx context.Context, id volspec.VolumeID, snap volspec.SnapshotID) error {
	leave, err := s.enter("removing a snapshot of backup")
	if err != nil {
		return err
	}
	defer leave()
	unlock, err := s.lock(ctx, lockKey{id: id}, "removing a snapshot of backup")
	if err != nil {
		return err
	}
	defer unlock()
	r, have, err := s.ownedSnapshot(ctx, id, snap)
	if err != nil || have == nil {
		return err
	}
	if err := s.online(ctx, r.Key.Datastore, true); err != nil {
		return err
	}
	if r, err = s.begin(ctx, id, Op{Kind: OpUnsnapshot, Snapshot: snap}, nil); errkind.Is(err, errkind.NotFound) {
		return nil // settling removed the volume
	} else if err != nil {
		return err
	}
	crashpoint.Here("volume.unsnapshot.intent")
	return s.dropSnapshot(ctx, r, snap)
}

// ownedSnapshot finds a snapshot of backup; nil when it or its volume is not
// there.
func (s *Service) ownedSnapshot(ctx context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (Record, *Snapshot, error) {
	r, err := s.reread(ctx, id)
	if errkind.Is(err, errkind.NotFound) {
		return r, nil, nil
	}
	if err != nil {
		return r, nil, err
	}
	list, err := s.snapshotsOf(ctx, r)
	for _, sn := range list {
		switch {
		case sn.ID != snap:
		case sn.Owner == "":
			return r, nil, errkind.New(errkind.Invalid, "snapshot %s of volume %s is a user's and not of backup", sn.Name, r.Name())
		default:
			return r, &sn, nil
		}
	}
	return r, nil, err
}

// OpenSnapshot opens a snapshot for reading. Absent: errkind.NotFound. The
// caller closes it; removing the snapshot meanwhile does not disturb it.
func (s *Service) OpenSnapshot(ctx context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (image.Image, error) {
	im, err := s.imager()
	if err != nil {
		return nil, err
	}
	r, err := s.reread(ctx, id)
	if err != nil {
		return nil, err
	}
	return im.OpenSnapshot(ctx, r.ref(), snap)
}

// ChangedSince yields what may differ between two snapshots of a volume, see
// hypervisor.Imager.Changed.
func (s *Service) ChangedSince(ctx context.Context, id volspec.VolumeID, base, snap volspec.SnapshotID) image.Extents {
	return s.told(ctx, id, func(r hypervisor.Ref) (image.Extents, error) {
		im, err := s.imager()
		if err != nil {
			return nil, err
		}
		return im.Changed(ctx, r, base, snap), nil
	})
}

// Moment names the moment of a snapshot for ChangedSinceMoment, see
// hypervisor.Moments; "" where changes are not tracked.
func (s *Service) Moment(ctx context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (string, error) {
	m, ok := hypervisor.As[hypervisor.Moments](s.o.Hypervisor)
	if !ok {
		return "", nil
	}
	r, err := s.reread(ctx, id)
	if err != nil {
		return "", err
	}
	return m.Moment(ctx, r.ref(), snap)
}

// ChangedSinceMoment yields what may differ between a moment of a volume and a
// snapshot of it, see hypervisor.Moments.ChangedSince.
func (s *Service) ChangedSinceMoment(ctx context.Context, id volspec.VolumeID, moment string, snap volspec.SnapshotID) image.Extents {
	return s.told(ctx, id, func(r hypervisor.Ref) (image.Extents, error) {
		m, ok := hypervisor.As[hypervisor.Moments](s.o.Hypervisor)
		if !ok {
			return nil, errkind.New(errkind.Unsupported, "this hypervisor does not remember what changed: the volume is to be read whole")
		}
		return m.ChangedSince(ctx, r, moment, snap), nil
	})
}

// told yields what the hypervisor tells of a volume's disk.
func (s *Service) told(ctx context.Context, id volspec.VolumeID, ask func(hypervisor.Ref) (image.Extents, error)) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		r, err := s.reread(ctx, id)
		var all image.Extents
		if err == nil {
			all, err = ask(r.ref())
		}
		if err != nil {
			yield(image.Extent{}, err)
			return
		}
		all(yield)
	}
}
