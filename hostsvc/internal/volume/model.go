// Package volume is the life of volumes: creating, attaching, growing,
// cloning, trashing and removing them. Each step that touches a disk is an
// intent in the catalog before it is a deed; Recover finishes or undoes what
// a crash interrupted, with the functions of the normal path.
//
// Locks: one key per volume id (and one per name while it is created), in
// this process; between processes that share a catalog the intent itself is
// the lock, see Op.
package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Key is a live volume's place in its vmgroup's namespace.
type Key struct {
	Group     volspec.VMGroupID
	Datastore string
	Name      string
}

// Record is one volume in the catalog.
type Record struct {
	ID        volspec.VolumeID
	Key       Key
	Home      volspec.VMGroupID // folder of the disk where it differs from Key.Group, after an adoption
	State     volspec.State
	Format    volspec.Format
	Size      volspec.Size
	Spec      volspec.Spec // defaults filled in
	FSUUID    string
	CloneFrom string // name of the source at the time
	Created   time.Time
	CreatedBy string // VM name or "admin"
	Serial    string // what a guest finds the disk by, as of its last attachment; "" before the first
	Used      volspec.Size
	FSSize    volspec.Size
	FSNote    string
	TrashedAt time.Time
	Health    string // what is wrong; what to do. "" is healthy
	MetaStale bool   // the metadata beside the disk is older than this record
	Holder    Holder
	Op        Op

	// ViewOf is the recovery point that a read-only volume shows; it has no disk
	// on Key.Datastore then, and takes no room. "" for every other volume.
	ViewOf volspec.PointID
}

// Holder is the VM that has the disk. Epoch stays and grows when nobody has.
// Installation is whose hypervisor gave it the disk: a VM that this one does
// not know is gone only if it was this one's.
type Holder struct {
	VM           volspec.VMID
	VMName       string
	BootID       string
	Installation string
	Epoch        int64
	ReadOnly     bool
	Since        time.Time
}

// OpKind names a recorded intent.
type OpKind string

// The intents. Attach and detach leave the disk alone, all others change it.
const (
	OpCreate     OpKind = "create"     // undo: delete the disk and the record
	OpClone      OpKind = "clone"      // undo: the same
	OpGrow       OpKind = "grow"       // finish: grow to Op.Size
	OpReset      OpKind = "reset"      // finish: replace a half-formatted disk by a blank one
	OpAttach     OpKind = "attach"     // undo: detach
	OpDetach     OpKind = "detach"     // finish if the guest has let go, else undo
	OpFence      OpKind = "fence"      // finish
	OpSnapshot   OpKind = "snapshot"   // undo: delete the snapshot
	OpUnsnapshot OpKind = "unsnapshot" // finish
	OpDelete     OpKind = "delete"     // finish
	OpRestore    OpKind = "restore"    // undo: as OpClone
	OpReplace    OpKind = "replace"    // finish if the disk was replaced, else undo: delete the snapshot
)

// Op is the intent in progress; the zero Op is none. It is also the lock
// between processes: a record whose Op belongs to a living instance is
// in use by it.
type Op struct {
	Kind     OpKind
	Instance string // of the process that began it
	Size     volspec.Size
	Snapshot volspec.SnapshotID
	VM       volspec.VMID
	Started  time.Time
	Detail   string // of OpReplace: what the disk holds when it is replaced, see newContent
}

// Snapshot is one snapshot in the catalog. Size counts in the quota, unless
// it has an Owner: such a snapshot was taken for backup and is no user's to
// see, copy or delete.
type Snapshot struct {
	ID      volspec.SnapshotID
	Volume  volspec.VolumeID
	Name    string
	Size    volspec.Size
	Created time.Time
	Owner   string
}

// Filter selects records; zero fields select everything. Results are ordered
// by group, name, datastore, id. After and Limit page through them.
type Filter struct {
	Group     volspec.VMGroupID
	Datastore string
	States    []volspec.State
	Holder    volspec.VMID
	Held      bool // only records with a holder
	Busy      bool // only records with an Op
	Stale     bool // only records with MetaStale
	Views     bool // only records with ViewOf
	After     Cursor
	Limit     int
}

// Cursor is the last record of a page.
type Cursor struct {
	Group     volspec.VMGroupID
	Name      string
	Datastore string
	ID        volspec.VolumeID
}

// Audit is one line of the audit log.
type Audit = volspec.Audit

// Store is the catalog as this package sees it.
type Store interface {
	// View runs fn on a consistent snapshot.
	View(ctx context.Context, fn func(Tx) error) error
	// Update runs fn in a transaction that no other Update overlaps, in this
	// process or another on the same catalog; an error of fn undoes it. fn may
	// run more than once.
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	// Rights reads a vmgroup with its access rows.
	Rights(g volspec.VMGroupID) (volspec.Rights, error)
	GroupByName(name string) (volspec.VMGroup, error)
	// GroupOfVM is the vmgroup of a VM: the one that lists it, else _DEFAULT if
	// there is one, else not-found.
	GroupOfVM(vm volspec.VMID) (volspec.VMGroup, error)
	Groups() ([]volspec.VMGroup, error)
	// Usage counts volumes of every state and snapshots without an owner. A
	// record with OpGrow counts with Op.Size, one with ViewOf with nothing.
	Usage(g volspec.VMGroupID, datastore string) (volspec.Usage, error)
	// Provisioned is the usage of one datastore by all vmgroups together.
	Provisioned(datastore string) (volspec.Usage, error)

	Volume(id volspec.VolumeID) (Record, error)
	// VolumeByKey finds a volume that is creating or ready; the trash has no
	// names.
	VolumeByKey(k Key) (Record, error)
	Volumes(f Filter) ([]Record, error)
	// PutVolume inserts or replaces by ID. A key taken by another live volume
	// is errkind.Exists.
	PutVolume(r Record) error
	// DeleteVolume removes a record and its snapshots. Absent: nil.
	DeleteVolume(id volspec.VolumeID) error

	Snapshots(v volspec.VolumeID) ([]Snapshot, error) // with those that have an owner
	// OwnedSnapshots are those of all volumes that have an owner.
	OwnedSnapshots() ([]Snapshot, error)
	PutSnapshot(s Snapshot) error
	DeleteSnapshot(id volspec.SnapshotID) error // absent: nil

	// Datastore is the id under which a datastore name was first seen, ""
	// before.
	Datastore(name string) (id string, err error)
	PutDatastore(name, id string) error

	// Alive reports whether the process instance has renewed its lease.
	Alive(instance string) (bool, error)
	// Renew keeps an instance alive for ttl from now; installation groups the
	// successive instances of one state directory, of which only the newest
	// lives.
	Renew(instance, installation string, ttl time.Duration) error

	AddAudit(a Audit) error
	Audit(vmgroup string, limit int) ([]Audit, error) // newest first
}
