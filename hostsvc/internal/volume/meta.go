package volume

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// metaVersion is the version of the metadata record beside each disk. Fields
// are only ever added; a reader refuses a version above its own.
const metaVersion = 1

// maxMeta bounds what is believed to be a metadata record.
const maxMeta = 1 << 20

// meta is the record beside each disk: what cannot be found out from the disk
// itself, so that a lost catalog can be rebuilt. Attachments are not in it:
// the hypervisor knows them.
type meta struct {
	Version   int               `json:"version"`
	ID        volspec.VolumeID  `json:"id"`
	Name      string            `json:"name"`
	Group     volspec.VMGroupID `json:"vmgroup_id"`
	GroupName string            `json:"vmgroup"`
	State     volspec.State     `json:"state"`
	Format    volspec.Format    `json:"format"`
	Size      int64             `json:"size"`
	Spec      volspec.Spec      `json:"spec"`
	FSUUID    string            `json:"fs_uuid,omitempty"`
	CloneFrom string            `json:"clone_from,omitempty"`
	Created   time.Time         `json:"created"`
	CreatedBy string            `json:"created_by"`
	TrashedAt time.Time         `json:"trashed_at,omitzero"`
	Epoch     int64             `json:"epoch"`
	Snapshots []metaSnapshot    `json:"snapshots,omitempty"`
}

type metaSnapshot struct {
	ID      volspec.SnapshotID `json:"id"`
	Name    string             `json:"name"`
	Size    int64              `json:"size"`
	Created time.Time          `json:"created"`
	Owner   string             `json:"owner,omitempty"` // see Snapshot
}

func encodeMeta(r Record, groupName string, snaps []Snapshot) ([]byte, error) {
	m := meta{
		Version: metaVersion, ID: r.ID, Name: r.Key.Name, Group: r.Key.Group, GroupName: groupName,
		State: r.State, Format: r.Format, Size: int64(r.Size), Spec: r.Spec, FSUUID: r.FSUUID,
		CloneFrom: r.CloneFrom, Created: r.Created, CreatedBy: r.CreatedBy, TrashedAt: r.TrashedAt, Epoch: r.Holder.Epoch,
	}
	for _, s := range snaps {
		m.Snapshots = append(m.Snapshots, metaSnapshot{ID: s.ID, Name: s.Name, Size: int64(s.Size), Created: s.Created, Owner: s.Owner})
	}
	return json.MarshalIndent(m, "", "  ")
}

// decodeMeta reads a metadata record and checks all that is later believed.
// Anything wrong is errkind.Corrupt. Unknown fields of the same version are
// ignored: they are additions of a newer release.
func decodeMeta(data []byte) (meta, error) {
	var m meta
	if len(data) > maxMeta {
		return m, errkind.New(errkind.Corrupt, "the metadata record is larger than %d bytes", maxMeta)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&m); err != nil {
		return m, errkind.New(errkind.Corrupt, "the metadata record is not valid JSON: %v", err)
	}
	switch {
	case m.Version < 1 || m.Version > metaVersion:
		return m, errkind.New(errkind.Corrupt, "the metadata record has version %d, this mooringd knows up to %d", m.Version, metaVersion)
	case m.Size <= 0 || m.Size > int64(volspec.MaxSize):
		return m, errkind.New(errkind.Corrupt, "the metadata record names an impossible size %d", m.Size)
	case m.ID == "" || m.Group == "":
		return m, errkind.New(errkind.Corrupt, "the metadata record lacks the volume's or the vmgroup's id")
	case m.State != volspec.Ready && m.State != volspec.Trashed && m.State != volspec.Deleting:
		return m, errkind.New(errkind.Corrupt, "the metadata record has an unknown state %q", m.State)
	}
	n, err := volspec.ParseName(m.Name)
	if err != nil || n.Datastore != "" && n.String() != m.Name {
		return m, errkind.New(errkind.Corrupt, "the metadata record has an invalid volume name %q", m.Name)
	}
	if err := volspec.CheckVMGroupName(m.GroupName); err != nil {
		return m, errkind.New(errkind.Corrupt, "the metadata record has an invalid vmgroup name %q", m.GroupName)
	}
	asked := withoutSource(m.Spec)
	asked.Size = 0 // checked above: a filesystem that is there may be smaller than one that is made
	if _, err := volspec.ParseOptions(asked.Options()); err != nil {
		return m, errkind.Wrap(errkind.Corrupt, err, "the metadata record has invalid options")
	}
	return m, nil
}

// withoutSource is s as if it were not a copy, whose size and filesystem may
// not be given by a user but are recorded.
func withoutSource(s volspec.Spec) volspec.Spec {
	s.CloneFrom, s.FromSnapshot, s.RestoreFrom, s.ViewOf = "", "", "", ""
	return s
}

// putMeta writes the record beside r's disk. A view has no disk.
func (s *Service) putMeta(ctx context.Context, r Record) error {
	if r.ViewOf != "" {
		return nil
	}
	var group string
	var snaps []Snapshot
	err := s.o.Store.View(ctx, func(tx Tx) error {
		rights, err := tx.Rights(r.Key.Group)
		if err != nil {
			return err
		}
		group = rights.Group.Name
		snaps, err = tx.Snapshots(r.ID)
		return err
	})
	if err != nil {
		return err
	}
	data, err := encodeMeta(r, group, snaps)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "encode metadata")
	}
	return s.o.Hypervisor.PutMeta(ctx, r.ref(), data)
}

// refreshMeta brings the metadata up to r and records that it is. The
// volume's lock is held.
func (s *Service) refreshMeta(ctx context.Context, r Record) error {
	if err := s.putMeta(ctx, r); err != nil {
		return err
	}
	_, err := s.update(ctx, r.ID, func(_ Tx, r *Record) error {
		r.MetaStale = false
		return nil
	})
	return err
}
