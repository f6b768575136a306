package volume

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"path"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// ListFilter selects volumes. Group is a glob over vmgroup names and only for
// the admin; a guest sees its own vmgroup.
type ListFilter struct {
	Group     string
	State     string // a state, "" for live volumes, "all"
	Datastore string
	After     string // cursor of the page before
	Limit     int    // 0: all
}

var live = []volspec.State{volspec.Creating, volspec.Ready}

// Get describes one volume. Absent, and in another vmgroup: errkind.NotFound
// in the same words.
func (s *Service) Get(ctx context.Context, c volspec.Caller, group, name string) (wire.Volume, error) {
	r, t, err := s.find(ctx, c, group, name, volspec.DoMount)
	if errkind.Is(err, errkind.Denied) && s.unknown(ctx, t.key) {
		err = absent(t.name)
	}
	if errkind.Is(err, errkind.NotFound) && c.Names() {
		if t, e := s.trashed(ctx, c, group, name); e == nil {
			r, err = t, nil
		}
	}
	if err != nil {
		return wire.Volume{}, err
	}
	v, err := s.present(ctx, r)
	if err == nil {
		v.Backup = s.summary(ctx, r)
	}
	return v, err
}

// unknown reports whether the caller's vmgroup certainly has no volume k. A
// volume that is there but may not be used must not be called absent: Docker
// would forget it. One that is not there must be, without a right to its
// datastore too: Docker asks before each create, and takes a refusal for a
// driver that does not answer.
func (s *Service) unknown(ctx context.Context, k Key) bool {
	if k.Name == "" { // not even the name could be resolved
		return false
	}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		_, err := tx.VolumeByKey(k)
		return err
	})
	return errkind.Is(err, errkind.NotFound)
}

// List lists volumes, ordered by vmgroup, name and datastore. A VM without
// vmgroup sees none.
func (s *Service) List(ctx context.Context, c volspec.Caller, f ListFilter) (wire.VolumeList, error) {
	filter, err := f.records()
	if err != nil {
		return wire.VolumeList{}, err
	}
	out := wire.VolumeList{Volumes: []wire.Volume{}}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = wire.VolumeList{Volumes: []wire.Volume{}}
		groups, err := visible(tx, c, f.Group)
		if err != nil || len(groups) == 0 {
			return err
		}
		if len(groups) == 1 {
			for id := range groups {
				filter.Group = id
			}
		}
		records, err := tx.Volumes(filter)
		for _, r := range records {
			if g, ok := groups[r.Key.Group]; ok {
				out.Volumes = append(out.Volumes, toWire(r, g.Name, s.o.TrashKeep))
			}
		}
		if f.Limit > 0 && len(records) == f.Limit {
			last := records[len(records)-1]
			out.Next = Cursor{last.Key.Group, last.Key.Name, last.Key.Datastore, last.ID}.encode()
		}
		return err
	})
	return out, err
}

func (f ListFilter) records() (Filter, error) {
	out := Filter{Datastore: f.Datastore, Limit: f.Limit}
	switch st := volspec.State(f.State); {
	case f.State == "":
		out.States = live
	case f.State == "all":
	case st == volspec.Creating || st == volspec.Ready || st == volspec.Trashed || st == volspec.Deleting:
		out.States = []volspec.State{st}
	default:
		return out, errkind.New(errkind.Invalid, "state %q is not valid: use creating, ready, trashed, deleting or all", f.State)
	}
	if f.After != "" {
		data, err := base64.RawURLEncoding.DecodeString(f.After)
		if err == nil {
			err = json.Unmarshal(data, &out.After)
		}
		if err != nil || out.After.ID == "" {
			return out, errkind.New(errkind.Invalid, "the cursor %q is not one that a listing gave", f.After)
		}
	}
	return out, nil
}

func (c Cursor) encode() string {
	data, _ := json.Marshal(c) // strings only: cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

// visible are the vmgroups whose volumes the caller may list.
func visible(tx Tx, c volspec.Caller, glob string) (map[volspec.VMGroupID]volspec.VMGroup, error) {
	out := map[volspec.VMGroupID]volspec.VMGroup{}
	if !c.Names() {
		g, err := tx.GroupOfVM(c.VM)
		if errkind.Is(err, errkind.NotFound) || g.Removing {
			return out, nil
		}
		out[g.ID] = g
		return out, err
	}
	all, err := tx.Groups()
	for _, g := range all {
		if glob != "" {
			if ok, e := path.Match(glob, g.Name); e != nil {
				return nil, errkind.New(errkind.Invalid, "vmgroup pattern %q is not valid: use * and ? and [a-z]", glob)
			} else if !ok {
				continue
			}
		}
		out[g.ID] = g
	}
	return out, err
}

// present is r as the API shows it.
func (s *Service) present(ctx context.Context, r Record) (v wire.Volume, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		rights, err := tx.Rights(r.Key.Group)
		if err != nil {
			return err
		}
		snaps, err := tx.Snapshots(r.ID)
		v = toWire(r, rights.Group.Name, s.o.TrashKeep)
		v.Snapshots = len(usersOnly(snaps))
		return err
	})
	return v, err
}

// VMs lists the VMs of the hypervisor with what is known of them here.
func (s *Service) VMs(ctx context.Context) ([]wire.VM, error) {
	machines, err := s.o.Hypervisor.VMs(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]wire.VM, 0, len(machines))
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = out[:0]
		held, err := tx.Volumes(Filter{Held: true})
		if err != nil {
			return err
		}
		attached := map[volspec.VMID]int{}
		for _, r := range held {
			attached[r.Holder.VM]++
		}
		for _, m := range machines {
			vm := wire.VM{ID: m.ID, Name: m.Name, Datastore: m.Datastore, Power: string(m.Power), Channel: m.Socket, Attached: attached[m.ID]}
			g, err := tx.GroupOfVM(m.ID)
			if err != nil && !errkind.Is(err, errkind.NotFound) {
				return err
			}
			vm.VMGroup = g.Name
			s.mu.Lock()
			vm.LastSeen, vm.Plugin = s.seen[m.ID].at, s.seen[m.ID].plugin
			s.mu.Unlock()
			out = append(out, vm)
		}
		return nil
	})
	return out, err
}

// Datastores lists the datastores with what volumes take of them.
func (s *Service) Datastores(ctx context.Context) ([]wire.Datastore, error) {
	stores, err := s.stores(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]wire.Datastore, 0, len(stores))
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = out[:0]
		for _, d := range stores {
			if d.Name == volspec.PointsDatastore {
				continue // holds no volumes
			}
			u, err := tx.Provisioned(d.Name)
			if err != nil {
				return err
			}
			w := presentStore(d)
			w.Volumes, w.Allocated = u.Volumes, int64(u.Bytes)
			out = append(out, w)
		}
		return nil
	})
	return out, err
}

func presentStore(d hypervisor.Datastore) wire.Datastore {
	return wire.Datastore{
		Name: d.Name, ID: d.ID, Type: d.Type, Path: d.Path, Capacity: int64(d.Capacity), Free: int64(d.Free),
		Reflink: d.Reflink, State: string(d.State), Detail: d.Detail,
	}
}
