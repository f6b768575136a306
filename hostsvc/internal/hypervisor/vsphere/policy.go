package vsphere

import (
	"context"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.StoragePolicies = (*VSphere)(nil)

// CheckPolicy implements hypervisor.StoragePolicies.
func (v *VSphere) CheckPolicy(ctx context.Context, datastore, name string) error {
	if _, err := v.datastore(ctx, datastore, false); err != nil {
		return err
	}
	_, err := v.policy(ctx, name)
	return err
}

// CreateWithPolicy implements hypervisor.StoragePolicies.
func (v *VSphere) CreateWithPolicy(ctx context.Context, r hypervisor.Ref, size volspec.Size, format, policy string) error {
	var profile []types.BaseVirtualMachineProfileSpec
	if policy != "" {
		id, err := v.policy(ctx, policy)
		if err != nil {
			return err
		}
		profile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}
	}
	return v.create(ctx, r, size, format, profile)
}

// policy is the id of a storage policy.
func (v *VSphere) policy(ctx context.Context, name string) (id string, err error) {
	err = v.c.Read(ctx, "looking for storage policy "+name, func(ctx context.Context, vc *vim25.Client) error {
		if !vc.IsVC() {
			return errkind.New(errkind.Unsupported, "storage policy %s cannot be used: an ESXi host without vCenter has none; leave vsan-policy-name out", name)
		}
		m, err := pbm.NewClient(ctx, vc)
		if err != nil {
			return err
		}
		all, err := m.ProfileMap(ctx)
		if err != nil {
			return err
		}
		p, ok := all.Name[name]
		if !ok {
			return errkind.New(errkind.NotFound, "no storage policy %s in vCenter: see its list of storage policies, or leave vsan-policy-name out", name)
		}
		id = p.GetPbmProfile().ProfileId.UniqueId
		return nil
	})
	return id, err
}
