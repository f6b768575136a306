package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Imager is optional; ask with As: the bytes of disks, for backup and restore.
type Imager interface {
	// OpenSnapshot opens a snapshot for reading. No such disk or snapshot:
	// not-found. Deleting the snapshot meanwhile does not disturb the reader.
	OpenSnapshot(ctx context.Context, r Ref, id volspec.SnapshotID) (image.Image, error)
	// Changed yields the ranges in which snapshot id may differ from the older
	// snapshot base of the same disk: perhaps too much, never too little. What
	// lies beyond the end of the smaller one is a difference unless it is a
	// hole. A storage that cannot tell, or snapshots between which it would have
	// to guess: unsupported with the reason, as the only element. No such
	// snapshot: not-found.
	Changed(ctx context.Context, r Ref, base, id volspec.SnapshotID) image.Extents
	// Build makes the content of disk r anew: fill writes it, and when fill
	// returns nil the disk is there, whole, in that size and format, and durable.
	// Until then, and after an error, everything is as it was. keep "" is for a
	// disk that does not exist yet; one that does is exists. Otherwise the disk
	// that is there is replaced and its old content stays as snapshot keep; an
	// attached one is in-use, an absent one not-found. A snapshot keep that is
	// there already: exists. No room: quota.
	Build(ctx context.Context, r Ref, size volspec.Size, format string, keep volspec.SnapshotID, fill func(context.Context, image.Target) error) error
}

// FrozenSnapshotter is optional; ask with As: snapshots by copying, for a
// storage that cannot take one of an attached disk in an instant.
type FrozenSnapshotter interface {
	// SnapshotCost is how many bytes Snapshot would have to copy now: 0 where the
	// storage shares blocks.
	SnapshotCost(ctx context.Context, r Ref) (volspec.Size, error)
	// SnapshotFrozen is Snapshotter.Snapshot of a disk to which nobody writes
	// until ctx ends, attached or not, even by copying. Where the storage lets
	// nobody read what a VM has: unsupported, with the remedy. If ctx ends first:
	// unavailable, with nothing left behind.
	SnapshotFrozen(ctx context.Context, r Ref, id volspec.SnapshotID) error
}
