package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// StoragePolicies is optional; ask with As: disks that the storage keeps as a
// policy says that somebody has named there.
type StoragePolicies interface {
	// CheckPolicy tells whether disks on a datastore can be kept by a policy. No
	// policy of that name: not-found. Not on that datastore, or none at all:
	// unsupported, with the reason.
	CheckPolicy(ctx context.Context, datastore, policy string) error
	// CreateWithPolicy is Disks.Create of a disk that is kept by a policy; "" is
	// the datastore's own. Repeated: nil, whatever the policy.
	CreateWithPolicy(ctx context.Context, r Ref, size volspec.Size, format, policy string) error
}
