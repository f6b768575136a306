// Package repository is the contract of places where recovery points live.
// Package kopia below it implements it in kopia's format, which the standard
// kopia program reads without us.
//
// A repository belongs to one tenant and has a key of its own: nothing in it
// is shared with another tenant's, and another key opens nothing. Beside the
// recovery points it holds an identity. A place without the expected identity
// is never written to: absence is no reason to delete anything.
//
// Every error has a kind of package errkind: not-found for a point, wrong-key
// for a wrong key, conflict kinds (exists, in-use), offline for a place that
// is away or shows another identity, unavailable for one that does not answer
// or cannot be written now, corrupt for damaged blobs, quota for a full place.
// Errors never hold secrets. All methods are safe for concurrent use.
package repository

import (
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Types of locations.
const (
	Directory = "directory"
	S3        = "s3"
	SFTP      = "sftp"
)

// Location says where a repository lies. It holds no secret.
type Location struct {
	Type string `json:"type"`
	// Path is the folder, of a directory on this machine (absolute) or on the
	// SFTP server.
	Path string `json:"path,omitempty"`
	// S3. Endpoint is host[:port]; Insecure speaks plain HTTP; CAFile verifies
	// the server's certificate instead of the system's authorities.
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Insecure bool   `json:"insecure,omitempty"`
	CAFile   string `json:"ca_file,omitempty"`
	// SFTP. HostKey is the server's public key, "ssh-ed25519 AAAA…": without it
	// no connection is made.
	Host    string `json:"host,omitempty"`
	Port    int    `json:"port,omitempty"`
	User    string `json:"user,omitempty"`
	HostKey string `json:"host_key,omitempty"`
}

// Credentials open a location. They are secrets and redact themselves when
// printed.
type Credentials struct {
	AccessKey    string `json:"access_key,omitempty"`    // S3
	SecretKey    string `json:"secret_key,omitempty"`    // S3
	SessionToken string `json:"session_token,omitempty"` // S3
	PrivateKey   string `json:"private_key,omitempty"`   // SFTP, PEM
	Password     string `json:"password,omitempty"`      // SFTP
}

// String hides everything.
func (Credentials) String() string { return "[redacted]" }

// GoString hides everything.
func (Credentials) GoString() string { return "[redacted]" }

// Identity is what tells a repository from every other.
type Identity struct {
	ID      volspec.RepositoryID `json:"id"`     // given by who creates it
	Unique  string               `json:"unique"` // of the format, hexadecimal
	Tenant  string               `json:"tenant"` // id of the vmgroup
	Created time.Time            `json:"created"`
}

// Source says of which volume a point is.
type Source struct {
	Tenant     string           `json:"tenant"` // id of the vmgroup
	TenantName string           `json:"tenant_name"`
	Volume     volspec.VolumeID `json:"volume"`
	Name       string           `json:"name"` // volume@datastore at the time
}

// Point is one recovery point as the repository knows it.
type Point struct {
	ID          volspec.PointID     `json:"id"`
	Source      Source              `json:"source"`
	Created     time.Time           `json:"created"` // the moment it shows
	Ended       time.Time           `json:"ended"`   // when it was complete
	Size        int64               `json:"size"`    // of the disk
	Parent      volspec.PointID     `json:"parent,omitempty"`
	Consistency volspec.Consistency `json:"consistency"`
	Tracking    string              `json:"tracking"` // how changes were found, in the caller's words unless it came otherwise
	Stats       Stats               `json:"stats"`
	CopyOf      volspec.PointID     `json:"copy_of,omitempty"`
	// Meta belongs to the caller: what a restore needs to know of the volume.
	Meta json.RawMessage `json:"meta,omitempty"`
}

// Stats are bytes of one backup.
type Stats struct {
	Read   int64 `json:"read"`   // from the source
	Stored int64 `json:"stored"` // new in the repository, as stored (packed, compressed)
	New    int64 `json:"new"`    // new in the repository, before compression
	Data   int64 `json:"data"`   // of the point that are not holes, before deduplication
}

// Progress of long work. Total is 0 while it is not known.
type Progress struct {
	Done, Total int64 // bytes of the source or of the point looked at or passed over
	Read        int64 // bytes really read
	Stored      int64 // bytes written to the repository
}

// Report is told of progress, from any goroutine, at most a few times a second.
type Report func(Progress)

// Backup is one image to be stored.
type Backup struct {
	Point Point // ID, Source, Created, Consistency, Meta and CopyOf are the caller's; the rest is filled in
	Image image.Image
	// Parent is a point of the same volume in this repository whose unchanged
	// blocks are taken over; "" reads everything that is not a hole.
	Parent volspec.PointID
	// Changed are the ranges that may differ from Parent; nil reads everything
	// and stores what differs. It is ignored without Parent.
	Changed image.Extents
	// Sample is the share of the blocks taken over from Parent that are read
	// again and compared, from 0 to 1; at least one if it is above 0. A block
	// that differs fails the backup with ErrTracking.
	Sample float64
	// Streams is how many blocks are worked on at a time; 0: two per processor.
	Streams int
	// Limit is bytes per second written to the repository; 0: no limit.
	Limit int64
}

// TrackingError is a change tracking that did not tell of a change: the
// caller repeats the backup with a full read.
type TrackingError struct{ Offset int64 }

// VerifyMode says how much is read.
type VerifyMode string

// Quick: index and manifest are complete and every block is known and its
// pack exists in the place with the right length. Sampled: that, and a share
// of the blocks is read back and hashed. Full: all of them.
const (
	Quick   VerifyMode = "quick"
	Sampled VerifyMode = "sampled"
	Full    VerifyMode = "full"
)

// Verify is one look at a point. Share is for Sampled, from 0 to 1.
type Verify struct {
	Mode    VerifyMode
	Share   float64
	Streams int
	Limit   int64 // bytes per second read; 0: no limit
}

// Verified is what was found. Damage is not an error of the call.
type Verified struct {
	Blocks  int64          // looked at
	Bytes   int64          // read back and hashed
	Damaged []image.Extent // of the image; blocks that cannot be read. At most 1000, see Lost
	Lost    int64          // bytes of the image that cannot be read
	Why     string         // of the first damage
}

// Status is what a repository holds.
type Status struct {
	Identity Identity
	Points   int
	Logical  int64 // bytes of all points, holes not counted
	Unique   int64 // bytes of distinct blocks, before compression
	Stored   int64 // bytes in the place
	Blobs    int64
	Format   string // version, hash, encryption and splitter in words
	ReadOnly bool
}

// Maintained is what a maintenance did.
type Maintained struct {
	Ran         bool // false: nothing was due, or another owner does it
	Freed       int64
	Quarantined int64 // damaged blocks taken out of use, to be stored again by the next backup
	Note        string
}

// Repository is an open repository.
type Repository interface {
	Identity() Identity
	// Write stores an image. The point exists when Write returns nil, and not
	// before: a crash leaves nothing that is listed, and what was stored already
	// is not stored again the next time. Repeated with the ID of a point that
	// exists: that point. A parent that is gone, of another volume, or whose
	// index is damaged: a full read, said in Tracking. Blocks taken over are
	// checked to exist. Memory is bounded, whatever the size of the disk, and an
	// unchanged part of a disk costs neither reads nor memory.
	Write(ctx context.Context, b Backup, report Report) (Point, error)
	// Points lists all points, oldest first. A manifest that cannot be read is
	// left out and is the error, joined, beside the others.
	Points(ctx context.Context) ([]Point, error)
	// Point reads one. Absent: not-found.
	Point(ctx context.Context, id volspec.PointID) (Point, error)
	// Open opens a point's image. Reads of damaged blocks are corrupt, with the
	// range. Data is exact in blocks.
	Open(ctx context.Context, id volspec.PointID) (image.Image, error)
	// Delete drops a point. Its blocks stay until a maintenance finds that no
	// point needs them. Absent: nil.
	Delete(ctx context.Context, id volspec.PointID) error
	// Verify looks at a point without changing anything but the quarantine:
	// blocks found damaged are not used again for deduplication.
	Verify(ctx context.Context, id volspec.PointID, v Verify, report Report) (Verified, error)
	// Copy stores a point of this repository in another one as id, reading only
	// blocks that dst does not have; parent, if not "", is a point in dst whose
	// equal blocks are taken over. A damaged block fails it: nothing is listed.
	Copy(ctx context.Context, point volspec.PointID, dst Repository, id, parent volspec.PointID, limit int64, report Report) (Point, error)
	// Maintain compacts and cleans with all of kopia's safety margins. Two at a
	// time, in whatever processes: the second does nothing.
	Maintain(ctx context.Context, full bool) (Maintained, error)
	Status(ctx context.Context) (Status, error)
	Close(ctx context.Context) error
}

// Place is one location with its credentials: where repositories are made.
type Place struct {
	Location    Location
	Credentials Credentials
	// Outside: connections are made to public addresses only, and to networks
	// that an administrator opened. For places that tenants name.
	Outside bool
}

// Opener makes and opens repositories.
type Opener interface {
	// Create makes a repository in a place that holds none, and returns its full
	// identity. One that holds anything: exists.
	Create(ctx context.Context, p Place, key string, id Identity) (Identity, error)
	// Open opens the repository at a place. want "" accepts any identity; another
	// identity than want, an empty place or one without the identity: offline,
	// nothing is touched. Wrong key: wrong-key.
	Open(ctx context.Context, p Place, key string, want volspec.RepositoryID) (Repository, error)
}
