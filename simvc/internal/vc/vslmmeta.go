package vc

import (
	"slices"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm/methods"
	"github.com/vmware/govmomi/vslm/types"
)

// VslmUpdateVStorageObjectMetadataTask changes what is noted of a disk.
func (a *vslmAPI) VslmUpdateVStorageObjectMetadataTask(ctx *simulator.Context, req *types.VslmUpdateVStorageObjectMetadata_Task) soap.HasFault {
	body := &methods.VslmUpdateVStorageObjectMetadata_TaskBody{}
	ref, fault := a.task(ctx, req.Id.Id, "updateVStorageObjectMetadata", func() (vim.AnyType, vim.BaseMethodFault) {
		return nil, a.s.updateMetadata(req.Id.Id, req.Metadata, req.DeleteKeys)
	})
	if body.Fault_ = fault; fault == nil {
		body.Res = &types.VslmUpdateVStorageObjectMetadata_TaskResponse{Returnval: ref}
	}
	return body
}

// metadata is what is noted of a disk, or was when a snapshot was taken.
func (s *Server) metadata(id string, snapshot *vim.ID) ([]vim.KeyValue, vim.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fcds[id]
	if f == nil {
		return nil, notFound()
	}
	if snapshot == nil {
		return slices.Clone(f.Metadata), nil
	}
	for _, sn := range f.Snapshots {
		if sn.ID == snapshot.Id {
			return slices.Clone(sn.Metadata), nil
		}
	}
	return nil, notFound()
}

// VslmRetrieveVStorageObjectMetadata reads it.
func (a *vslmAPI) VslmRetrieveVStorageObjectMetadata(_ *simulator.Context, req *types.VslmRetrieveVStorageObjectMetadata) soap.HasFault {
	body := &methods.VslmRetrieveVStorageObjectMetadataBody{}
	list, fault := a.s.metadata(req.Id.Id, req.SnapshotId)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	body.Res = &types.VslmRetrieveVStorageObjectMetadataResponse{
		Returnval: slices.DeleteFunc(list, func(kv vim.KeyValue) bool { return !strings.HasPrefix(kv.Key, req.Prefix) }),
	}
	return body
}

// VslmRetrieveVStorageObjectMetadataValue reads one value.
func (a *vslmAPI) VslmRetrieveVStorageObjectMetadataValue(_ *simulator.Context, req *types.VslmRetrieveVStorageObjectMetadataValue) soap.HasFault {
	body := &methods.VslmRetrieveVStorageObjectMetadataValueBody{}
	list, fault := a.s.metadata(req.Id.Id, req.SnapshotId)
	if fault != nil {
		body.Fault_ = simulator.Fault("", fault)
		return body
	}
	for _, kv := range list {
		if kv.Key == req.Key {
			body.Res = &types.VslmRetrieveVStorageObjectMetadataValueResponse{Returnval: kv.Value}
			return body
		}
	}
	body.Fault_ = simulator.Fault("", &vim.KeyNotFound{Key: req.Key})
	return body
}
