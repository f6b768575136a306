package vc

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// diskAPI has the methods of VirtualDiskManager.
type diskAPI struct {
	api
	s *Server
}

func (a *diskAPI) task(ctx *simulator.Context, name string, f work) types.ManagedObjectReference {
	return a.s.task(ctx, ctx.Map.VirtualDiskManager(), name, nil, func() (types.AnyType, types.BaseMethodFault) {
		res, fault := f()
		for _, st := range a.s.stores {
			a.s.publishStore(ctx, st)
		}
		return res, fault
	})
}

// CreateVirtualDiskTask makes a disk.
func (a *diskAPI) CreateVirtualDiskTask(ctx *simulator.Context, req *types.CreateVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "createVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		b, ok := req.Spec.(types.BaseFileBackedVirtualDiskSpec)
		if !ok {
			return nil, &types.InvalidArgument{InvalidProperty: "spec"}
		}
		spec := b.GetFileBackedVirtualDiskSpec()
		_, fault := a.s.createDisk(req.Name, spec.CapacityKb<<10, thinSpec(spec.DiskType))
		return req.Name, fault
	})
	return &methods.CreateVirtualDisk_TaskBody{Res: &types.CreateVirtualDisk_TaskResponse{Returnval: ref}}
}

// DeleteVirtualDiskTask deletes a disk that nobody holds.
func (a *diskAPI) DeleteVirtualDiskTask(ctx *simulator.Context, req *types.DeleteVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "deleteVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		if a.s.held(req.Name) != nil {
			return nil, &types.FileLocked{FileFault: types.FileFault{File: req.Name}}
		}
		return nil, a.s.removeDisk(req.Name)
	})
	return &methods.DeleteVirtualDisk_TaskBody{Res: &types.DeleteVirtualDisk_TaskResponse{Returnval: ref}}
}

// ExtendVirtualDiskTask enlarges a disk.
func (a *diskAPI) ExtendVirtualDiskTask(ctx *simulator.Context, req *types.ExtendVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "extendVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		if a.s.held(req.Name) != nil {
			return nil, &types.FileLocked{FileFault: types.FileFault{File: req.Name}}
		}
		return nil, a.s.growDisk(req.Name, req.NewCapacityKb<<10)
	})
	return &methods.ExtendVirtualDisk_TaskBody{Res: &types.ExtendVirtualDisk_TaskResponse{Returnval: ref}}
}

// QueryVirtualDiskUuid reads a disk's identity.
func (a *diskAPI) QueryVirtualDiskUuid(_ *simulator.Context, req *types.QueryVirtualDiskUuid) soap.HasFault {
	body := &methods.QueryVirtualDiskUuidBody{}
	i, fault := a.s.readDisk(req.Name)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	u, _ := vmfile.ParseUUID(i.UUID)
	body.Res = &types.QueryVirtualDiskUuidResponse{Returnval: spaced(u)}
	return body
}

// SetVirtualDiskUuid changes a disk's identity.
func (a *diskAPI) SetVirtualDiskUuid(_ *simulator.Context, req *types.SetVirtualDiskUuid) soap.HasFault {
	body := &methods.SetVirtualDiskUuidBody{}
	if fault := a.s.setUUID(req.Name, req.Uuid); fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.SetVirtualDiskUuidResponse{}
	return body
}
