package volume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// target is a name in a caller's namespace with the facts about it.
type target struct {
	rights volspec.Rights
	name   volspec.Name // as written
	key    Key
}

// group finds the caller's vmgroup: that of the VM, or the one the admin
// names.
func callerGroup(tx Tx, c volspec.Caller, group string) (volspec.VMGroup, error) {
	if c.Names() {
		g, err := tx.GroupByName(group)
		if errkind.Is(err, errkind.NotFound) {
			err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", group)
		}
		return g, err
	}
	g, err := tx.GroupOfVM(c.VM)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.Denied, "VM %s does not belong to any vmgroup: ask the administrator to add it to one", c.VMName)
	}
	return g, err
}

// locate resolves name for a caller inside a transaction.
func (s *Service) locate(tx Tx, c volspec.Caller, group string, name volspec.Name, stores []string) (target, error) {
	g, err := callerGroup(tx, c, group)
	if err != nil {
		return target{}, err
	}
	if g.Removing && !c.Admin {
		return target{}, errkind.New(errkind.Denied, "VM %s does not belong to any vmgroup: its vmgroup is being removed", c.VMName)
	}
	rights, err := tx.Rights(g.ID)
	if err != nil {
		return target{}, err
	}
	ds, err := s.o.Resolve(rights, c, name)
	if err != nil {
		return target{}, err
	}
	if ds, err = canonical(stores, ds, c, rights); err != nil {
		return target{}, err
	}
	return target{rights: rights, name: name, key: Key{Group: g.ID, Datastore: ds, Name: name.Volume}}, nil
}

// canonical finds the datastore that is called ds, whatever the case of its
// letters. The refusal names the datastores on which the caller has rights.
func canonical(stores []string, ds string, c volspec.Caller, r volspec.Rights) (string, error) {
	var known, same []string
	for _, d := range stores {
		if d == ds {
			return ds, nil
		}
		if strings.EqualFold(d, ds) {
			same = append(same, d)
		}
		if usable(r, c, d) {
			known = append(known, d)
		}
	}
	switch {
	case len(same) == 1:
		return same[0], nil
	case len(same) > 1:
		return "", errkind.New(errkind.Invalid, "Found multiple datastores with same name (ignoring case difference): ['%s']: write it in its exact case", strings.Join(same, "', '"))
	}
	def := r.Group.DefaultDatastore
	if def == "" {
		def = volspec.VMDatastore
	}
	return "", errkind.New(errkind.Invalid, "Invalid datastore '%s'.\nKnown datastores: %s.\nDefault datastore: %s", ds, strings.Join(known, ", "), def)
}

func usable(r volspec.Rights, c volspec.Caller, datastore string) bool {
	if c.Admin {
		return true
	}
	return slices.ContainsFunc(r.Access, func(row volspec.Access) bool {
		return row.Datastore == datastore || row.Datastore == volspec.AllDatastores ||
			row.Datastore == volspec.VMDatastore && datastore == c.VMDatastore
	})
}

// check asks the tenancy rules about one action on a located name.
func (s *Service) check(tx Tx, c volspec.Caller, t target, do volspec.Action, add, full volspec.Size) error {
	u, err := tx.Usage(t.key.Group, t.key.Datastore)
	if err != nil {
		return err
	}
	return s.o.Check(t.rights, u, volspec.Request{
		Action: do, Name: t.name, Datastore: t.key.Datastore, Caller: c, Add: add, Full: full,
	})
}

func absent(n volspec.Name) error {
	return errkind.New(errkind.NotFound, "Volume %s not found", n)
}

// find resolves name, checks the right to do and reads the record.
func (s *Service) find(ctx context.Context, c volspec.Caller, group, name string, action volspec.Action) (Record, target, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return Record{}, target{}, err
	}
	stores, err := s.storeNames(ctx)
	if err != nil {
		return Record{}, target{}, err
	}
	var r Record
	var t target
	err = s.o.Store.View(ctx, func(tx Tx) error {
		if t, err = s.locate(tx, c, group, n, stores); err != nil {
			return err
		}
		if err = s.check(tx, c, t, action, 0, 0); err != nil {
			return err
		}
		r, err = tx.VolumeByKey(t.key)
		if errkind.Is(err, errkind.NotFound) {
			return absent(n)
		}
		return err
	})
	return r, t, err
}

// findLocked is find for an operation: it returns with the volume's lock held
// and the record as it is under the lock.
func (s *Service) findLocked(ctx context.Context, c volspec.Caller, group, name string, action volspec.Action) (Record, target, func(), error) {
	r, t, err := s.find(ctx, c, group, name, action)
	if err != nil {
		return r, t, nil, err
	}
	unlock, err := s.lock(ctx, lockKey{id: r.ID}, string(action))
	if err != nil {
		return r, t, nil, err
	}
	// The volume may have been renamed, trashed or replaced meanwhile.
	again, t, err := s.find(ctx, c, group, name, action)
	if err == nil && again.ID != r.ID {
		err = errkind.New(errkind.Unavailable, "volume %s was replaced by another of the same name: repeat the command", t.name)
	}
	if err != nil {
		unlock()
		return r, t, nil, err
	}
	return again, t, unlock, nil
}

// namesTTL is how long the names of datastores are believed: a look-up of a
// volume must not look at every datastore. Work on a disk asks anew.
const namesTTL = time.Second

// known is what is remembered of datastores: the names of those that hold
// volumes, reachable or not, and the units of their sizes.
type known struct {
	names []string
	units map[string]volspec.Size
	at    time.Time
}

// storeNames are the names of all datastores that hold volumes, reachable or
// not.
func (s *Service) storeNames(ctx context.Context) ([]string, error) {
	k, err := s.knownStores(ctx)
	return k.names, err
}

// rounded is the size that a volume on a datastore gets for one that was asked
// for: what the quota counts is what the disk has.
func (s *Service) rounded(ctx context.Context, datastore string, size volspec.Size) (volspec.Size, error) {
	k, err := s.knownStores(ctx)
	if unit := k.units[datastore]; unit > 0 {
		size = hypervisor.RoundUp(size, unit)
	}
	return size, err
}

func (s *Service) knownStores(ctx context.Context) (known, error) {
	s.mu.Lock()
	k := s.known
	s.mu.Unlock()
	if time.Since(k.at) < namesTTL {
		return k, nil
	}
	list, err := s.o.Hypervisor.Datastores(ctx)
	if err != nil {
		return known{}, err
	}
	k = known{names: make([]string, 0, len(list)), units: map[string]volspec.Size{}, at: time.Now()}
	for _, d := range list {
		if d.Name != volspec.PointsDatastore {
			k.names = append(k.names, d.Name)
		}
		k.units[d.Name] = d.Unit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = k
	return k, nil
}

// online refuses work on a datastore that is away, is not the one the catalog
// knows by that name, or cannot be written.
func (s *Service) online(ctx context.Context, name string, write bool) error {
	stores, err := s.stores(ctx)
	if err != nil {
		return err
	}
	for _, d := range stores {
		if d.Name != name {
			continue
		}
		switch {
		case d.State == hypervisor.Offline && name == volspec.PointsDatastore:
			return errkind.Wrap(errkind.Unavailable, errors.New(d.Detail), "recovery points cannot be shown now: repeat the command in a moment, or copy the point with -o restore-from")
		case d.State == hypervisor.Offline:
			return errkind.Wrap(errkind.Unavailable, errors.New(d.Detail), "datastore %s is offline, the administrator finds the reason in `mooring datastore ls`", name)
		case write && d.State == hypervisor.ReadOnlyStore:
			return errkind.Wrap(errkind.Unavailable, errors.New(d.Detail), "datastore %s is read-only, the administrator finds the reason in `mooring datastore ls`", name)
		}
		return nil
	}
	if name == volspec.PointsDatastore {
		return errkind.New(errkind.Unsupported, "this host service cannot show recovery points: copy the point with -o restore-from")
	}
	return errkind.New(errkind.Unavailable, "datastore %s is not configured any more: put it back into the configuration of mooringd", name)
}

// stores lists the datastores as they may be used: one whose identity is not
// the known one counts as offline.
func (s *Service) stores(ctx context.Context) ([]hypervisor.Datastore, error) {
	list, err := s.o.Hypervisor.Datastores(ctx)
	if err != nil {
		return nil, err
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		for i, d := range list {
			id, err := tx.Datastore(d.Name)
			if err != nil {
				return err
			}
			if id != "" && d.ID != "" && d.ID != id {
				list[i].State = hypervisor.Offline
				list[i].Detail = fmt.Sprintf("%s holds datastore %s, expected %s: is another disk mounted there?", d.Path, d.ID, id)
			}
		}
		return nil
	})
	return list, err
}

func (s *Service) entry(ctx context.Context, c volspec.Caller, group, action, object string) Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Outcome, a.Request = now(), group, action, object, "ok", log.Request(ctx)
	return a
}
