package backup

import (
	"context"
	"io"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Volume is a volume as backup sees it.
type Volume struct {
	ID       volspec.VolumeID
	Group    volspec.VMGroup
	Name     volspec.Name
	Size     volspec.Size
	Spec     volspec.Spec
	Format   volspec.Format
	FSUUID   string
	FSSize   volspec.Size
	Attached string // VM that has it, "" for none
	Created  time.Time
}

// Taken is a snapshot as it came about.
type Taken struct {
	Volume      Volume
	Size        volspec.Size
	Consistency volspec.Consistency
	Stall       time.Duration // how long writers waited
	Note        string        // why it is not more consistent
	At          time.Time
}

// OwnedSnapshot is one snapshot that was taken for backup.
type OwnedSnapshot struct {
	Volume volspec.VolumeID
	ID     volspec.SnapshotID
	Owner  string
}

// RestoreTo is a volume to be made of a recovery point.
type RestoreTo struct {
	Caller  volspec.Caller
	Group   string // name
	Request wire.CreateVolume
}

// Volumes is the volume service as backup needs it. All of it can be
// repeated.
type Volumes interface {
	// Volumes lists the ready volumes of a vmgroup that have a disk; "" of all.
	Volumes(ctx context.Context, g volspec.VMGroupID) ([]Volume, error)
	Volume(ctx context.Context, id volspec.VolumeID) (Volume, error)
	// Find resolves a name in a vmgroup.
	Find(ctx context.Context, c volspec.Caller, group, name string) (Volume, error)

	TakeSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID, owner string, require volspec.Consistency) (Taken, error)
	DropSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) error // absent: nil
	Snapshots(ctx context.Context) ([]OwnedSnapshot, error)
	OpenSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) (image.Image, error)
	// Changed is hypervisor.Imager.Changed.
	Changed(ctx context.Context, v volspec.VolumeID, base, id volspec.SnapshotID) image.Extents
	// Moment and ChangedSince are those of hypervisor.Moments. Where the hypervisor
	// has none a snapshot has the moment "".
	Moment(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) (string, error)
	ChangedSince(ctx context.Context, v volspec.VolumeID, moment string, id volspec.SnapshotID) image.Extents

	// Restore makes a new volume, which asks Service.Fill for its content.
	Restore(ctx context.Context, to RestoreTo) (wire.Volume, error)
	// RestoreInPlace replaces the content of a detached volume and keeps the old
	// one as the snapshot keep.
	RestoreInPlace(ctx context.Context, c volspec.Caller, group, name string, p PointInfo, keep string) (wire.Volume, error)
	// ViewsOf names the volumes that show a point.
	ViewsOf(ctx context.Context, p volspec.PointID) ([]string, error)
}

// PointInfo is what making a volume of a point needs to know.
type PointInfo struct {
	ID      volspec.PointID
	Volume  string
	Created time.Time
	Size    volspec.Size
	Spec    volspec.Spec
	FSUUID  string
	Format  volspec.Format
	FSSize  volspec.Size
}

// Jobs is the job queue.
type Jobs interface {
	Enqueue(ctx context.Context, j job.Job) (job.Job, error)
	// Put is Enqueue in a transaction of the caller, who calls Wake with what was
	// added when that is committed.
	Put(tx job.Tx, j job.Job) (_ job.Job, added bool, err error)
	Wake(ctx context.Context, put []job.Job)
	Get(ctx context.Context, id volspec.JobID) (job.Job, error)
	List(ctx context.Context, q job.Query) ([]job.Job, error)
	Cancel(ctx context.Context, id volspec.JobID) (job.Job, error)
	// Wait is Get when the job has ended, or when ctx does.
	Wait(ctx context.Context, id volspec.JobID) (job.Job, error)
}

// Tenants decides which vmgroups may begin jobs.
type Tenants interface {
	// Refusals tells why vmgroups may not, with protect why they may not protect
	// anything. One that is not in the answer may.
	Refusals(ctx context.Context, protect bool, groups ...volspec.VMGroupID) (map[volspec.VMGroupID]error, error)
}

// Away are the transporters of a vmgroup of which none is online.
type Away struct {
	Names []string      // none: it has none
	For   time.Duration // since the last of them was online
}

// Transporters knows which transporters are online.
type Transporters interface {
	// Away tells of those vmgroups that have no transporter that is online.
	Away(ctx context.Context, groups ...volspec.VMGroupID) (map[volspec.VMGroupID]Away, error)
}

// Keyring seals secrets.
type Keyring interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
	Rotate() (keyID string, err error)
	// NewPassword makes a random password of at least 256 bits.
	NewPassword() string
}

// Secrets are secrets that others keep, sealed with the same master key.
type Secrets interface {
	// Reseal puts what again makes of each sealed secret in its place, and counts
	// them.
	Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (int, error)
}

// Event is something that people are told.
type Event struct {
	Group    string // name of the vmgroup
	GroupID  volspec.VMGroupID
	Kind     string
	Object   string
	Severity string // error, warning, info
	Sentence string
}

// Notifier tells people; it never blocks.
type Notifier interface {
	Notify(ctx context.Context, e Event)
}

// Files reads filesystems inside images.
type Files interface {
	// Open mounts an image read-only somewhere private.
	Open(ctx context.Context, img image.Image) (FS, error)
	// Drill restores to scratch, checks, mounts and reads. The disk of a VM may
	// hold anything: what is known of it is checked, the rest is named.
	Drill(ctx context.Context, img image.Image, disk bool, report func(done, total int64)) (Drilled, error)
}

// Drilled is the report of a drill. Failed names the step that was red.
type Drilled struct {
	Steps      []DrillStep `json:"steps"`
	Failed     string      `json:"failed"`
	Why        string      `json:"why"`
	Filesystem string      `json:"filesystem"` // "": the volume was never formatted
	Files      int64       `json:"files"`
	Bytes      int64       `json:"bytes"`           // read back and compared
	Parts      []DrillPart `json:"parts,omitempty"` // of the disk of a VM
}

// DrillPart is one partition of a disk, or the whole of a disk without any.
type DrillPart struct {
	Name       string `json:"name"`       // "" for the whole disk
	Filesystem string `json:"filesystem"` // that was checked, "" for none
	Holds      string `json:"holds"`      // in words, where none was
	Files      int64  `json:"files"`
}

// DrillStep is one step of a drill. Result is ok, failed or skipped.
type DrillStep struct {
	Name   string        `json:"name"`
	Part   string        `json:"part,omitempty"` // partition of the disk of a VM
	Result string        `json:"result"`
	Took   time.Duration `json:"took_ns"`
	Detail string        `json:"detail"`
}

// FS is a mounted filesystem of an image. Paths are slash-separated from its
// root; no link is followed.
type FS interface {
	List(ctx context.Context, path, after string, limit int) ([]wire.File, string, error)
	OpenFile(ctx context.Context, path string) (io.ReadCloser, wire.File, error)
	Tar(ctx context.Context, w io.Writer, paths []string) error
	Close() error
}

// Views shows points as disks.
type Views interface {
	Add(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID, open func(context.Context) (image.Image, error)) error
	Remove(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID) error
}
