package vsphere

import (
	"context"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Scope says on which objects a privilege is needed.
type Scope string

// The scopes.
const (
	OnRoot       Scope = "vCenter"    // the root of the inventory
	OnDatastores Scope = "datastores" // each that is offered
	OnObjects    Scope = "vSAN, vVol" // those of them that keep disks as objects
	OnVMs        Scope = "VMs"        // each that is given volumes or is backed up
	// Those where restored VMs are made.
	OnFolder   Scope = "VM folder" // of the datacenter
	OnPools    Scope = "resource pools"
	OnNetworks Scope = "networks"
)

// Privilege is one that the user in vCenter must have.
type Privilege struct {
	ID    string // as vSphere names it
	Scope Scope
	For   string // what cannot be done without it
}

// Privileges are the least that the user needs, by scope.
var Privileges = []Privilege{
	{"Sessions.ValidateSession", OnRoot, "first-class disks"},
	{"StorageProfile.View", OnRoot, "storage policies of volumes"},
	{"Datastore.AllocateSpace", OnDatastores, "creating and growing volumes"},
	{"Datastore.Browse", OnDatastores, "listing volumes"},
	{"Datastore.FileManagement", OnDatastores, "creating and deleting volumes, and the records beside them"},
	{"Datastore.Config", OnObjects, "making folders, which are objects there"},
	{"VirtualMachine.Config.AddExistingDisk", OnVMs, "attaching volumes"},
	{"VirtualMachine.Config.AddNewDisk", OnVMs, "restoring disks of VMs"},
	{"VirtualMachine.Config.AddRemoveDevice", OnVMs, "attaching volumes that need another SCSI controller"},
	{"VirtualMachine.Config.RemoveDisk", OnVMs, "detaching volumes"},
	{"VirtualMachine.Config.DiskExtend", OnVMs, "growing attached volumes"},
	{"VirtualMachine.Config.EditDevice", OnVMs, "growing attached volumes"},
	{"VirtualMachine.Config.AdvancedConfig", OnVMs, "admitting VMs, and showing guests the serials of their disks"},
	{"VirtualMachine.Config.ChangeTracking", OnVMs, "incremental backup of VMs"},
	{"VirtualMachine.Config.DiskLease", OnVMs, "backup of VMs"},
	{"VirtualMachine.State.CreateSnapshot", OnVMs, "backup of VMs"},
	{"VirtualMachine.State.RemoveSnapshot", OnVMs, "backup of VMs"},
	{"VirtualMachine.Provisioning.DiskRandomRead", OnVMs, "backup of VMs"},
	{"VirtualMachine.Provisioning.DiskRandomAccess", OnVMs, "restoring disks of VMs"},
	{"VirtualMachine.Provisioning.GetVmFiles", OnVMs, "backup of VMs"},
	{"VirtualMachine.Inventory.Create", OnFolder, "restoring whole VMs"},
	{"VirtualMachine.Inventory.Delete", OnFolder, "removing VMs whose restore broke off"},
	{"Resource.AssignVMToPool", OnPools, "restoring whole VMs"},
	{"VApp.Export", OnVMs, "backup of what lies on vSAN and vVols"},
	{"VApp.Import", OnPools, "restoring to vSAN and vVols"},
	{"Network.Assign", OnNetworks, "restoring whole VMs with their networks"},
}

// Lacking is a privilege that the user does not have.
type Lacking struct {
	Privilege
	On []string // names of the objects, in order
}

// CheckPrivileges asks vCenter which privileges the user lacks, and on what.
func (v *VSphere) CheckPrivileges(ctx context.Context) ([]Lacking, error) {
	objects, err := v.objects(ctx)
	if err != nil {
		return nil, err
	}
	lacks := map[string][]string{}
	for scope, named := range objects {
		if err := v.ask(ctx, scope, named, lacks); err != nil {
			return nil, err
		}
	}
	var out []Lacking
	for _, p := range Privileges {
		if on := lacks[p.ID]; len(on) > 0 {
			slices.Sort(on)
			out = append(out, Lacking{p, on})
		}
	}
	return out, nil
}

type named map[types.ManagedObjectReference]string

func (v *VSphere) objects(ctx context.Context) (map[Scope]named, error) {
	stores, err := v.inv.Datastores(ctx)
	if err != nil {
		return nil, err
	}
	vms, err := v.inv.VMs(ctx)
	if err != nil {
		return nil, err
	}
	networks, err := v.inv.Networks(ctx)
	if err != nil {
		return nil, err
	}
	out := map[Scope]named{OnRoot: {}, OnDatastores: {}, OnObjects: {}, OnVMs: {}, OnNetworks: {}}
	for _, d := range stores {
		if !v.offered(d.Name) {
			continue
		}
		out[OnDatastores][d.Ref] = "datastore " + d.Name
		if keepsObjects(d) {
			out[OnObjects][d.Ref] = "datastore " + d.Name
		}
	}
	for _, m := range vms {
		out[OnVMs][m.Ref] = "VM " + m.Name
	}
	for _, n := range networks {
		out[OnNetworks][n.Ref] = "network " + n.Name
	}
	if out[OnFolder], out[OnPools], err = v.makingPlaces(ctx); err != nil {
		return nil, err
	}
	err = v.c.Do(ctx, asking, func(_ context.Context, vc *vim25.Client) error {
		out[OnRoot][vc.ServiceContent.RootFolder] = "vCenter " + v.c.Host()
		return nil
	})
	return out, err
}

const asking = "checking the privileges of the user"

// makingPlaces are the folder and the resource pools in which VMs are made.
func (v *VSphere) makingPlaces(ctx context.Context) (folder, pools named, err error) {
	hosts, err := v.inv.Hosts(ctx)
	if err != nil {
		return nil, nil, err
	}
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = v.c.Read(ctx, asking, func(ctx context.Context, vc *vim25.Client) error {
		at, err := vmFolder(ctx, vc, dc.Reference())
		if err != nil {
			return err
		}
		folder, pools = named{at: "the folder of VMs"}, named{}
		for _, h := range hosts {
			pool, err := object.NewHostSystem(vc, h.Ref).ResourcePool(ctx)
			if err != nil {
				return err
			}
			pools[pool.Reference()] = "the resource pool of host " + h.Name
		}
		return nil
	})
	return folder, pools, err
}

// vmFolder is the folder of a datacenter's VMs.
func vmFolder(ctx context.Context, vc *vim25.Client, datacenter types.ManagedObjectReference) (types.ManagedObjectReference, error) {
	var found mo.Datacenter
	err := property.DefaultCollector(vc).RetrieveOne(ctx, datacenter, []string{"vmFolder"}, &found)
	return found.VmFolder, err
}

// ask adds to lacks who lacks what of a scope's privileges.
func (v *VSphere) ask(ctx context.Context, scope Scope, objects named, lacks map[string][]string) error {
	var ids []string
	for _, p := range Privileges {
		if p.Scope == scope {
			ids = append(ids, p.ID)
		}
	}
	var refs []types.ManagedObjectReference
	for ref := range objects {
		refs = append(refs, ref)
	}
	if len(refs) == 0 {
		return nil
	}
	granted, err := v.c.Privileges(ctx, refs, ids)
	if err != nil {
		return err
	}
	for _, e := range granted {
		for _, p := range e.PrivAvailability {
			if !p.IsGranted {
				lacks[p.PrivId] = append(lacks[p.PrivId], objects[e.Entity])
			}
		}
	}
	return nil
}
