package vsphere

import (
	"context"
	"slices"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

// Scope says on which objects a privilege is needed.
type Scope string

// The scopes.
const (
	OnRoot       Scope = "vCenter"    // the root of the inventory
	OnDatastores Scope = "datastores" // each that is offered
	OnVMs        Scope = "VMs"        // each that is given volumes or is backed up
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
	out := map[Scope]named{OnRoot: {}, OnDatastores: {}, OnVMs: {}}
	for _, d := range stores {
		if v.offered(d.Name) {
			out[OnDatastores][d.Ref] = "datastore " + d.Name
		}
	}
	for _, m := range vms {
		out[OnVMs][m.Ref] = "VM " + m.Name
	}
	err = v.c.Do(ctx, "checking the privileges of the user", func(_ context.Context, vc *vim25.Client) error {
		out[OnRoot][vc.ServiceContent.RootFolder] = "vCenter " + v.c.Host()
		return nil
	})
	return out, err
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
