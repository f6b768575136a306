package vc

import (
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm/methods"
	"github.com/vmware/govmomi/vslm/types"
)

// snapshotFCD freezes a first-class disk. An attached one must take part in
// snapshots.
func (s *Server) snapshotFCD(ctx *simulator.Context, id, description string) (string, vim.BaseMethodFault) {
	f, d, fault := s.fcdByID(id)
	if fault != nil {
		return "", fault
	}
	s.mu.Lock()
	for _, h := range d.Holders {
		if !dependent(h.Mode) {
			s.mu.Unlock()
			return "", &vim.InvalidState{}
		}
	}
	change := f.Tracking.next()
	s.mu.Unlock()
	sn := fcdSnapshot{
		ID: uuid.NewString(), BackingID: uuid.NewString(), Created: time.Now(), Description: description,
	}
	l, fault := s.freeze(d, sn.ID, change)
	if fault != nil {
		return "", fault
	}
	if fault := s.mark(l); fault != nil {
		return "", fault
	}
	s.mu.Lock()
	sn.Metadata = slices.Clone(f.Metadata)
	f.Snapshots = append(f.Snapshots, sn)
	s.saveFCD(f)
	s.mu.Unlock()
	s.refresh(ctx, d)
	return sn.ID, nil
}

func (s *Server) deleteFCDSnapshot(ctx *simulator.Context, id, snapshot string) vim.BaseMethodFault {
	f, d, fault := s.fcdByID(id)
	if fault != nil {
		return fault
	}
	if _, _, fault := s.writable(f.Base); fault != nil {
		return fault
	}
	s.mu.Lock()
	l := d.owned(snapshot)
	if l == nil {
		s.mu.Unlock()
		return notFound()
	}
	if len(l.Readers) > 0 {
		s.mu.Unlock()
		return &vim.FileLocked{FileFault: vim.FileFault{File: l.File}}
	}
	l.Owner = ""
	f.Snapshots = slices.DeleteFunc(f.Snapshots, func(sn fcdSnapshot) bool { return sn.ID == snapshot })
	s.mu.Unlock()
	s.fold(d)
	s.mu.Lock()
	s.saveFCD(f)
	s.mu.Unlock()
	s.refresh(ctx, d)
	return nil
}

// revertFCD puts a snapshot's content back. Nobody may have the disk.
func (s *Server) revertFCD(id, snapshot string) vim.BaseMethodFault {
	f, d, fault := s.fcdByID(id)
	if fault != nil {
		return fault
	}
	s.mu.Lock()
	l, held := d.owned(snapshot), len(d.Holders)
	s.mu.Unlock()
	switch {
	case l == nil:
		return notFound()
	case held > 0:
		return &vim.InvalidState{}
	}
	if fault := s.restore(d, l); fault != nil {
		return fault
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Tracking.reset()
	s.saveFCD(f)
	return nil
}

// VslmCreateSnapshotTask freezes a disk.
func (a *vslmAPI) VslmCreateSnapshotTask(ctx *simulator.Context, req *types.VslmCreateSnapshot_Task) soap.HasFault {
	body := &methods.VslmCreateSnapshot_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "createSnapshot", func() (vim.AnyType, vim.BaseMethodFault) {
		id, fault := a.s.snapshotFCD(ctx.For(vim25.Path), req.Id.Id, req.Description)
		if fault != nil {
			return nil, fault
		}
		return vim.ID{Id: id}, nil
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmCreateSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmDeleteSnapshotTask ends a snapshot.
func (a *vslmAPI) VslmDeleteSnapshotTask(ctx *simulator.Context, req *types.VslmDeleteSnapshot_Task) soap.HasFault {
	body := &methods.VslmDeleteSnapshot_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "deleteSnapshot", func() (vim.AnyType, vim.BaseMethodFault) {
		return nil, a.s.deleteFCDSnapshot(ctx.For(vim25.Path), req.Id.Id, req.SnapshotId.Id)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmDeleteSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmRevertVStorageObjectTask puts a snapshot's content back.
func (a *vslmAPI) VslmRevertVStorageObjectTask(ctx *simulator.Context, req *types.VslmRevertVStorageObject_Task) soap.HasFault {
	body := &methods.VslmRevertVStorageObject_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "revertVStorageObject", func() (vim.AnyType, vim.BaseMethodFault) {
		return nil, a.s.revertFCD(req.Id.Id, req.SnapshotId.Id)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmRevertVStorageObject_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmCreateDiskFromSnapshotTask makes a first-class disk of a snapshot's
// content, on the same datastore.
func (a *vslmAPI) VslmCreateDiskFromSnapshotTask(ctx *simulator.Context, req *types.VslmCreateDiskFromSnapshot_Task) soap.HasFault {
	body := &methods.VslmCreateDiskFromSnapshot_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "createDiskFromSnapshot", func() (vim.AnyType, vim.BaseMethodFault) {
		f, _, fault := a.s.fcdByID(req.Id.Id)
		if fault != nil {
			return nil, fault
		}
		b := &vim.VslmCreateSpecDiskFileBackingSpec{
			VslmCreateSpecBackingSpec: vim.VslmCreateSpecBackingSpec{Datastore: a.s.store(f.Store).ref, Path: req.Path},
			ProvisioningType:          f.Kind,
		}
		return a.made(a.s.cloneFCD(req.Id.Id, req.SnapshotId.Id, req.Name, b, &f.Keep, nil))
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmCreateDiskFromSnapshot_TaskResponse{Returnval: ref}
	}
	return body
}

// VslmRetrieveSnapshotInfo lists snapshots.
func (a *vslmAPI) VslmRetrieveSnapshotInfo(_ *simulator.Context, req *types.VslmRetrieveSnapshotInfo) soap.HasFault {
	body := &methods.VslmRetrieveSnapshotInfoBody{}
	f, _, fault := a.s.fcdByID(req.Id.Id)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRetrieveSnapshotInfoResponse{}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	for _, sn := range f.Snapshots {
		body.Res.Returnval.Snapshots = append(body.Res.Returnval.Snapshots, vim.VStorageObjectSnapshotInfoVStorageObjectSnapshot{
			Id: &vim.ID{Id: sn.ID}, BackingObjectId: sn.BackingID, CreateTime: sn.Created, Description: sn.Description,
		})
	}
	return body
}

func (a *vslmAPI) snapshot(id, snapshot string) (link, vim.BaseMethodFault) {
	_, d, fault := a.s.fcdByID(id)
	if fault != nil {
		return link{}, fault
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	l := d.owned(snapshot)
	if l == nil {
		return link{}, &vim.InvalidArgument{InvalidProperty: "snapshotId"}
	}
	return *l, nil
}

// VslmRetrieveSnapshotDetails gives a snapshot's file and change id.
func (a *vslmAPI) VslmRetrieveSnapshotDetails(_ *simulator.Context, req *types.VslmRetrieveSnapshotDetails) soap.HasFault {
	body := &methods.VslmRetrieveSnapshotDetailsBody{}
	l, fault := a.snapshot(req.Id.Id, req.SnapshotId.Id)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRetrieveSnapshotDetailsResponse{Returnval: vim.VStorageObjectSnapshotDetails{
		Path: l.File, ChangedBlockTrackingId: l.ChangeID,
	}}
	return body
}

// VslmQueryChangedDiskAreas lists what changed up to a snapshot.
func (a *vslmAPI) VslmQueryChangedDiskAreas(_ *simulator.Context, req *types.VslmQueryChangedDiskAreas) soap.HasFault {
	body := &methods.VslmQueryChangedDiskAreasBody{}
	l, fault := a.snapshot(req.Id.Id, req.SnapshotId.Id)
	if fault == nil {
		var info *vim.DiskChangeInfo
		if info, fault = a.s.areas(l.File, l.ChangeID, req.ChangeId, req.StartOffset); fault == nil {
			body.Res = &types.VslmQueryChangedDiskAreasResponse{Returnval: *info}
			return body
		}
	}
	body.Fault_ = simulator.Fault("", fault)
	return body
}
