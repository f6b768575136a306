// Package wire is what guests, the command line and the host service say to
// each other: HTTP with JSON bodies below /api/v1 over any channel of package
// transport. It holds the bodies, the limits and the version handshake, and
// no behaviour.
//
// No body and no path of a guest's request names a VM or a vmgroup: both
// follow from the channel.
package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Prefix is the path below which every endpoint lies.
const Prefix = "/api/v1"

// Protocol is the version of this package's messages that a build speaks,
// MinProtocol the oldest it still understands. A peer states its own in the
// header HeaderProtocol; one outside the range is refused with a sentence
// that names both. Additions do not raise it: they are capabilities.
const (
	Protocol    = 1
	MinProtocol = 1
)

// Headers.
const (
	HeaderProtocol = "Mooring-Protocol"
	HeaderRequest  = "X-Request-Id"
	HeaderNext     = "Mooring-Next" // of a part of a list that is an array: the parameter after of the next one
)

// Limits of a message. A request body above MaxRequest is refused.
const (
	MaxRequest = 256 << 10
	MaxReply   = 64 << 20
)

// Problem is the body of every error (RFC 9457, application/problem+json)
// with our kind and the request's id.
type Problem struct {
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Detail  string `json:"detail"`
	Kind    string `json:"kind"`
	Request string `json:"request"`
}

// Hello is the handshake's answer.
type Hello struct {
	Version      string   `json:"version"`
	Protocol     int      `json:"protocol"`
	MinProtocol  int      `json:"min_protocol"`
	Capabilities []string `json:"capabilities"`
	VM           string   `json:"vm,omitempty"` // the caller's name, for guests
}

// CreateVolume asks for a volume. Name may be short or full; the options are
// those of docker volume create -o.
type CreateVolume struct {
	Name    string            `json:"name"`
	Options map[string]string `json:"options,omitempty"`
}

// Volume is one volume as its vmgroup sees it.
type Volume struct {
	ID          volspec.VolumeID `json:"id"`
	Name        string           `json:"name"`      // volume@datastore
	Volume      string           `json:"volume"`    // without the datastore
	Datastore   string           `json:"datastore"` //
	VMGroup     string           `json:"vmgroup"`
	State       volspec.State    `json:"state"`
	Format      volspec.Format   `json:"format"`
	SizeBytes   int64            `json:"size_bytes"`
	UsedBytes   int64            `json:"used_bytes"`   // allocated on the datastore
	FSBytes     int64            `json:"fs_bytes"`     // size of the filesystem, 0 when not known
	FSNote      string           `json:"fs_note"`      // why the filesystem is smaller than the disk, or ""
	Spec        volspec.Spec     `json:"spec"`         // defaults filled in
	CloneFrom   string           `json:"clone_from"`   //
	Created     time.Time        `json:"created"`      //
	CreatedBy   string           `json:"created_by"`   // VM name, or "admin"
	AttachedTo  string           `json:"attached_to"`  // VM name, "" when detached
	AttachState string           `json:"attach_state"` // detached, attaching, attached, detaching
	AttachedAt  time.Time        `json:"attached_at,omitzero"`
	Epoch       int64            `json:"epoch"`
	Serial      string           `json:"serial"` // what guests find it by, "" before the first attachment
	Snapshots   int              `json:"snapshots"`
	TrashedAt   time.Time        `json:"trashed_at,omitzero"`
	PurgeAfter  time.Time        `json:"purge_after,omitzero"`
	Health      string           `json:"health"` // ok, or a sentence
	ViewOf      volspec.PointID  `json:"view_of,omitempty"`
	Backup      *VolumeBackup    `json:"backup,omitempty"` // of one volume; not in listings
}

// VolumeList is the answer to a listing. Next is the cursor of the following
// page, "" on the last.
type VolumeList struct {
	Volumes []Volume `json:"volumes"`
	Next    string   `json:"next,omitempty"`
}

// Attach asks for a volume's disk in the calling VM. BootID identifies this
// boot of the guest: attachments of an earlier boot are released. WaitMS is
// how long the caller is willing to wait for another holder to let go.
type Attach struct {
	BootID string `json:"boot_id"`
	WaitMS int64  `json:"wait_ms"`
}

// Attachment is a disk plugged into the calling VM. Epoch grows with every
// attachment of the volume; all later calls about it name it.
type Attachment struct {
	ID       volspec.VolumeID `json:"id"`
	Name     string           `json:"name"` // volume@datastore
	Epoch    int64            `json:"epoch"`
	Serial   string           `json:"serial"`
	Size     int64            `json:"size"` // bytes
	ReadOnly bool             `json:"read_only"`
	Format   volspec.Format   `json:"format"` // blank: mkfs is this guest's to do, once
	FSUUID   string           `json:"fs_uuid"`
	Spec     volspec.Spec     `json:"spec"`
}

// Detach gives a disk back. Epoch 0 means whichever attachment the calling
// VM has. A volume not attached to the caller is a success.
type Detach struct {
	Epoch int64 `json:"epoch"`
}

// SetFormat moves a disk's format state. Formatting is granted once, to the
// holder of Epoch, and only from blank; Formatted only from formatting. Blank
// gives a grant back under which nothing was written: the disk is kept.
type SetFormat struct {
	Epoch int64          `json:"epoch"`
	State volspec.Format `json:"state"`
}

// Heartbeat is what a guest says of itself every few seconds.
type Heartbeat struct {
	BootID string      `json:"boot_id"`
	Plugin string      `json:"plugin"` // version
	Uses   []VolumeUse `json:"uses"`
}

// VolumeUse is one attached volume as the guest finds it.
type VolumeUse struct {
	ID      volspec.VolumeID `json:"id"`
	Epoch   int64            `json:"epoch"`
	Mounted bool             `json:"mounted"`
	FSBytes int64            `json:"fs_bytes"`
	FSNote  string           `json:"fs_note"`
}

// HeartbeatReply is what the host believes the calling VM holds. A guest
// detaches what it has no use for and grows filesystems to Size.
type HeartbeatReply struct {
	Attachments []Attachment `json:"attachments"`
}

// VMGroup is a vmgroup as the admin sees it.
type VMGroup struct {
	ID               volspec.VMGroupID `json:"id"`
	Name             string            `json:"name"`
	Description      string            `json:"description"`
	DefaultDatastore string            `json:"default_datastore"` // "" when not set: that of the VM
	VMs              []VM              `json:"vms"`
	Access           []Access          `json:"access"`
	Folders          []volspec.Folder  `json:"folders"` // absolute paths
	Source           string            `json:"source"`  // file that declares it, "" when made by hand
	State            string            `json:"state"`   // enabled, disabled or deleted
	Health           string            `json:"health"`  // good, notices or alarms
}

// VM is a virtual machine.
type VM struct {
	ID        volspec.VMID `json:"id"`
	Name      string       `json:"name"`
	VMGroup   string       `json:"vmgroup,omitempty"`
	Datastore string       `json:"datastore,omitempty"`
	Power     string       `json:"power,omitempty"` // on, off, unknown
	Channel   string       `json:"channel,omitempty"`
	LastSeen  time.Time    `json:"last_seen,omitzero"`
	Plugin    string       `json:"plugin,omitempty"`
	Attached  int          `json:"attached"`
	// Certificate says where its enrolment on TLS channels stands, "" when it
	// never began: until TIME, invited until TIME, expired, revoked, or refused
	// with the reason.
	Certificate string `json:"certificate,omitempty"`
}

// Access is one access row. Zero limits mean unlimited.
type Access struct {
	Datastore   string       `json:"datastore"`
	AllowCreate bool         `json:"allow_create"`
	MaxSize     volspec.Size `json:"max_size"`
	TotalSize   volspec.Size `json:"total_size"`
	UsedBytes   int64        `json:"used_bytes"` // in this datastore; 0 for special names
}

// Folder is a folder of VMs that was granted to a vmgroup.
type Folder struct {
	Folder volspec.Folder `json:"folder"` // absolute path
	State  string         `json:"state"`  // there, missing, unknown
	VMs    []VM           `json:"vms"`    // that the vmgroup may protect because they are in it
}

// GrantFolder gives a vmgroup a folder of VMs. A relative path begins below the
// folder that holds all VMs.
type GrantFolder struct {
	Folder string `json:"folder"`
}

// CreateVMGroup makes a vmgroup.
type CreateVMGroup struct {
	Name             string   `json:"name"`
	Description      string   `json:"description,omitempty"`
	DefaultDatastore string   `json:"default_datastore,omitempty"`
	VMs              []string `json:"vms,omitempty"`
}

// UpdateVMGroup changes what is not nil.
type UpdateVMGroup struct {
	NewName          *string `json:"new_name,omitempty"`
	Description      *string `json:"description,omitempty"`
	DefaultDatastore *string `json:"default_datastore,omitempty"`
}

// VMList names VMs to add to, remove from or keep in a vmgroup.
type VMList struct {
	VMs []string `json:"vms"`
}

// SetAccess adds or changes an access row. In a change, nil keeps the value;
// a zero size removes the limit.
type SetAccess struct {
	Datastore        string        `json:"datastore"`
	AllowCreate      *bool         `json:"allow_create,omitempty"`
	MaxSize          *volspec.Size `json:"max_size,omitempty"`
	TotalSize        *volspec.Size `json:"total_size,omitempty"`
	DefaultDatastore bool          `json:"default_datastore,omitempty"`
}

// Datastore is a place for disks.
type Datastore struct {
	Name      string `json:"name"`
	ID        string `json:"id"`
	Type      string `json:"type"` // filesystem or kind
	Path      string `json:"path"`
	Capacity  int64  `json:"capacity"`
	Free      int64  `json:"free"`
	Reflink   bool   `json:"reflink"`
	State     string `json:"state"` // online, read-only, offline
	Detail    string `json:"detail"`
	Volumes   int    `json:"volumes"`
	Allocated int64  `json:"allocated"` // provisioned bytes of its volumes
}

// Scan looks for disks that the catalog does not know. With Dockvols also for
// volumes of the vSphere Docker Volume Service.
type Scan struct {
	Adopt    bool `json:"adopt"`
	Dockvols bool `json:"dockvols,omitempty"`
}

// ScanResult lists what a scan found, and did when adopting.
type ScanResult struct {
	Datastore string     `json:"datastore"`
	Items     []ScanItem `json:"items"`
}

// ScanItem is one disk on a datastore. Action is known, adopted, adoptable,
// missing, conflict, refused or corrupt; Detail says why.
type ScanItem struct {
	ID     volspec.VolumeID `json:"id"`
	Name   string           `json:"name"`
	Group  string           `json:"vmgroup"`
	Size   int64            `json:"size"`
	Action string           `json:"action"`
	Detail string           `json:"detail"`
}

// SetVolume changes what is not nil.
type SetVolume struct {
	Access    *string   `json:"access,omitempty"`
	AttachAs  *string   `json:"attach_as,omitempty"`
	Protect   *bool     `json:"protect,omitempty"`
	MountOpts *[]string `json:"mountopts,omitempty"`
	// BackupPolicy is the name of one of the vmgroup's, "" for none.
	BackupPolicy *string `json:"backup_policy,omitempty"`
}

// Resize grows a volume to Size.
type Resize struct {
	Size volspec.Size `json:"size"`
}

// CreateSnapshot names a new snapshot.
type CreateSnapshot struct {
	Name string `json:"name"`
}

// Snapshot is a frozen state of one volume.
type Snapshot struct {
	ID      volspec.SnapshotID `json:"id"`
	Name    string             `json:"name"`
	Volume  string             `json:"volume"`
	Size    int64              `json:"size"`
	Created time.Time          `json:"created"`
}

// DetachVolume is the admin's detach. Force fences a holder that does not
// answer: after it, nothing that VM writes reaches the disk.
type DetachVolume struct {
	Force bool `json:"force"`
}

// Undelete takes a volume out of the trash, under NewName if given.
type Undelete struct {
	NewName string `json:"new_name,omitempty"`
}

// Status is the service's own state.
type Status struct {
	Version    string           `json:"version"`
	PID        int              `json:"pid"`
	Started    time.Time        `json:"started"`
	Ready      bool             `json:"ready"`
	Hypervisor string           `json:"hypervisor"`
	Catalog    string           `json:"catalog"` // driver and place, without secrets
	Config     string           `json:"config"`
	LogLevel   string           `json:"log_level"`
	Counts     map[string]int64 `json:"counts"` // vmgroups, vms, volumes, attached, trashed, datastores
	Problems   []string         `json:"problems"`
}

// Finding is one line of doctor: level is ok, warning or error.
type Finding struct {
	Level  string `json:"level"`
	Check  string `json:"check"`
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`          // vm:NAME, admin:UID, user:NAME or user:TENANT/NAME
	As      string    `json:"as,omitempty"`   // the vmgroup for which a master's user acted
	From    string    `json:"from,omitempty"` // network address
	VMGroup string    `json:"vmgroup"`
	Action  string    `json:"action"`
	Object  string    `json:"object"`
	Outcome string    `json:"outcome"` // ok, or the kind of the refusal
	Detail  string    `json:"detail"`
	Request string    `json:"request"`
}

// Message is the answer of verbs that have nothing else to say.
type Message struct {
	Message string `json:"message"`
}
