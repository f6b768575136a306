package vc

import (
	"net/url"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm/methods"
	vslmsim "github.com/vmware/govmomi/vslm/simulator"
	"github.com/vmware/govmomi/vslm/types"
)

// vslmAPI is the global catalog of first-class disks, at /vslm/sdk.
type vslmAPI struct {
	api
	s *Server
}

// vslm registers the endpoint, with our object before the simulator's.
func (s *Server) vslm() {
	r := vslmsim.New()
	own := &vslmAPI{api: named("vslm"), s: s}
	r.Put(own)
	names := methodsOf(own)
	r.Handler = func(_ *simulator.Context, call *simulator.Method) (mo.Reference, vim.BaseMethodFault) {
		// The objects of this registry are not in the sessions', which are asked
		// later: here the handler's answer holds.
		if _, ok := names[call.Name]; ok && call.This.Type == "VslmVStorageObjectManager" {
			return own, nil
		}
		return nil, nil
	}
	s.svc.RegisterSDK(r)
}

// task runs work as a task that both endpoints know, the only one of its disk.
func (a *vslmAPI) task(ctx *simulator.Context, id, name string, f work) (vim.ManagedObjectReference, *soap.Fault) {
	vctx := ctx.For(vim25.Path)
	ref, fault := a.s.fcdTask(vctx, id, name, f)
	if fault != nil {
		return ref, fault
	}
	return wrapTask(ctx, ref), nil
}

func wrapTask(ctx *simulator.Context, ref vim.ManagedObjectReference) vim.ManagedObjectReference {
	return ctx.Map.Put(&vslmsim.VslmTask{
		ManagedObjectReference: vim.ManagedObjectReference{Type: "VslmTask", Value: ref.Value},
	}).Reference()
}

// fcdTask runs work as the only task of a first-class disk; a new one has no id.
func (s *Server) fcdTask(ctx *simulator.Context, id, name string, f work) (vim.ManagedObjectReference, *soap.Fault) {
	var release func()
	self := vim.ManagedObjectReference{Type: "VStorageObject", Value: id}
	if id != "" {
		var fault vim.BaseMethodFault
		if release, fault = s.claim(name, self); fault != nil {
			return self, simulator.Fault("", fault)
		}
	} else {
		self.Value = name
	}
	return s.task(ctx, self, name, release, func() (vim.AnyType, vim.BaseMethodFault) {
		res, fault := f()
		for _, st := range s.stores {
			s.publishStore(ctx, st)
		}
		return res, fault
	}), nil
}

func (a *vslmAPI) made(f *fcd, fault vim.BaseMethodFault) (vim.AnyType, vim.BaseMethodFault) {
	if fault != nil {
		return nil, fault
	}
	return a.s.describeFCD(f), nil
}

// VslmCreateDiskTask makes a first-class disk.
func (a *vslmAPI) VslmCreateDiskTask(ctx *simulator.Context, req *types.VslmCreateDisk_Task) soap.HasFault {
	body := &methods.VslmCreateDisk_TaskBody{}
	ref, fault := a.task(ctx, "", "createDisk", func() (vim.AnyType, vim.BaseMethodFault) {
		return a.made(a.s.createFCD(&req.Spec))
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmCreateDisk_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmDeleteVStorageObjectTask deletes one.
func (a *vslmAPI) VslmDeleteVStorageObjectTask(ctx *simulator.Context, req *types.VslmDeleteVStorageObject_Task) soap.HasFault {
	body := &methods.VslmDeleteVStorageObject_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "deleteVStorageObject", func() (vim.AnyType, vim.BaseMethodFault) {
		return nil, a.s.deleteFCD(req.Id.Id)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmDeleteVStorageObject_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmExtendDiskTask enlarges one.
func (a *vslmAPI) VslmExtendDiskTask(ctx *simulator.Context, req *types.VslmExtendDisk_Task) soap.HasFault {
	body := &methods.VslmExtendDisk_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "extendDisk", func() (vim.AnyType, vim.BaseMethodFault) {
		return nil, a.s.extendFCD(ctx.For(vim25.Path), req.Id.Id, req.NewCapacityInMB)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmExtendDisk_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmCloneVStorageObjectTask copies one.
func (a *vslmAPI) VslmCloneVStorageObjectTask(ctx *simulator.Context, req *types.VslmCloneVStorageObject_Task) soap.HasFault {
	body := &methods.VslmCloneVStorageObject_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "cloneVStorageObject", func() (vim.AnyType, vim.BaseMethodFault) {
		b, ok := req.Spec.BackingSpec.(*vim.VslmCreateSpecDiskFileBackingSpec)
		if !ok {
			return nil, &vim.InvalidArgument{InvalidProperty: "spec.backingSpec"}
		}
		return a.made(a.s.cloneFCD(req.Id.Id, "", req.Spec.Name, b, req.Spec.KeepAfterDeleteVm, req.Spec.Metadata))
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmCloneVStorageObject_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmRelocateVStorageObjectTask moves one.
func (a *vslmAPI) VslmRelocateVStorageObjectTask(ctx *simulator.Context, req *types.VslmRelocateVStorageObject_Task) soap.HasFault {
	body := &methods.VslmRelocateVStorageObject_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "relocateVStorageObject", func() (vim.AnyType, vim.BaseMethodFault) {
		b, ok := req.Spec.BackingSpec.(*vim.VslmCreateSpecDiskFileBackingSpec)
		if !ok {
			return nil, &vim.InvalidArgument{InvalidProperty: "spec.backingSpec"}
		}
		return nil, a.s.relocateFCD(req.Id.Id, b)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmRelocateVStorageObject_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmAttachDiskTask plugs one into a machine.
func (a *vslmAPI) VslmAttachDiskTask(ctx *simulator.Context, req *types.VslmAttachDisk_Task) soap.HasFault {
	body := &methods.VslmAttachDisk_TaskBody{}
	ref, fault := a.s.attachTask(ctx, req.Vm, req.Id.Id, req.ControllerKey, req.UnitNumber)
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmAttachDisk_TaskResponse{Returnval: wrapTask(ctx, ref)}
	}
	return body
}

// VslmRegisterDisk makes a disk that exists a first-class one; the path is the
// URL of the file.
func (a *vslmAPI) VslmRegisterDisk(_ *simulator.Context, req *types.VslmRegisterDisk) soap.HasFault {
	body := &methods.VslmRegisterDiskBody{}
	f, fault := a.s.registerURL(req.Path, req.Name)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRegisterDiskResponse{Returnval: a.s.describeFCD(f)}
	return body
}

func (s *Server) registerURL(path, name string) (*fcd, vim.BaseMethodFault) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, &vim.InvalidArgument{InvalidProperty: "path"}
	}
	file, ok := strings.CutPrefix(u.Path, "/folder/")
	if !ok || s.store(u.Query().Get("dsName")) == nil {
		return nil, &vim.InvalidArgument{InvalidProperty: "path"}
	}
	return s.registerFCD("["+u.Query().Get("dsName")+"] "+file, name)
}

// VslmRetrieveVStorageObject describes one.
func (a *vslmAPI) VslmRetrieveVStorageObject(_ *simulator.Context, req *types.VslmRetrieveVStorageObject) soap.HasFault {
	body := &methods.VslmRetrieveVStorageObjectBody{}
	f, _, fault := a.s.fcdByID(req.Id.Id)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRetrieveVStorageObjectResponse{Returnval: a.s.describeFCD(f)}
	return body
}

// VslmRetrieveVStorageObjectState says that a disk is there.
func (a *vslmAPI) VslmRetrieveVStorageObjectState(_ *simulator.Context, req *types.VslmRetrieveVStorageObjectState) soap.HasFault {
	body := &methods.VslmRetrieveVStorageObjectStateBody{}
	if _, _, fault := a.s.fcdByID(req.Id.Id); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRetrieveVStorageObjectStateResponse{
		Returnval: vim.VStorageObjectStateInfo{Tentative: vim.NewBool(false)},
	}
	return body
}

// VslmRetrieveVStorageObjectAssociations says which machines have which disks.
func (a *vslmAPI) VslmRetrieveVStorageObjectAssociations(_ *simulator.Context, req *types.VslmRetrieveVStorageObjectAssociations) soap.HasFault {
	res := &types.VslmRetrieveVStorageObjectAssociationsResponse{}
	for _, id := range req.Ids {
		one := types.VslmVsoVStorageObjectAssociations{Id: id}
		_, d, fault := a.s.fcdByID(id.Id)
		if fault != nil {
			one.Fault = &vim.LocalizedMethodFault{Fault: fault}
		} else {
			for _, h := range d.Holders {
				one.VmDiskAssociation = append(one.VmDiskAssociation,
					types.VslmVsoVStorageObjectAssociationsVmDiskAssociation{VmId: h.VM.Value, DiskKey: h.Key})
			}
		}
		res.Returnval = append(res.Returnval, one)
	}
	return &methods.VslmRetrieveVStorageObjectAssociationsBody{Res: res}
}

// VslmRenameVStorageObject changes a name.
func (a *vslmAPI) VslmRenameVStorageObject(_ *simulator.Context, req *types.VslmRenameVStorageObject) soap.HasFault {
	body := &methods.VslmRenameVStorageObjectBody{}
	if fault := a.s.renameFCD(req.Id.Id, req.Name); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRenameVStorageObjectResponse{}
	return body
}

func (s *Server) renameFCD(id, name string) vim.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[id]
	if f == nil {
		return notFound()
	}
	f.Name = name
	s.saveFCD(f)
	return nil
}

// VslmSetVStorageObjectControlFlags adds flags.
func (a *vslmAPI) VslmSetVStorageObjectControlFlags(_ *simulator.Context, req *types.VslmSetVStorageObjectControlFlags) soap.HasFault {
	body := &methods.VslmSetVStorageObjectControlFlagsBody{}
	if fault := a.s.setFlags(req.Id.Id, req.ControlFlags, true); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmSetVStorageObjectControlFlagsResponse{}
	return body
}

// VslmClearVStorageObjectControlFlags takes flags away.
func (a *vslmAPI) VslmClearVStorageObjectControlFlags(_ *simulator.Context, req *types.VslmClearVStorageObjectControlFlags) soap.HasFault {
	body := &methods.VslmClearVStorageObjectControlFlagsBody{}
	if fault := a.s.setFlags(req.Id.Id, req.ControlFlags, false); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmClearVStorageObjectControlFlagsResponse{}
	return body
}

// VslmReconcileDatastoreInventoryTask drops disks whose files are gone.
func (a *vslmAPI) VslmReconcileDatastoreInventoryTask(ctx *simulator.Context, req *types.VslmReconcileDatastoreInventory_Task) soap.HasFault {
	body := &methods.VslmReconcileDatastoreInventory_TaskBody{}
	ref, fault := a.task(ctx, "", "reconcileDatastoreInventory", func() (vim.AnyType, vim.BaseMethodFault) {
		st := a.s.storeOf(req.Datastore)
		if st == nil {
			return nil, &vim.InvalidDatastore{Datastore: &req.Datastore}
		}
		a.s.reconcile(st)
		return nil, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmReconcileDatastoreInventory_TaskResponse{Returnval: ref}
	}
	return body
}
