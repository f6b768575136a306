package volume

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// inherit lists the volumes of an old installation on a datastore. With adopt
// they become disks of ours with a record beside them, so that a scan takes
// them in, and only those are listed that could not.
func (s *Service) inherit(ctx context.Context, datastore string, groups map[volspec.VMGroupID]string, adopt bool) ([]wire.ScanItem, error) {
	items := []wire.ScanItem{}
	h, ok := hypervisor.As[hypervisor.OldVolumes](s.o.Hypervisor)
	if !ok {
		return items, errkind.New(errkind.Unsupported, "datastore %s cannot have volumes of the vSphere Docker Volume Service: it is not on vSphere", datastore)
	}
	var record func(hypervisor.OldVolume) ([]byte, error)
	if adopt {
		record = recordOf
	}
	found, err := h.OldVolumes(ctx, datastore, groups, record)
	for _, o := range found {
		item := wire.ScanItem{ID: o.Volume, Name: o.Name + "@" + datastore, Group: o.GroupName, Size: int64(o.Size), Action: scanAdoptable, Detail: "at " + o.File}
		if o.Refusal == "" {
			if _, err := recordOf(o); err != nil {
				o.Refusal = errkind.Text(err)
			}
		}
		if o.Note != "" {
			item.Detail += ": " + o.Note
		}
		switch {
		case o.Refusal != "":
			item.Action, item.Detail = scanRefused, o.File+": "+o.Refusal
		case adopt:
			continue // the scan finds it
		}
		items = append(items, item)
	}
	return items, err
}

// recordOf is the metadata record with which the disk of an old volume is
// adopted. It is formatted: nothing of ours ever makes a filesystem on it. What
// a scan would not believe is invalid.
func recordOf(o hypervisor.OldVolume) ([]byte, error) {
	r := Record{
		ID: o.Volume, Key: Key{Group: o.Group, Name: o.Name}, State: volspec.Ready, Format: volspec.Formatted,
		Size: o.Size, Spec: o.Spec, Created: o.Created, CreatedBy: o.CreatedBy,
	}
	r.Spec.Size = o.Size
	if r.Created.IsZero() {
		r.Created = now()
	}
	if r.CreatedBy == "" {
		r.CreatedBy = "admin"
	}
	data, err := encodeMeta(r, o.GroupName, nil)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "encode metadata")
	}
	if _, err := decodeMeta(data); err != nil {
		return nil, errkind.New(errkind.Invalid, "volume %q cannot be adopted: %s", o.Name, errkind.Text(err))
	}
	return data, nil
}
