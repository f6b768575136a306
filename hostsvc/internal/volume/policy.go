package volume

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// checkPolicy refuses a storage policy that a new volume cannot be kept by.
func (s *Service) checkPolicy(ctx context.Context, datastore string, spec volspec.Spec) error {
	if spec.StoragePolicy == "" {
		return nil
	}
	p, ok := hypervisor.As[hypervisor.StoragePolicies](s.o.Hypervisor)
	if !ok {
		return errkind.New(errkind.Unsupported, "Cannot use a VSAN policy on a non-VSAN datastore: %s has no storage policies, leave vsan-policy-name out", datastore)
	}
	if spec.Copied() {
		return errkind.New(errkind.Unsupported, "Cannot use storage policy %s for a copy: it is kept as its datastore says, leave vsan-policy-name out", spec.StoragePolicy)
	}
	return p.CheckPolicy(ctx, datastore, spec.StoragePolicy)
}

// newDisk makes the empty disk of a volume.
func (s *Service) newDisk(ctx context.Context, r Record) error {
	if r.Spec.StoragePolicy == "" {
		return s.o.Hypervisor.Create(ctx, r.ref(), r.Size, r.Spec.DiskFormat)
	}
	p, ok := hypervisor.As[hypervisor.StoragePolicies](s.o.Hypervisor)
	if !ok {
		return errkind.New(errkind.Unsupported, "volume %s cannot be kept by storage policy %s: this hypervisor has none", r.Name(), r.Spec.StoragePolicy)
	}
	return p.CreateWithPolicy(ctx, r.ref(), r.Size, r.Spec.DiskFormat, r.Spec.StoragePolicy)
}
