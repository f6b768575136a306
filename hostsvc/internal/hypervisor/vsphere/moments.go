package vsphere

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Moments = (*VSphere)(nil)

// Moment implements hypervisor.Moments: it is the change id.
func (v *VSphere) Moment(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (string, error) {
	_, s, err := v.snapshotOf(ctx, r, id)
	if err != nil {
		return "", err
	}
	if _, err := cbt.ParseID(s.changeID); err != nil {
		return "", nil //nolint:nilerr // it is not believed, and so names nothing
	}
	return s.changeID, nil
}

// ChangedSince implements hypervisor.Moments.
func (v *VSphere) ChangedSince(ctx context.Context, r hypervisor.Ref, moment string, id volspec.SnapshotID) image.Extents {
	return v.telling(r, func() (image.Extents, error) {
		f, s, err := v.snapshotOf(ctx, r, id)
		if err != nil {
			return nil, err
		}
		since, err := cbt.Compare(moment, s.changeID)
		if err != nil {
			return nil, err
		}
		size, err := v.sizeOf(ctx, f, s, id)
		if err != nil {
			return nil, err
		}
		return v.areas(ctx, s.disk, s, since.String(), int64(size)), nil
	})
}
