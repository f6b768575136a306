package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Points is what the volume service wants of backup: recovery points to make
// volumes of. Satisfied by backup.Service; nil: there is no backup.
type Points interface {
	// Resolve finds the recovery point that a user wrote as ref for a volume
	// called name in vmgroup g: a point's id, "latest" (of the volume of that
	// name), or volume@time, volume@latest. Of another vmgroup, or absent:
	// not-found, in the same words.
	Resolve(ctx context.Context, g volspec.VMGroupID, name, ref string) (Point, error)
	// Restore makes the volume as a job of the vmgroup and waits for it as long
	// as ctx lives; then it is unavailable and says how far it is. The job calls
	// Service.CreateRestored. Repeated: the same job.
	Restore(ctx context.Context, c volspec.Caller, g volspec.VMGroup, req wire.CreateVolume) error
	// Fill writes a point's content to a blank target of the point's size or
	// more. The volume is for messages.
	Fill(ctx context.Context, p volspec.PointID, v volspec.VolumeID, to image.Target) error
	// OpenView makes a point readable as the disk of volume v on the datastore
	// volspec.PointsDatastore. Repeated: nil.
	OpenView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID, p volspec.PointID) error
	// CloseView ends it. Not open: nil.
	CloseView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID) error
	// CheckPolicy is nil when the vmgroup has a backup policy of that name.
	CheckPolicy(ctx context.Context, g volspec.VMGroupID, name string) error
	// Summary is what a volume shows of its backups.
	Summary(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID) (wire.VolumeBackup, error)
}

// Point is a recovery point as far as making a volume of it needs to know.
type Point struct {
	ID      volspec.PointID
	Volume  string // name of the volume it is of, without datastore
	Created time.Time
	Size    volspec.Size
	Spec    volspec.Spec // of that volume then
	FSUUID  string
	Format  volspec.Format
	FSSize  volspec.Size
}

// Freezer has a guest hold a mounted filesystem still; satisfied by
// freeze.Broker.
type Freezer interface {
	// Freeze runs do while the guest holds the filesystem frozen, or has nothing
	// to freeze. do's context ends with the lease. A guest that does not answer:
	// unavailable, and do has not run. held tells that the filesystem was frozen
	// during all of do.
	Freeze(ctx context.Context, vm volspec.VMID, v volspec.VolumeID, name string, epoch int64, lease time.Duration, do func(context.Context) error) (held bool, stall time.Duration, note string, err error)
}
