package vcenter

import (
	"context"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Datastore is one datastore as it is now.
type Datastore struct {
	Ref         types.ManagedObjectReference
	Name        string
	Type        string // VMFS, NFS, NFS41, vsan, VVOL, ...
	URL         string // stays with the storage
	Capacity    int64
	Free        int64
	Accessible  bool
	Maintenance bool
	Writable    bool                           // for at least one host
	Hosts       []types.ManagedObjectReference // that reach it
}

// Host is one host that runs VMs.
type Host struct {
	Ref       types.ManagedObjectReference
	Name      string
	Sockets   int
	Connected bool
	// Maintenance is set while it takes no VMs.
	Maintenance bool
	Datastores  []types.ManagedObjectReference // that it reaches
}

// Network is what VMs can be connected to.
type Network struct {
	Ref  types.ManagedObjectReference
	Name string
}

// Datastores are all of the datacenter, by name.
func (i *Inventory) Datastores(ctx context.Context) ([]Datastore, error) {
	var found []mo.Datastore
	if err := i.c.collect(ctx, "listing the datastores", "Datastore", []string{"summary", "host"}, &found); err != nil {
		return nil, err
	}
	all := make([]Datastore, 0, len(found))
	for _, d := range found {
		all = append(all, datastore(d))
	}
	slices.SortFunc(all, func(a, b Datastore) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Datastore is the datastore with a name. Unknown: not-found.
func (i *Inventory) Datastore(ctx context.Context, name string) (Datastore, error) {
	all, err := i.Datastores(ctx)
	if err != nil {
		return Datastore{}, err
	}
	for _, d := range all {
		if d.Name == name {
			return d, nil
		}
	}
	return Datastore{}, errkind.New(errkind.NotFound, "no datastore %q: see the list of datastores", name)
}

func datastore(d mo.Datastore) Datastore {
	s := d.Summary
	out := Datastore{
		Ref: d.Self, Name: s.Name, Type: s.Type, URL: s.Url, Capacity: s.Capacity, Free: s.FreeSpace, Accessible: s.Accessible,
		Maintenance: s.MaintenanceMode != "" && s.MaintenanceMode != string(types.DatastoreSummaryMaintenanceModeStateNormal),
	}
	for _, h := range d.Host {
		if h.MountInfo.Accessible != nil && !*h.MountInfo.Accessible {
			continue
		}
		out.Hosts = append(out.Hosts, h.Key)
		if h.MountInfo.AccessMode == string(types.HostMountModeReadWrite) {
			out.Writable = true
		}
	}
	return out
}

// Hosts are all hosts of the datacenter, by name.
func (i *Inventory) Hosts(ctx context.Context) ([]Host, error) {
	var found []mo.HostSystem
	if err := i.c.collect(ctx, "listing the hosts", "HostSystem", []string{"name", "summary.hardware.numCpuPkgs", "runtime.connectionState", "runtime.inMaintenanceMode", "datastore"}, &found); err != nil {
		return nil, err
	}
	all := make([]Host, 0, len(found))
	for _, h := range found {
		out := Host{
			Ref: h.Self, Name: h.Name, Connected: h.Runtime.ConnectionState == types.HostSystemConnectionStateConnected,
			Maintenance: h.Runtime.InMaintenanceMode, Datastores: h.Datastore,
		}
		if h.Summary.Hardware != nil {
			out.Sockets = int(h.Summary.Hardware.NumCpuPkgs)
		}
		all = append(all, out)
	}
	slices.SortFunc(all, func(a, b Host) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Networks are all networks of the datacenter, by name.
func (i *Inventory) Networks(ctx context.Context) ([]Network, error) {
	var found []mo.Network
	if err := i.c.collect(ctx, "listing the networks", "Network", []string{"name"}, &found); err != nil {
		return nil, err
	}
	all := make([]Network, 0, len(found))
	for _, n := range found {
		all = append(all, Network{n.Self, n.Name})
	}
	slices.SortFunc(all, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}
