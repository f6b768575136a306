package vsphere

import (
	"context"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// unit: first-class disks are made and grown by whole MiB. Plain VMDKs could do
// with less, but then one could not become a first-class disk of the same size.
const unit = volspec.MiB

// Datastores implements hypervisor.Datastores. One that is offered but that
// vCenter does not show is offline.
func (v *VSphere) Datastores(ctx context.Context) ([]hypervisor.Datastore, error) {
	found, err := v.inv.Datastores(ctx)
	if err != nil {
		return nil, err
	}
	var all []hypervisor.Datastore
	missing := slices.Clone(v.o.Datastores)
	for _, d := range found {
		if !v.offered(d.Name) {
			continue
		}
		missing = slices.DeleteFunc(missing, func(name string) bool { return name == d.Name })
		all = append(all, v.store(d))
	}
	for _, name := range missing {
		all = append(all, hypervisor.Datastore{Name: name, State: hypervisor.Offline, Detail: "vCenter does not show it: check its name and the permissions of the user"})
	}
	slices.SortFunc(all, func(a, b hypervisor.Datastore) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all, nil
}

func (v *VSphere) offered(name string) bool {
	return len(v.o.Datastores) == 0 || slices.Contains(v.o.Datastores, name)
}

func (v *VSphere) store(d vcenter.Datastore) hypervisor.Datastore {
	s := hypervisor.Datastore{
		Name: d.Name, ID: d.URL, Type: d.Type, Path: "[" + d.Name + "] " + root,
		Capacity: volspec.Size(d.Capacity), Free: volspec.Size(d.Free), Unit: unit,
		Reflink: v.o.Disk == FCD, State: hypervisor.Online,
	}
	switch {
	case !d.Accessible:
		s.State, s.Detail = hypervisor.Offline, "no host reaches it"
	case d.Maintenance:
		s.State, s.Detail = hypervisor.ReadOnlyStore, "it is in maintenance mode"
	case !d.Writable:
		s.State, s.Detail = hypervisor.ReadOnlyStore, "no host may write to it"
	}
	return s
}

// place finds the datastore of r for work that changes it, or not. Unknown or
// not offered: not-found. Offline, or read-only for a change: unavailable.
func (v *VSphere) place(ctx context.Context, r hypervisor.Ref, change bool) (vcenter.Datastore, error) {
	if err := r.Check(); err != nil {
		return vcenter.Datastore{}, err
	}
	return v.datastore(ctx, r.Datastore, change)
}

func (v *VSphere) datastore(ctx context.Context, name string, change bool) (vcenter.Datastore, error) {
	if !v.offered(name) {
		return vcenter.Datastore{}, errkind.New(errkind.NotFound, "no datastore %q: see the list of datastores", name)
	}
	d, err := v.inv.Datastore(ctx, name)
	if errkind.Is(err, errkind.NotFound) && len(v.o.Datastores) > 0 {
		return d, errkind.New(errkind.Unavailable, "datastore %q is offline: vCenter does not show it; check its name and the permissions of the user", name)
	}
	if err != nil {
		return d, err
	}
	s := v.store(d)
	if s.State == hypervisor.Offline || change && s.State != hypervisor.Online {
		return d, errkind.New(errkind.Unavailable, "datastore %q is %s: %s; bring it back and repeat", name, s.State, s.Detail)
	}
	return d, nil
}
