package dockvols

import (
	"context"
	"fmt"
	"path"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/descriptor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Store is one datastore.
type Store interface {
	// ID stays with the storage, not with its name.
	ID(ctx context.Context) (string, error)
	// Files are all files in a folder and below. No such folder: none.
	Files(ctx context.Context, folder string) ([]File, error)
	// Read reads the beginning of a file.
	Read(ctx context.Context, file string, limit int64) ([]byte, error)
	// Users are the names of the VMs that have disks from a folder, by file.
	Users(ctx context.Context, folder string) (map[string]string, error)
	// Take makes a disk of the datastore the disk r, where it lay nothing is
	// left. A disk r that is there already: exists.
	Take(ctx context.Context, file string, r hypervisor.Ref) error
	hypervisor.Metadata
}

// Action says what becomes of a volume.
type Action string

// What a plan and a run say of one volume.
const (
	Adoptable Action = "adoptable" // would be taken over
	Adopted   Action = "adopted"   // was taken over
	Refused   Action = "refused"   // cannot be, see the detail
)

// Item is a volume and what becomes of it.
type Item struct {
	Volume
	Action Action
	Detail string
}

// Options are the settings of an adoption.
type Options struct {
	Datastore string // its name
	// Names are of vmgroups, by id, for those that the datastore does not tell;
	// a name made from the id otherwise.
	Names map[volspec.VMGroupID]string
	// Record makes the metadata record of a volume, from which a scan takes it
	// into the catalog.
	Record func(Volume) ([]byte, error)
}

// Plan says of every volume whether it can be taken over. It changes nothing.
func Plan(ctx context.Context, s Store, o Options) ([]Item, error) {
	files, err := s.Files(ctx, Root)
	if err != nil {
		return nil, err
	}
	users, err := s.Users(ctx, Root)
	if err != nil {
		return nil, err
	}
	id, err := s.ID(ctx)
	if err != nil {
		return nil, err
	}
	t := arrange(files)
	items := make([]Item, 0, len(t.disks))
	for _, disk := range t.disks {
		i, err := planOne(ctx, s, o, t, disk)
		if err != nil {
			return nil, err
		}
		i.ID = idOf(id, disk)
		if vm := userOf(users, disk); vm != "" {
			i.Action, i.Detail = Refused, fmt.Sprintf("VM %s has it: stop its containers and detach it first", vm)
		}
		items = append(items, i)
	}
	return items, nil
}

// userOf is the VM that has a disk, by itself or by a child of it.
func userOf(users map[string]string, disk string) string {
	if vm := users[disk]; vm != "" {
		return vm
	}
	for file, vm := range users {
		if m := delta.FindStringSubmatch(file); m != nil && m[1]+".vmdk" == disk {
			return vm
		}
	}
	return ""
}

// planOne plans one disk. An error is one of the datastore; what is wrong with
// the disk is in the item.
func planOne(ctx context.Context, s Store, o Options, t tree, disk string) (Item, error) {
	i := Item{Action: Adoptable, Volume: Volume{File: disk, Name: strings.TrimSuffix(path.Base(disk), ".vmdk")}}
	i.Group, i.GroupName = t.groupOf(disk, o.Names)
	refuse := func(format string, args ...any) (Item, error) {
		i.Action, i.Detail = Refused, fmt.Sprintf(format, args...)
		return i, nil
	}
	text, err := s.Read(ctx, disk, descriptor.Limit)
	if err != nil {
		return i, err
	}
	d, err := descriptor.Parse(text)
	if err != nil {
		return refuse("%s", errkind.Text(err))
	}
	i.Size = volspec.Size(d.Size)
	n, err := volspec.ParseName(i.Name)
	switch {
	case err != nil:
		return refuse("%s", errkind.Text(err))
	case n.Datastore != "":
		return refuse("a volume's name cannot have an @: rename its files first")
	case t.deltas[disk] || d.Parent:
		return refuse("it has snapshots: delete the snapshots of the VM that had it, or consolidate its disks, first")
	}
	var facts side
	if file, ok := t.sideOf(disk); !ok {
		i.Detail = "it has no metadata: its options are the defaults"
	} else if text, err = s.Read(ctx, file, maxSide); err != nil {
		return i, err
	} else if facts, err = parseSide(text); err != nil {
		i.Detail = errkind.Text(err) + ": its options are the defaults"
	}
	if facts.Status == "attached" && i.Detail == "" {
		i.Detail = fmt.Sprintf("its metadata says that VM %s has it, which is not so any more", facts.AttachedVMName)
	}
	var left []string
	if i.Spec, left = facts.spec(i.Size); len(left) > 0 {
		i.Detail = "left out: " + strings.Join(left, ", ")
	}
	i.Created, i.CreatedBy = facts.created(), facts.CreatedBy
	return i, nil
}

// Adopt takes over all volumes that Plan finds adoptable. It goes on after one
// that fails, and can be repeated: what broke off is completed. Afterwards a
// scan of the datastore with adoption takes them into the catalog.
func Adopt(ctx context.Context, s Store, o Options) ([]Item, error) {
	items, err := Plan(ctx, s, o)
	if err != nil {
		return nil, err
	}
	for n := range items {
		i := &items[n]
		if i.Action != Adoptable {
			continue
		}
		if err := adoptOne(ctx, s, o, i.Volume); err != nil {
			if ctx.Err() != nil {
				return items, err
			}
			i.Action, i.Detail = Refused, errkind.Text(err)
			continue
		}
		i.Action = Adopted
	}
	return items, nil
}

// adoptOne writes the record before the disk is moved to it: alone a record is
// no disk, and a disk without one could not be taken into the catalog.
func adoptOne(ctx context.Context, s Store, o Options, v Volume) error {
	record, err := o.Record(v)
	if err != nil {
		return err
	}
	r := hypervisor.Ref{Datastore: o.Datastore, Group: v.Group, Volume: v.ID}
	if err := s.PutMeta(ctx, r, record); err != nil {
		return err
	}
	crashpoint.Here("dockvols.adopt.recorded")
	return s.Take(ctx, v.File, r)
}
