package vc

import (
	"os"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
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
		if fault := a.s.untouched(canon(req.Name)); fault != nil {
			return nil, fault
		}
		return nil, a.s.removeDisk(req.Name)
	})
	return &methods.DeleteVirtualDisk_TaskBody{Res: &types.DeleteVirtualDisk_TaskResponse{Returnval: ref}}
}

// ExtendVirtualDiskTask enlarges a disk.
func (a *diskAPI) ExtendVirtualDiskTask(ctx *simulator.Context, req *types.ExtendVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "extendVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		if fault := a.s.untouched(canon(req.Name)); fault != nil {
			return nil, fault
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

// CopyVirtualDiskTask copies a disk that nobody writes to, to an identity of
// its own and of the kind asked for.
func (a *diskAPI) CopyVirtualDiskTask(ctx *simulator.Context, req *types.CopyVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "copyVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		from, to := canon(req.SourceName), canon(req.DestName)
		if fault := a.s.readable(from); fault != nil {
			return nil, fault
		}
		i, fault := a.s.readDisk(from)
		if fault != nil {
			return nil, fault
		}
		if _, p, fault := a.s.writable(to); fault == nil && req.Force != nil && *req.Force {
			if _, err := os.Lstat(p); err == nil {
				if fault := a.s.untouched(to); fault != nil {
					return nil, fault
				}
				if fault := a.s.removeDisk(to); fault != nil {
					return nil, fault
				}
			}
		}
		thin := i.Thin
		if req.DestSpec != nil {
			thin = thinSpec(req.DestSpec.GetVirtualDiskSpec().DiskType)
		}
		return nil, a.s.copyDisk(from, to, thin)
	})
	return &methods.CopyVirtualDisk_TaskBody{Res: &types.CopyVirtualDisk_TaskResponse{Returnval: ref}}
}

// MoveVirtualDiskTask moves a disk that nobody has.
func (a *diskAPI) MoveVirtualDiskTask(ctx *simulator.Context, req *types.MoveVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "moveVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		from, to := canon(req.SourceName), canon(req.DestName)
		if fault := a.s.untouched(from); fault != nil {
			return nil, fault
		}
		return nil, a.s.moveDisk(from, to)
	})
	return &methods.MoveVirtualDisk_TaskBody{Res: &types.MoveVirtualDisk_TaskResponse{Returnval: ref}}
}

// InflateVirtualDiskTask makes a thin disk a thick one.
func (a *diskAPI) InflateVirtualDiskTask(ctx *simulator.Context, req *types.InflateVirtualDisk_Task) soap.HasFault {
	ref := a.task(ctx, "inflateVirtualDisk", func() (types.AnyType, types.BaseMethodFault) {
		if fault := a.s.untouched(canon(req.Name)); fault != nil {
			return nil, fault
		}
		return nil, a.s.inflateDisk(req.Name)
	})
	return &methods.InflateVirtualDisk_TaskBody{Res: &types.InflateVirtualDisk_TaskResponse{Returnval: ref}}
}

// MO is the object as the simulator's own code wants it.
func (a *diskAPI) MO() mo.VirtualDiskManager { return mo.VirtualDiskManager{Self: a.Self} }
