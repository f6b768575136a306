package vc

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/soap"
	vim "github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm/methods"
	"github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

// VslmListVStorageObjectForSpec lists what matches all conditions, by id, at
// most as many as asked for.
func (a *vslmAPI) VslmListVStorageObjectForSpec(_ *simulator.Context, req *types.VslmListVStorageObjectForSpec) soap.HasFault {
	body := &methods.VslmListVStorageObjectForSpecBody{}
	if req.MaxResult < 1 {
		body.Fault_ = simulator.Fault("", &vim.InvalidArgument{InvalidProperty: "maxResult"})
		return body
	}
	a.s.mu.Lock()
	var list []*fcd
	var err error
	for _, f := range a.s.fcds {
		ok := true
		for _, q := range req.Query {
			var m bool
			if m, err = a.s.matches(f, q); err != nil {
				break
			}
			ok = ok && m
		}
		if err != nil {
			break
		}
		if ok {
			list = append(list, f)
		}
	}
	a.s.mu.Unlock()
	if err != nil {
		body.Fault_ = simulator.Fault(err.Error(), &vim.InvalidArgument{InvalidProperty: "query"})
		return body
	}
	slices.SortFunc(list, func(a, b *fcd) int { return strings.Compare(a.ID, b.ID) })
	res := &types.VslmVsoVStorageObjectQueryResult{AllRecordsReturned: len(list) <= int(req.MaxResult)}
	for _, f := range list[:min(len(list), int(req.MaxResult))] {
		res.Id = append(res.Id, vim.ID{Id: f.ID})
		res.QueryResults = append(res.QueryResults, a.result(f))
	}
	body.Res = &types.VslmListVStorageObjectForSpecResponse{Returnval: res}
	return body
}

// VslmRetrieveVStorageObjects describes many.
func (a *vslmAPI) VslmRetrieveVStorageObjects(_ *simulator.Context, req *types.VslmRetrieveVStorageObjects) soap.HasFault {
	res := &types.VslmRetrieveVStorageObjectsResponse{}
	for _, id := range req.Ids {
		f, _, fault := a.s.fcdByID(id.Id)
		if fault != nil {
			res.Returnval = append(res.Returnval, types.VslmVsoVStorageObjectResult{
				Id: id, Error: &vim.LocalizedMethodFault{Fault: fault},
			})
			continue
		}
		res.Returnval = append(res.Returnval, a.result(f))
	}
	return &methods.VslmRetrieveVStorageObjectsBody{Res: res}
}

func (a *vslmAPI) result(f *fcd) types.VslmVsoVStorageObjectResult {
	o := a.s.describeFCD(f)
	r := types.VslmVsoVStorageObjectResult{
		Id: o.Config.Id, Name: o.Config.Name, CapacityInMB: o.Config.CapacityInMB, CreateTime: &o.Config.CreateTime,
		DatastoreUrl: a.s.store(f.Store).dir, BackingObjectId: &vim.ID{Id: f.BackingID}, Metadata: o.Config.Metadata,
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	d := a.s.find(f.Base)
	r.DiskPath = d.Run
	if _, p, fault := a.s.resolve(d.Run); fault == nil {
		r.UsedCapacityInMB = (vmfile.Used(vmfile.Flat(p)) + mib - 1) / mib
	}
	for _, sn := range f.Snapshots {
		one := types.VslmVsoVStorageObjectSnapshotResult{
			BackingObjectId: vim.ID{Id: sn.BackingID}, Description: sn.Description, SnapshotId: &vim.ID{Id: sn.ID},
		}
		if l := d.owned(sn.ID); l != nil {
			one.DiskPath = l.File
		}
		r.SnapshotInfo = append(r.SnapshotInfo, one)
	}
	return r
}

// matches decides one condition. s.mu is held.
func (s *Server) matches(f *fcd, q types.VslmVsoVStorageObjectQuerySpec) (bool, error) {
	if len(q.QueryValue) != 1 {
		return false, fmt.Errorf("a condition has one value, not %d", len(q.QueryValue))
	}
	want := q.QueryValue[0]
	switch types.VslmVsoVStorageObjectQuerySpecQueryFieldEnum(q.QueryField) {
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumId:
		return text(f.ID, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumName:
		return text(f.Name, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumBackingObjectId:
		return text(f.BackingID, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumDatastoreMoId:
		return text(s.store(f.Store).ref.Value, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumMetadataKey:
		return anyOf(f.Metadata, func(kv vim.KeyValue) string { return kv.Key }, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumMetadataValue:
		return anyOf(f.Metadata, func(kv vim.KeyValue) string { return kv.Value }, q.QueryOperator, want)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumCapacity:
		n, err := strconv.ParseInt(want, 10, 64)
		if err != nil {
			return false, err
		}
		_, p, _ := s.resolve(s.find(f.Base).Run)
		i, _ := vmfile.Read(p)
		return order(cmp.Compare(i.Size/mib, n), q.QueryOperator)
	case types.VslmVsoVStorageObjectQuerySpecQueryFieldEnumCreateTime:
		t, err := time.Parse(time.RFC3339Nano, want)
		if err != nil {
			return false, err
		}
		return order(f.Created.Compare(t), q.QueryOperator)
	default:
		return false, fmt.Errorf("%q is no field", q.QueryField)
	}
}

func anyOf(list []vim.KeyValue, part func(vim.KeyValue) string, op, want string) (bool, error) {
	for _, kv := range list {
		if ok, err := text(part(kv), op, want); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

func text(have, op, want string) (bool, error) {
	switch types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnum(op) {
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumContains:
		return strings.Contains(have, want), nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumStartsWith:
		return strings.HasPrefix(have, want), nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumEndsWith:
		return strings.HasSuffix(have, want), nil
	default:
		return order(strings.Compare(have, want), op)
	}
}

func order(c int, op string) (bool, error) {
	switch types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnum(op) {
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumEquals:
		return c == 0, nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumNotEquals:
		return c != 0, nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumLessThan:
		return c < 0, nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumGreaterThan:
		return c > 0, nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumLessThanOrEqual:
		return c <= 0, nil
	case types.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumGreaterThanOrEqual:
		return c >= 0, nil
	default:
		return false, fmt.Errorf("%q is no operator for this field", op)
	}
}
