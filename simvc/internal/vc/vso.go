package vc

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// vsoAPI is the same catalog as vslmAPI, by datastore, in the main interface.
type vsoAPI struct {
	api
	s *Server
}

func (a *vsoAPI) on(ds types.ManagedObjectReference, id string) (*fcd, types.BaseMethodFault) {
	f, _, fault := a.s.fcdByID(id)
	if fault == nil && a.s.store(f.Store).ref != ds {
		fault = notFound()
	}
	return f, fault
}

func (a *vsoAPI) task(ctx *simulator.Context, ds types.ManagedObjectReference, id, name string, f work) (types.ManagedObjectReference, *soap.Fault) {
	return a.s.fcdTask(ctx, id, name, func() (types.AnyType, types.BaseMethodFault) {
		if id != "" {
			if _, fault := a.on(ds, id); fault != nil {
				return nil, fault
			}
		}
		return f()
	})
}

// CreateDiskTask makes a first-class disk.
func (a *vsoAPI) CreateDiskTask(ctx *simulator.Context, req *types.CreateDisk_Task) soap.HasFault {
	body := &methods.CreateDisk_TaskBody{}
	ref, fault := a.task(ctx, types.ManagedObjectReference{}, "", "createDisk", func() (types.AnyType, types.BaseMethodFault) {
		f, fault := a.s.createFCD(&req.Spec)
		if fault != nil {
			return nil, fault
		}
		return a.s.describeFCD(f), nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.CreateDisk_TaskResponse{Returnval: ref}
	}
	return body
}

// DeleteVStorageObjectTask deletes one.
func (a *vsoAPI) DeleteVStorageObjectTask(ctx *simulator.Context, req *types.DeleteVStorageObject_Task) soap.HasFault {
	body := &methods.DeleteVStorageObject_TaskBody{}
	ref, fault := a.task(ctx, req.Datastore, req.Id.Id, "deleteVStorageObject", func() (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.deleteFCD(req.Id.Id)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.DeleteVStorageObject_TaskResponse{Returnval: ref}
	}
	return body
}

// ExtendDiskTask enlarges one.
func (a *vsoAPI) ExtendDiskTask(ctx *simulator.Context, req *types.ExtendDisk_Task) soap.HasFault {
	body := &methods.ExtendDisk_TaskBody{}
	ref, fault := a.task(ctx, req.Datastore, req.Id.Id, "extendDisk", func() (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.extendFCD(ctx, req.Id.Id, req.NewCapacityInMB)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.ExtendDisk_TaskResponse{Returnval: ref}
	}
	return body
}

// RegisterDisk makes a disk that exists a first-class one.
func (a *vsoAPI) RegisterDisk(_ *simulator.Context, req *types.RegisterDisk) soap.HasFault {
	body := &methods.RegisterDiskBody{}
	f, fault := a.s.registerURL(req.Path, req.Name)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.RegisterDiskResponse{Returnval: a.s.describeFCD(f)}
	return body
}

// RetrieveVStorageObject describes one.
func (a *vsoAPI) RetrieveVStorageObject(_ *simulator.Context, req *types.RetrieveVStorageObject) soap.HasFault {
	body := &methods.RetrieveVStorageObjectBody{}
	f, fault := a.on(req.Datastore, req.Id.Id)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.RetrieveVStorageObjectResponse{Returnval: a.s.describeFCD(f)}
	return body
}

// ListVStorageObject lists the ids on a datastore.
func (a *vsoAPI) ListVStorageObject(_ *simulator.Context, req *types.ListVStorageObject) soap.HasFault {
	body := &methods.ListVStorageObjectBody{}
	st := a.s.storeOf(req.Datastore)
	if st == nil {
		body.Fault_ = simulator.Fault("", &types.InvalidDatastore{Datastore: &req.Datastore})
		return body
	}
	body.Res = &types.ListVStorageObjectResponse{}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for id, f := range a.s.fcds {
		if f.Store == st.name {
			body.Res.Returnval = append(body.Res.Returnval, types.ID{Id: id})
		}
	}
	sortBy(body.Res.Returnval, func(id types.ID) string { return id.Id })
	return body
}

// RenameVStorageObject changes a name.
func (a *vsoAPI) RenameVStorageObject(_ *simulator.Context, req *types.RenameVStorageObject) soap.HasFault {
	body := &methods.RenameVStorageObjectBody{}
	_, fault := a.on(req.Datastore, req.Id.Id)
	if fault == nil {
		fault = a.s.renameFCD(req.Id.Id, req.Name)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.RenameVStorageObjectResponse{}
	return body
}

// SetVStorageObjectControlFlags adds flags.
func (a *vsoAPI) SetVStorageObjectControlFlags(_ *simulator.Context, req *types.SetVStorageObjectControlFlags) soap.HasFault {
	body := &methods.SetVStorageObjectControlFlagsBody{}
	_, fault := a.on(req.Datastore, req.Id.Id)
	if fault == nil {
		fault = a.s.setFlags(req.Id.Id, req.ControlFlags, true)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.SetVStorageObjectControlFlagsResponse{}
	return body
}

// ClearVStorageObjectControlFlags takes flags away.
func (a *vsoAPI) ClearVStorageObjectControlFlags(_ *simulator.Context, req *types.ClearVStorageObjectControlFlags) soap.HasFault {
	body := &methods.ClearVStorageObjectControlFlagsBody{}
	_, fault := a.on(req.Datastore, req.Id.Id)
	if fault == nil {
		fault = a.s.setFlags(req.Id.Id, req.ControlFlags, false)
	}
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.ClearVStorageObjectControlFlagsResponse{}
	return body
}

// VCenterUpdateVStorageObjectMetadataExTask changes what is noted of a disk.
func (a *vsoAPI) VCenterUpdateVStorageObjectMetadataExTask(ctx *simulator.Context, req *types.VCenterUpdateVStorageObjectMetadataEx_Task) soap.HasFault {
	body := &methods.VCenterUpdateVStorageObjectMetadataEx_TaskBody{}
	ref, fault := a.task(ctx, req.Datastore, req.Id.Id, "updateVStorageObjectMetadataEx", func() (types.AnyType, types.BaseMethodFault) {
		return nil, a.s.updateMetadata(req.Id.Id, req.Metadata, req.DeleteKeys)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VCenterUpdateVStorageObjectMetadataEx_TaskResponse{Returnval: ref}
	}
	return body
}

// ReconcileDatastoreInventoryTask drops disks whose files are gone.
func (a *vsoAPI) ReconcileDatastoreInventoryTask(ctx *simulator.Context, req *types.ReconcileDatastoreInventory_Task) soap.HasFault {
	body := &methods.ReconcileDatastoreInventory_TaskBody{}
	ref, fault := a.task(ctx, req.Datastore, "", "reconcileDatastoreInventory", func() (types.AnyType, types.BaseMethodFault) {
		if st := a.s.storeOf(req.Datastore); st != nil {
			a.s.reconcile(st)
		}
		return nil, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.ReconcileDatastoreInventory_TaskResponse{Returnval: ref}
	}
	return body
}
