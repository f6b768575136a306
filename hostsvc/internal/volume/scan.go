package volume

import (
	"context"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// What a scan says of one disk.
const (
	scanKnown     = "known"     // in the catalog
	scanMissing   = "missing"   // in the catalog, not on the datastore
	scanAdoptable = "adoptable" // only on the datastore, with good metadata
	scanAdopted   = "adopted"   // was adoptable and is now in the catalog
	scanConflict  = "conflict"  // adoptable, but its name is taken
	scanRefused   = "refused"   // of another product, and not to be taken over as it is
	scanCorrupt   = "corrupt"   // without readable metadata: a human must look
)

// Scan compares the disks of one datastore with the catalog. With Adopt,
// disks that only the datastore knows enter the catalog under the vmgroup and
// name in their metadata; a vmgroup that is gone too is made again, without
// VMs and rights. Nothing is ever deleted or overwritten. It can be repeated.
// With Dockvols, volumes that the vSphere Docker Volume Service made are taken
// over first, or told of; unsupported where the hypervisor has none.
func (s *Service) Scan(ctx context.Context, c volspec.Caller, datastore string, req wire.Scan) (wire.ScanResult, error) {
	out := wire.ScanResult{Datastore: datastore, Items: []wire.ScanItem{}}
	if err := s.knownDatastore(ctx, datastore); err != nil {
		return out, err
	}
	if err := s.online(ctx, datastore, req.Adopt); err != nil {
		return out, err
	}
	return do(ctx, s, "scanning datastore "+datastore, func(ctx context.Context) (wire.ScanResult, error) {
		known, groups, err := s.inCatalog(ctx, datastore)
		if err != nil {
			return out, err
		}
		if req.Dockvols {
			if out.Items, err = s.inherit(ctx, datastore, groups, req.Adopt); err != nil {
				return out, err
			}
		}
		for disk, err := range s.o.Hypervisor.List(ctx, datastore) {
			if err != nil {
				out.Items = append(out.Items, wire.ScanItem{ID: disk.Volume, Action: scanCorrupt, Detail: errkind.Text(err)})
				continue
			}
			if r, ok := known[disk.Volume]; ok {
				delete(known, disk.Volume)
				out.Items = append(out.Items, knownItem(r, groups[r.Key.Group], disk))
				continue
			}
			out.Items = append(out.Items, s.scanOne(ctx, c, disk, req.Adopt))
		}
		for _, r := range known {
			if r.State == volspec.Creating || r.Op.Kind != "" {
				continue // its disk comes or goes at this moment
			}
			out.Items = append(out.Items, wire.ScanItem{ID: r.ID, Name: r.Name().String(), Group: groups[r.Key.Group], Size: int64(r.Size), Action: scanMissing,
				Detail: "the catalog has this volume, the datastore does not: restore the file, or remove the volume"})
		}
		return out, nil
	})
}

func (s *Service) knownDatastore(ctx context.Context, name string) error {
	stores, err := s.o.Hypervisor.Datastores(ctx)
	if err != nil {
		return err
	}
	for _, d := range stores {
		if d.Name == name && name != volspec.PointsDatastore {
			return nil
		}
	}
	return errkind.New(errkind.NotFound, "Datastore %s does not exist", name)
}

// inCatalog are the volumes of a datastore in the catalog, and the names of
// all vmgroups.
func (s *Service) inCatalog(ctx context.Context, datastore string) (map[volspec.VolumeID]Record, map[volspec.VMGroupID]string, error) {
	known, groups := map[volspec.VolumeID]Record{}, map[volspec.VMGroupID]string{}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Volumes(Filter{Datastore: datastore})
		if err != nil {
			return err
		}
		for _, r := range all {
			if r.ViewOf == "" { // a view has no disk there
				known[r.ID] = r
			}
		}
		list, err := tx.Groups()
		for _, g := range list {
			groups[g.ID] = g.Name
		}
		return err
	})
	return known, groups, err
}

func knownItem(r Record, group string, d hypervisor.Disk) wire.ScanItem {
	item := wire.ScanItem{ID: r.ID, Name: r.Name().String(), Group: group, Size: int64(d.Size), Action: scanKnown}
	switch {
	case d.Size != r.Size && r.Op.Kind == "":
		item.Detail = fmt.Sprintf("the disk is %s, the catalog says %s", d.Size, r.Size)
	case d.Meta == nil:
		item.Detail = "the metadata beside the disk is missing: it is written again"
	}
	return item
}

// scanOne describes, and with adopt takes in, one disk that the catalog does
// not know.
func (s *Service) scanOne(ctx context.Context, c volspec.Caller, d hypervisor.Disk, adopt bool) wire.ScanItem {
	item := wire.ScanItem{ID: d.Volume, Size: int64(d.Size), Action: scanCorrupt}
	if d.Meta == nil {
		item.Detail = "the disk has no metadata record beside it"
		return item
	}
	m, err := decodeMeta(d.Meta)
	if err == nil && m.ID != d.Volume {
		err = errkind.New(errkind.Corrupt, "the metadata record is of volume %s", m.ID)
	}
	if err != nil {
		item.Detail = errkind.Text(err)
		return item
	}
	item.Name, item.Group, item.Action = m.Name+"@"+d.Datastore, m.GroupName, scanAdoptable
	if m.State == volspec.Trashed {
		item.Detail = "in the trash"
	}
	if !adopt {
		return item
	}
	if err := s.adopt(ctx, c, d, m); err != nil {
		item.Action, item.Detail = scanConflict, errkind.Text(err)
		return item
	}
	item.Action = scanAdopted
	return item
}

func (s *Service) adopt(ctx context.Context, c volspec.Caller, d hypervisor.Disk, m meta) error {
	unlock, err := s.lock(ctx, lockKey{id: d.Volume}, "adoption")
	if err != nil {
		return err
	}
	defer unlock()
	group, err := s.o.RestoreGroup(ctx, m.Group, m.GroupName)
	if err != nil {
		return err
	}
	snaps, err := s.still(ctx, d, m)
	if err != nil {
		return err
	}
	r := adopted(d, m, group)
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if _, err := tx.Volume(r.ID); err == nil {
			return nil // another scan was quicker
		} else if !errkind.Is(err, errkind.NotFound) {
			return err
		}
		if err := tx.PutVolume(r); err != nil {
			return err
		}
		for _, sn := range snaps {
			if err := tx.PutSnapshot(Snapshot{ID: sn.ID, Volume: r.ID, Name: sn.Name, Size: volspec.Size(sn.Size), Created: sn.Created, Owner: sn.Owner}); err != nil {
				return err
			}
		}
		return tx.AddAudit(s.entry(ctx, c, m.GroupName, "datastore scan --adopt", r.Name().String()))
	})
	if errkind.Is(err, errkind.Exists) {
		return errkind.New(errkind.Exists, "vmgroup %s already has another volume %s: rename or remove that one, then scan again", m.GroupName, r.Name())
	}
	if err == nil {
		log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VMGroup, m.GroupName).Info("disk adopted into the catalog")
	}
	return err
}

// still are the snapshots of the metadata that are on the datastore. One of
// backup may have come or gone since the metadata was written.
func (s *Service) still(ctx context.Context, d hypervisor.Disk, m meta) ([]metaSnapshot, error) {
	sn, err := s.snapshotter()
	if err != nil || len(m.Snapshots) == 0 {
		return nil, nil //nolint:nilerr // without the ability there are none
	}
	ids, err := sn.Snapshots(ctx, d.Ref)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(m.Snapshots), func(sn metaSnapshot) bool { return !slices.Contains(ids, sn.ID) }), nil
}

// adopted is the pure half of adopt: what a disk and its metadata say.
func adopted(d hypervisor.Disk, m meta, group volspec.VMGroupID) Record {
	r := Record{
		ID: d.Volume, Key: Key{Group: group, Datastore: d.Datastore, Name: m.Name}, Home: d.Group,
		State: volspec.Ready, Format: m.Format, Size: d.Size, Spec: m.Spec, FSUUID: m.FSUUID, CloneFrom: m.CloneFrom,
		Created: m.Created, CreatedBy: m.CreatedBy, Used: d.Allocated, MetaStale: true,
		// Metadata is older than the last attach: jump ahead of any epoch in use.
		Holder: Holder{Epoch: max(m.Epoch, now().Unix())},
	}
	r.Spec.Size = d.Size
	if m.State != volspec.Ready {
		r.State, r.TrashedAt = volspec.Trashed, m.TrashedAt
		if r.TrashedAt.IsZero() {
			r.TrashedAt = now()
		}
	}
	// Only a disk that says blank and is empty may ever be formatted.
	if r.Format != volspec.Blank || (d.Allocated != 0 && r.Spec.DiskFormat == volspec.Thin) {
		r.Format = volspec.Formatted
	}
	return r
}
