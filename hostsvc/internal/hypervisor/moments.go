package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Moments is optional; ask with As: what changed since a snapshot that need not
// be there any more. Where it is to be had no snapshot has to be kept from one
// backup to the next.
type Moments interface {
	// Moment names the moment of a snapshot for a later ChangedSince; "" where
	// changes are not tracked. No such disk or snapshot: not-found.
	Moment(ctx context.Context, r Ref, id volspec.SnapshotID) (string, error)
	// ChangedSince is Imager.Changed from a moment on. It works after the snapshot
	// of that moment is gone. Where changes were not tracked all the time, or the
	// moment is of another disk: unsupported with the reason, as the only element.
	// The caller knows whether the disk was enlarged since; then it asks nothing.
	ChangedSince(ctx context.Context, r Ref, moment string, id volspec.SnapshotID) image.Extents
}
