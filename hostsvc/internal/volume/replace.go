package volume

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// newContent is what a record says of a disk's content, as it will be when the
// disk has been replaced. It is kept in Op.Detail, so that recovery can finish
// without the recovery point.
type newContent struct {
	Format   volspec.Format `json:"format"`
	FSType   string         `json:"fstype"`
	MkfsOpts []string       `json:"mkfsopts,omitempty"`
	FSUUID   string         `json:"fs_uuid"`
	FSSize   volspec.Size   `json:"fs_size"`
	FSNote   string         `json:"fs_note,omitempty"`
}

func (n newContent) apply(r *Record) {
	r.Format, r.FSUUID, r.FSSize, r.FSNote = n.Format, n.FSUUID, n.FSSize, n.FSNote
	r.Spec.FSType, r.Spec.MkfsOpts = n.FSType, n.MkfsOpts
	r.MetaStale = true
}

// contentOf is what r holds when it has been replaced by p.
func contentOf(r Record, p Point, fsUUID string) newContent {
	p.describe(&r, r.Size)
	return newContent{Format: r.Format, FSType: r.Spec.FSType, MkfsOpts: r.Spec.MkfsOpts, FSUUID: fsUUID, FSSize: r.FSSize, FSNote: r.FSNote}
}

// RestoreInPlace replaces the content of a detached volume by that of a
// recovery point of its vmgroup, which p describes. The old content stays as
// snapshot keep, which counts in the quota. A holder that is gone is released
// first; an attached volume is errkind.InUse, one that is smaller than the
// point errkind.Invalid, a name that another snapshot has errkind.Exists: also
// when this very call has done its work before and is repeated.
//
// Nobody can attach the volume meanwhile. It ends with ctx; after a failure the
// volume is as it was. After a crash it is as it was, without the snapshot, or
// restored, with the snapshot: recovery asks the hypervisor which.
func (s *Service) RestoreInPlace(ctx context.Context, c volspec.Caller, group, name string, p Point, keep string) (wire.Volume, error) {
	leave, err := s.enter("restoring volume " + name)
	if err != nil {
		return wire.Volume{}, err
	}
	defer leave()
	v, err := s.restoreInPlace(ctx, c, group, name, p, keep)
	if k := errkind.Of(err); k == errkind.Denied || k == errkind.Quota {
		s.audit(ctx, c, group, "volume restore", name, err)
	}
	return v, err
}

func (s *Service) restoreInPlace(ctx context.Context, c volspec.Caller, group, name string, p Point, keep string) (v wire.Volume, err error) {
	if s.o.Points == nil {
		return v, errkind.New(errkind.Unsupported, "volume %s cannot be restored: backup is not configured", name)
	}
	if err := checkSnapshotName(keep); err != nil {
		return v, err
	}
	im, err := s.imager()
	if err != nil {
		return v, err
	}
	r, t, unlock, err := s.findLocked(ctx, c, group, name, volspec.DoMount)
	if err != nil {
		return v, err
	}
	defer func() {
		if unlock != nil {
			unlock()
		}
	}()
	if r, err = s.replaceable(ctx, r, t, p); err != nil {
		return v, err
	}
	if r, err = s.beginReplace(ctx, c, t, r, p, keep); err != nil {
		return v, err
	}
	crashpoint.Here("volume.replace.intent")
	err = s.apart(ctx, r.ID, &unlock, func() error {
		// Whatever happens from here on, a catalog that is rebuilt from the metadata
		// knows the snapshot and takes the disk for one with data.
		m := asReady(r)
		m.Format = volspec.Formatted
		if err := s.putMeta(ctx, m); err != nil {
			return err
		}
		crashpoint.Here("volume.replace.meta")
		return im.Build(ctx, r.ref(), r.Size, r.Spec.DiskFormat, r.Op.Snapshot, s.fill(r, p))
	})
	if unlock == nil {
		return v, err
	}
	crashpoint.Here("volume.replace.disk")
	return s.endReplace(ctx, r, err)
}

// replaceable settles r, whose lock is held, and checks that its content can
// be replaced by p.
func (s *Service) replaceable(ctx context.Context, r Record, t target, p Point) (Record, error) {
	if r.ViewOf != "" {
		return r, s.onlyShown(r, "restored in place")
	}
	if err := s.online(ctx, r.Key.Datastore, true); err != nil {
		return r, err
	}
	if err := s.settle(ctx, r.ID); err != nil {
		return r, err
	}
	r, err := s.reread(ctx, r.ID)
	if errkind.Is(err, errkind.NotFound) || err == nil && r.State != volspec.Ready {
		err = absent(t.name)
	}
	if err != nil {
		return r, err
	}
	if p.Size > r.Size {
		return r, errkind.New(errkind.Invalid, "volume %s is %s and the recovery point %s: resize the volume first, or restore to a new one with -o restore-from=%s", r.Name(), r.Size, p.Size, p.ID)
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
		return r, errkind.New(errkind.InUse, "volume %s is attached to VM %s and cannot be restored in place: stop the containers that use it there, or restore to a new volume with -o restore-from=%s", r.Name(), r.Holder.VMName, p.ID)
	}
	return r, nil
}

// beginReplace records the intent, and the snapshot that the old content will
// be.
func (s *Service) beginReplace(ctx context.Context, c volspec.Caller, t target, r Record, p Point, keep string) (Record, error) {
	snap := Snapshot{ID: volspec.SnapshotID(uuid.NewString()), Volume: r.ID, Name: keep, Created: now()}
	own := uuid.NewString()
	return s.begin(ctx, r.ID, Op{Kind: OpReplace, Snapshot: snap.ID}, func(tx Tx, r *Record) error {
		if r.Holder.VM != "" {
			return errkind.New(errkind.InUse, "volume %s was attached to VM %s meanwhile: it cannot be restored in place", r.Name(), r.Holder.VMName)
		}
		snap.Size = r.Size
		if err := s.reserveSnapshot(ctx, tx, c, t, *r, snap, "volume restore"); err != nil {
			return err
		}
		fsUUID, err := unusedUUID(tx, *r, p.FSUUID, own)
		if err != nil {
			return err
		}
		detail, err := json.Marshal(contentOf(*r, p, fsUUID))
		r.Op.Detail = string(detail)
		return errkind.Wrap(errkind.Internal, err, "describe the new content")
	})
}

// unusedUUID is the filesystem UUID of the restored content: that of the
// point, which then needs no change, unless another volume of the vmgroup has
// it, in use or in the trash. Then the guest renews it at the first mount.
func unusedUUID(tx Tx, r Record, ofPoint, own string) (string, error) {
	if ofPoint == "" {
		return own, nil
	}
	all, err := tx.Volumes(Filter{Group: r.Key.Group})
	for _, other := range all {
		if other.ID != r.ID && other.ViewOf == "" && strings.EqualFold(other.FSUUID, ofPoint) {
			return own, nil
		}
	}
	return ofPoint, err
}

// endReplace records how a replacement ended. failed is what Build said: its
// answer may have been lost, so the hypervisor is asked in any case.
func (s *Service) endReplace(ctx context.Context, r Record, failed error) (v wire.Volume, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undo.Limit)
	defer cancel()
	replaced, err := s.finishReplace(ctx, r)
	s.notifyReleased() // whoever waited to attach it
	switch {
	case err != nil:
		return v, joined(failed, err)
	case !replaced && failed == nil:
		return v, errkind.New(errkind.Corrupt, "volume %s was restored, but its old content is not there as snapshot %s: look at it before it is used", r.Name(), r.Op.Snapshot)
	case !replaced:
		return v, failed
	}
	log.G(ctx).WithField(log.Volume, r.Name().String()).Info("volume restored in place")
	if r, err = s.reread(ctx, r.ID); err != nil {
		return v, err
	}
	return s.present(ctx, r)
}

// finishReplace finishes or undoes an OpReplace, as the hypervisor has it: the
// snapshot is there if and only if the disk was replaced, see
// hypervisor.Imager.Build. The old content is never lost: it is the disk's, or
// the snapshot's.
func (s *Service) finishReplace(ctx context.Context, r Record) (replaced bool, err error) {
	sn, err := s.snapshotter()
	if err != nil {
		return false, err
	}
	ids, err := sn.Snapshots(ctx, r.ref())
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return false, err
	}
	if !slices.Contains(ids, r.Op.Snapshot) {
		// Removes also what the hypervisor left half done under that id.
		return false, s.dropSnapshot(ctx, r, r.Op.Snapshot)
	}
	var content newContent
	if err := json.Unmarshal([]byte(r.Op.Detail), &content); err != nil {
		return true, errkind.Wrap(errkind.Corrupt, err, "the catalog's record of what volume %s was restored to is damaged: restore the catalog from a copy", r.Name())
	}
	used := s.allocated(ctx, r)
	if r, err = s.end(ctx, r.ID, func(r *Record) { content.apply(r); r.Used = used }); err != nil {
		return true, err
	}
	crashpoint.Here("volume.replace.done")
	if err := s.refreshMeta(ctx, r); err != nil {
		log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
	}
	return true, nil
}
