// Package driver is what the plugin does for Docker: create, remove, get,
// list, path, mount and unmount, over the host service, the guest's disks,
// the ledger of uses and the engine's own word about its containers.
//
// The host service owns a volume's life; this package only finds the disk,
// formats it once, mounts it and gives it back. Use counts are hints: before
// a disk is given back the kernel must agree that nobody has it mounted.
//
// Locks: one key per volume id around everything that mounts, unmounts,
// attaches or detaches that volume. Nothing else is held across I/O.
package driver

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Host is the host service as a guest sees it. All calls may be repeated.
// Errors carry kinds: unavailable when there was no answer, not-found only
// when the service said so. It is the whole guest channel, hence the size.
type Host interface {
	Create(ctx context.Context, r wire.CreateVolume) (wire.Volume, error)
	Remove(ctx context.Context, name string) error
	Get(ctx context.Context, name string) (wire.Volume, error)
	List(ctx context.Context) ([]wire.Volume, error)
	Attach(ctx context.Context, name string, r wire.Attach) (wire.Attachment, error)
	Detach(ctx context.Context, name string, r wire.Detach) error
	SetFormat(ctx context.Context, name string, r wire.SetFormat) error
	Heartbeat(ctx context.Context, r wire.Heartbeat) (wire.HeartbeatReply, error)
}

// Disk says which disk is wanted: the one that carries Serial and has
// exactly Size bytes. Size 0 accepts any. ReadOnly is for finding: this kernel
// then writes to it no more, even where the hypervisor's protection lets it
// and throws away what it writes.
type Disk struct {
	Serial   string
	Size     int64
	ReadOnly bool
}

// Filesystem is how a disk is formatted, readied and mounted.
type Filesystem struct {
	Type      string // "" accepts what is on the disk
	UUID      string // "" leaves it to mkfs, or as it is
	MkfsOpts  []string
	MountOpts []string
	ReadOnly  bool
	Thick     bool    // the disk has its room reserved: mkfs must not give it back
	UID, GID  *int    // owner of the root, applied by Format
	Mode      *uint32 // permissions of the root, applied by Format
}

// Space is how much of a disk its filesystem uses. Note says why that is
// less than the disk, "" when it is not.
type Space struct {
	Bytes int64
	Note  string
}

// Mounted is one mount below the mount root. Stale means that its disk is
// gone from under it.
type Mounted struct {
	Path   string
	Device string
	Stale  bool
}

// Disks finds and prepares block devices. Devices are paths.
type Disks interface {
	// Find waits for the disk until ctx ends and verifies it. Absent by then,
	// or another disk in its place: unavailable. Of another size: corrupt.
	Find(ctx context.Context, d Disk) (device string, err error)
	// Lookup is Find without waiting. Absent: not-found.
	Lookup(d Disk) (device string, err error)
	// Busy reports whether anybody, in any mount namespace of this kernel, has
	// the device mounted or open exclusively.
	Busy(device string) (bool, error)
	// CheckBlank is nil when the first and the last MiB of the device were
	// read and are zeros. Other content: corrupt. Not readable to the last
	// byte: unavailable.
	CheckBlank(ctx context.Context, device string) error
	// Format makes the filesystem and sets the owner of its root. It never
	// forces: a device that is in use is an error.
	Format(ctx context.Context, device string, fs Filesystem) error
	// Ready makes an unmounted filesystem fit to be mounted: replays or repairs
	// what a crash left, renews a copied UUID, grows what only grows offline.
	// Beyond automatic repair, or no filesystem at all: corrupt. Never formats.
	Ready(ctx context.Context, device string, fs Filesystem) error
}

// Mounts mounts and unmounts volumes below the mount root.
type Mounts interface {
	// Mount mounts device at path and returns when path really is that mount.
	// The folder below is made unwritable. Already mounted there: nil.
	Mount(ctx context.Context, device, path string, fs Filesystem) error
	// Unmount unmounts path and removes the folder. Not mounted: nil. Busy:
	// in-use, with nothing changed.
	Unmount(ctx context.Context, path string) error
	// Mounted lists the mounts directly below the mount root, by path.
	Mounted() (map[string]Mounted, error)
	// Grow makes a mounted filesystem as large as its disk, if it can be done
	// while mounted, and reports its size. Read-only ones are only measured.
	Grow(ctx context.Context, path, device string, readOnly bool) (Space, error)
}

// Orders are the host service's wishes to have volumes frozen for a snapshot.
type Orders interface {
	// Freezes waits for orders that came after the cursor, "" at first, for as
	// long as wait. An older service has no such question: not-found.
	Freezes(ctx context.Context, after string, wait time.Duration) (wire.FreezeOrders, error)
	// ReportFreeze tells how far an order is; the answer to frozen comes when
	// the filesystem may thaw. An order that is over: not-found.
	ReportFreeze(ctx context.Context, id string, r wire.FreezeReport) (wire.FreezeAnswer, error)
}

// Freezer freezes mounted filesystems: writers wait until it thaws.
type Freezer interface {
	// Freeze freezes the filesystem of device, mounted at path directly below
	// the mount root, and returns when nothing is written to it any more. It
	// thaws when the lease is over, at most wire.MaxFreezeLease later, also when
	// this process is killed or stopped. Anything else is mounted there: corrupt.
	// Not possible now: unavailable or in-use with the reason.
	Freeze(ctx context.Context, device, path string, lease time.Duration) (Frozen, error)
	// Recover thaws what an earlier life of the plugin may have left frozen; it
	// disturbs nothing else. settled is false while somebody of that life may
	// still freeze something: then it is to be called again. What cannot be
	// thawed is an error, and left to the next start. serial is what the disk of
	// a volume is found by. Not during a freeze.
	Recover(ctx context.Context, serial func(volspec.VolumeID) string) (settled bool, err error)
}

// Frozen is a filesystem that is frozen, or was.
type Frozen interface {
	// Left is how much of the lease is left.
	Left() time.Duration
	// Ended is closed when the filesystem has thawed.
	Ended() <-chan struct{}
	// Thaw thaws, waits for it and tells how it was. Repeated: the same.
	Thaw() Thawed
}

// Thawed tells how a freeze was. Held: the filesystem was frozen until Thaw
// was called; if not, Why. Stall is how long writers waited.
type Thawed struct {
	Held  bool
	Stall time.Duration
	Why   string
}

// Engine is the Docker engine's word about its containers.
type Engine interface {
	// Uses lists what containers mount. Unreachable: unavailable, which is no
	// evidence of anything.
	Uses(ctx context.Context) ([]EngineUse, error)
}

// EngineUse is one volume of one container.
type EngineUse struct {
	Container string // id
	Volume    string // name as the container was given it
	Source    string // path on the engine's side, its last part is the volume id; "" when not known
	Driver    string // as the engine names it: vsphere:latest
	Running   bool   // running, paused or restarting; otherwise being created
	Created   time.Time
}

// View is one volume as Docker is shown it.
type View struct {
	Name       string
	Mountpoint string
	CreatedAt  string
	Status     map[string]any
}

// spec of the filesystem of an attached disk.
func filesystem(a wire.Attachment) Filesystem {
	return Filesystem{
		Type: a.Spec.FSType, UUID: a.FSUUID, MkfsOpts: a.Spec.MkfsOpts, MountOpts: a.Spec.MountOpts,
		ReadOnly: a.ReadOnly || a.Spec.Access == volspec.ReadOnly,
		Thick:    a.Spec.DiskFormat != "" && a.Spec.DiskFormat != volspec.Thin,
		UID:      a.Spec.UID, GID: a.Spec.GID, Mode: a.Spec.Mode,
	}
}
