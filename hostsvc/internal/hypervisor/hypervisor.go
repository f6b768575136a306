// Package hypervisor is the contract between Mooring and what runs the VMs:
// where disks live, how they reach a VM, and what is true about both. The
// comments are the specification; package hypervisortest is the suite that
// every implementation and every decorator passes.
//
// An implementation keeps no state that matters outside the hypervisor
// itself: after a restart of the service it finds the same disks and
// attachments again. A call that a crash interrupted has happened whole or,
// as far as Stat, List, Snapshots and Attached tell, not at all; repeating it
// completes it.
//
// Every error has a kind of package errkind. All methods are safe for
// concurrent use; callers serialise calls about one disk. A datastore or VM
// that does not exist is not-found.
package hypervisor

import (
	"context"
	"iter"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Ref names a disk. Disks of different groups never collide, and a volume's
// id is unique everywhere. Ids are made of letters, digits and dashes;
// anything else is invalid.
type Ref struct {
	Datastore string
	Group     volspec.VMGroupID
	Volume    volspec.VolumeID
}

// Disk is what is known of one disk on a datastore.
type Disk struct {
	Ref
	Size      volspec.Size // provisioned
	Allocated volspec.Size // really used on the datastore, snapshots not counted
	Meta      []byte       // the metadata beside it, nil when missing or unreadable
	Moved     string       // of one that is not at its place: where it is, and what brings it back
}

// Hypervisor is everything a volume service needs.
type Hypervisor interface {
	Disks
	Metadata
	Machines
	Datastores
}

// Disks makes, finds and removes disks.
type Disks interface {
	// Create makes a disk that reads as zeros. A size that is no multiple of the
	// datastore's unit is rounded up to one. The format decides what is
	// allocated now: thin nothing, zeroedthick all of it, eagerzeroedthick all
	// of it and written. Repeated with the same size and format: nil. A disk
	// of another size: exists. No room: quota, with nothing left behind.
	Create(ctx context.Context, r Ref, size volspec.Size, format string) error
	// Delete removes a disk, its snapshots and its metadata. Absent: nil.
	// Attached to a VM: in-use.
	Delete(ctx context.Context, r Ref) error
	// Stat describes one disk. Absent: not-found. Unreadable: corrupt.
	Stat(ctx context.Context, r Ref) (Disk, error)
	// List yields every disk of one datastore, in no order. An unreadable
	// entry is yielded with its error; the listing goes on.
	List(ctx context.Context, datastore string) iter.Seq2[Disk, error]
	// Grow enlarges a disk, rounding as Create does; what is attached sees the
	// new size. Already that large: nil. Never shrinks: smaller is invalid.
	// Absent: not-found. No room: quota, with the disk as it was. Where its
	// snapshots keep a disk from growing: in-use, with the remedy.
	Grow(ctx context.Context, r Ref, size volspec.Size) error
	// Clone copies src, or its snapshot if snap is not empty, to dst. The copy
	// is of one moment even while src is written to; where that cannot be had
	// it is unsupported, with the remedy. Repeated: nil when dst is complete.
	// A disk of another size at dst: exists. No such disk or snapshot:
	// not-found. No room: quota, with nothing left behind.
	Clone(ctx context.Context, src Ref, snap volspec.SnapshotID, dst Ref, format string) error
}

// Snapshotter is optional; ask with As. Snapshots of a disk go with it.
type Snapshotter interface {
	// Snapshot freezes the disk's content under id. Repeated: nil. Where the
	// storage cannot do it while the disk is attached: unsupported.
	Snapshot(ctx context.Context, r Ref, id volspec.SnapshotID) error
	// DeleteSnapshot removes one. Absent: nil.
	DeleteSnapshot(ctx context.Context, r Ref, id volspec.SnapshotID) error
	// Snapshots lists the ids of one disk's complete snapshots.
	Snapshots(ctx context.Context, r Ref) ([]volspec.SnapshotID, error)
}

// Metadata keeps a small record beside each disk, from which a lost catalog
// is rebuilt. Its content belongs to the caller.
type Metadata interface {
	// PutMeta replaces the record, atomically and durably. It may be called
	// before the disk exists. Alone it is no disk.
	PutMeta(ctx context.Context, r Ref, data []byte) error
}

// Power is a VM's power state.
type Power string

// Unknown is for a hypervisor that does not answer; nothing is released on it.
const (
	On      Power = "on"
	Off     Power = "off"
	Unknown Power = "unknown"
)

// VM is one virtual machine.
type VM struct {
	ID        volspec.VMID
	Name      string
	Datastore string // where the VM itself lives: what _VM_DS means
	Power     Power
	BootID    string // changes with every boot; "" when the hypervisor cannot tell
	Socket    string // path of the guest's channel, "" when it has none of its own
	// Folder is the innermost folder that it is in, absolute; "" where there are
	// none or the way to it cannot be seen. See Folders.
	Folder volspec.Folder
}

// Device is an attached disk.
type Device struct {
	Ref
	VM       volspec.VMID
	Serial   string // what the guest finds it by; the same at every attach
	ReadOnly bool
	Size     volspec.Size
}

// Machines knows the VMs and plugs disks into them.
type Machines interface {
	// VMs lists all VMs, by name.
	VMs(ctx context.Context) ([]VM, error)
	// VM describes one. Unknown: not-found.
	VM(ctx context.Context, id volspec.VMID) (VM, error)
	// Attach plugs a disk into a VM, where it appears under its serial.
	// Read-only holds below the guest. Repeated for the same VM and mode: the
	// same device. Attached to another VM, or in the other mode: in-use.
	// A VM that is off: unavailable. No such disk: not-found.
	Attach(ctx context.Context, vm volspec.VMID, r Ref, readOnly bool) (Device, error)
	// Detach unplugs a disk. Not attached: nil. While anything in the guest
	// has it mounted or open: in-use, with nothing changed; a hypervisor that
	// cannot look into its guests relies on them to have let go. From a VM that
	// is off it is always unplugged.
	Detach(ctx context.Context, vm volspec.VMID, r Ref) error
	// Fence cuts a VM off a disk without asking the guest: after nil nothing
	// that VM does reaches the disk, and the disk can be attached elsewhere.
	// Not attached: nil. Cannot be done: in-use, with the remedy.
	Fence(ctx context.Context, vm volspec.VMID, r Ref) error
	// Attached lists all attachments on all VMs: the truth.
	Attached(ctx context.Context) ([]Device, error)
}

// DatastoreState says what can be done with a datastore.
type DatastoreState string

// Offline includes a place that is there but is not the datastore we knew:
// an empty mount point, another file system. Every call about a disk on an
// offline datastore is unavailable, except Detach and Fence; on a read-only
// one those that change anything there are, attaching read-write among them.
const (
	Online        DatastoreState = "online"
	ReadOnlyStore DatastoreState = "read-only"
	Offline       DatastoreState = "offline"
)

// Datastore is a place for disks.
type Datastore struct {
	Name     string
	ID       string // stays with the storage, not with the name
	Type     string // file system or kind
	Path     string // where, in words
	Capacity volspec.Size
	Free     volspec.Size
	Unit     volspec.Size // sizes of disks are multiples of it, a power of two
	Reflink  bool         // instant clones and snapshots of attached disks
	State    DatastoreState
	Detail   string // why it is not online
}

// Datastores knows the datastores.
type Datastores interface {
	// Datastores lists all, by name, reachable or not. A datastore that was
	// never adopted is offline and has no ID.
	Datastores(ctx context.Context) ([]Datastore, error)
}

// Event is something that happened in the hypervisor.
type Event struct {
	Time time.Time
	VM   volspec.VMID
	Kind string // power-off, power-on
}

// Watcher is optional; ask with As. A hypervisor without it is polled.
type Watcher interface {
	// Watch sends events until ctx ends, which is no error. Missed events are
	// not replayed: after every (re)connect the caller compares states itself.
	Watch(ctx context.Context, events chan<- Event) error
}

// Adopter is optional; ask with As. Without it datastores need no adoption.
type Adopter interface {
	// Adopt marks the place of a datastore as the datastore, so that it is
	// known again and told from an empty mount point, and returns its ID. It is
	// for names that were never used before. Repeated, or a place that bears a
	// mark already: the ID in the mark. A place with disks but without a mark:
	// exists. Unreachable or read-only: unavailable.
	Adopt(ctx context.Context, datastore string) (id string, err error)
}

// As finds an optional ability in h or in what h decorates.
func As[T any](h any) (T, bool) {
	for h != nil {
		if t, ok := h.(T); ok {
			return t, true
		}
		u, ok := h.(interface{ Unwrap() Hypervisor })
		if !ok {
			break
		}
		h = u.Unwrap()
	}
	var zero T
	return zero, false
}
