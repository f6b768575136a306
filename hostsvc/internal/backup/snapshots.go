package backup

import (
	"context"
	"encoding/json"
	"errors"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// snapshotOwner marks the snapshots that this package takes.
const snapshotOwner = "backup"

// sweepSnapshots removes the snapshots of backup that nobody needs: they are
// neither the start of a next increment nor of a job that is to go on.
//
// What is listed first was noted by its job before it was made; a job that has
// ended since has recorded its base or dropped the snapshot.
func (s *Service) sweepSnapshots(ctx context.Context) error {
	return joined(s.sweep(ctx, func(OwnedSnapshot) bool { return true }), s.sweepMachines(ctx))
}

// sweepVolume does it for one volume; keep is the running job's own.
func (s *Service) sweepVolume(ctx context.Context, v volspec.VolumeID, keep volspec.SnapshotID) error {
	return s.sweep(ctx, func(sn OwnedSnapshot) bool { return sn.Volume == v && sn.ID != keep })
}

func (s *Service) sweep(ctx context.Context, which func(OwnedSnapshot) bool) error {
	all, err := s.o.Volumes.Snapshots(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	needed, err := s.needed(ctx)
	if err != nil {
		return err
	}
	var failed error
	for _, sn := range all {
		if sn.Owner != snapshotOwner || needed[sn.ID] || !which(sn) {
			continue
		}
		if err := s.o.Volumes.DropSnapshot(ctx, sn.Volume, sn.ID); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		log.G(ctx).WithField(log.Volume, string(sn.Volume)).Info("snapshot of an earlier backup removed")
	}
	return failed
}

// neededMachines are the snapshots of VMs that open jobs name.
func (s *Service) neededMachines(ctx context.Context) (map[volspec.SnapshotID]bool, error) {
	open, err := s.o.Jobs.List(ctx, job.Query{Kind: kindMachine, Open: true})
	needed := map[volspec.SnapshotID]bool{}
	for _, j := range open {
		var n machineNotes
		if json.Unmarshal(j.Saved, &n) == nil {
			needed[n.Snapshot] = true
		}
	}
	return needed, err
}

// needed are the snapshots that bases and open jobs name.
func (s *Service) needed(ctx context.Context) (map[volspec.SnapshotID]bool, error) {
	needed := map[volspec.SnapshotID]bool{}
	open, err := s.o.Jobs.List(ctx, job.Query{Kind: kindBackup, Open: true})
	if err != nil {
		return nil, err
	}
	for _, j := range open {
		var n backupNotes
		if json.Unmarshal(j.Saved, &n) == nil {
			needed[n.Snapshot] = true
		}
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		bases, err := tx.Bases("")
		for _, b := range bases {
			needed[b.Snapshot] = true
		}
		return err
	})
	return needed, err
}

// sweepBases forgets the bases of volumes that are gone; their snapshots went
// with the disk. Those that name a moment go with their points.
func (s *Service) sweepBases(ctx context.Context) error {
	var bases []Base
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		bases, err = tx.Bases("")
		return err
	})
	if err != nil || len(bases) == 0 {
		return err
	}
	owned, err := s.o.Volumes.Snapshots(ctx)
	if err != nil {
		return err
	}
	there := map[volspec.SnapshotID]bool{}
	for _, sn := range owned {
		there[sn.ID] = true
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		for _, b := range bases {
			if there[b.Snapshot] {
				continue
			}
			if b.Change != "" {
				if _, err := tx.Point(b.Point); !errkind.Is(err, errkind.NotFound) {
					if err != nil {
						return err
					}
					continue
				}
			}
			if err := tx.DeleteBase(b.Volume, b.Repository); err != nil {
				return err
			}
		}
		return nil
	})
}

// forgetMoments makes the next backup of a volume read everything. It is for
// content that is about to be replaced: no moment leads over that.
func (s *Service) forgetMoments(ctx context.Context, v volspec.VolumeID) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.Bases(v)
		for _, b := range all {
			if err == nil && b.Change != "" {
				err = tx.DeleteBase(b.Volume, b.Repository)
			}
		}
		return err
	})
}
