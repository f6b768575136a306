package vsphere

import (
	"context"

	"github.com/vmware/govmomi/pbm"
	pbmtypes "github.com/vmware/govmomi/pbm/types"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.StoragePolicies = (*VSphere)(nil)

// CheckPolicy implements hypervisor.StoragePolicies.
func (v *VSphere) CheckPolicy(ctx context.Context, datastore, policy string) error {
	ds, err := v.datastore(ctx, datastore, false)
	if err != nil {
		return err
	}
	return v.policies(ctx, policy, func(ctx context.Context, m *pbm.Client, id pbmtypes.PbmProfileId) error {
		hub := pbmtypes.PbmPlacementHub{HubType: ds.Ref.Type, HubId: ds.Ref.Value}
		found, err := m.CheckRequirements(ctx, []pbmtypes.PbmPlacementHub{hub}, nil, []pbmtypes.BasePbmPlacementRequirement{
			&pbmtypes.PbmPlacementCapabilityProfileRequirement{ProfileId: id},
		})
		if err != nil {
			return err
		}
		if len(found.CompatibleDatastores()) == 0 {
			return errkind.New(errkind.Unsupported, "storage policy %s cannot be used: datastore %s does not satisfy it; choose another policy or datastore", policy, datastore)
		}
		return nil
	})
}

// CreateWithPolicy implements hypervisor.StoragePolicies.
func (v *VSphere) CreateWithPolicy(ctx context.Context, r hypervisor.Ref, size volspec.Size, format, policy string) error {
	var profile []types.BaseVirtualMachineProfileSpec
	if policy != "" {
		err := v.policies(ctx, policy, func(_ context.Context, _ *pbm.Client, id pbmtypes.PbmProfileId) error {
			profile = []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id.UniqueId}}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return v.create(ctx, r, size, format, profile)
}

// policies does something with a storage policy. No such: not-found. An ESXi
// host without vCenter has none: unsupported.
func (v *VSphere) policies(ctx context.Context, name string, f func(ctx context.Context, m *pbm.Client, id pbmtypes.PbmProfileId) error) error {
	return v.c.Read(ctx, "looking at storage policy "+name, func(ctx context.Context, vc *vim25.Client) error {
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
		return f(ctx, m, p.GetPbmProfile().ProfileId)
	})
}
