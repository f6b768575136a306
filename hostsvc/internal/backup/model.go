// Package backup is the backup use cases: repositories, recovery points,
// restore, verification, drills, copies, policies and retention, each for one
// vmgroup. Long work is a job (package job); every step is written to the job
// before it is done, and a job that a crash interrupted goes on or is undone.
//
// What a repository holds is the truth about recovery points; the catalog
// keeps a copy of it with what only this installation knows: holds, proofs,
// the snapshot that the next increment starts from. Absence in a repository
// is never a reason to forget a point.
//
// Locks: one key per repository around everything that changes its row or
// deletes points. Jobs are serialised by their object.
package backup

import (
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// States of a repository.
const (
	repoPrepared = "prepared" // a place with credentials, not of a vmgroup yet
	repoCreating = "creating" // intent: to be finished or undone
	repoOnline   = "online"
	repoReadOnly = "read-only"
	repoOffline  = "offline"
)

// Repo is one repository in the catalog. Its secrets are kept apart, sealed.
type Repo struct {
	ID    volspec.RepositoryID
	Group volspec.VMGroupID // "" while prepared
	Name  string
	State string
	// Place is the canonical address: no two repositories share one.
	Place  string
	Stored int64 // bytes in the place when last measured, and what jobs wrote since
	// Reserved is not kept: jobs add to Stored as they go.
	Body RepoBody
}

// RepoBody is the part of a Repo that is only read whole.
type RepoBody struct {
	Location   repository.Location `json:"location"`
	Unique     string              `json:"unique"`
	Format     string              `json:"format"`
	Detail     string              `json:"detail"` // why it is not online
	Points     int                 `json:"points"`
	Logical    int64               `json:"logical"`
	Distinct   int64               `json:"distinct"`
	Created    time.Time           `json:"created"`
	Checked    time.Time           `json:"checked,omitzero"`
	Maintained time.Time           `json:"maintained,omitzero"`
	Kit        time.Time           `json:"kit,omitzero"`
	Source     string              `json:"source,omitempty"`
	Attached   bool                `json:"attached,omitempty"` // not made here
	Outside    bool                `json:"outside,omitempty"`  // a tenant's user named the place
	Holds      []volspec.PointID   `json:"holds,omitempty"`    // points that were held where it was attached before
}

// secrets are what opens a repository.
type secrets struct {
	Key         string                 `json:"key"`
	Credentials repository.Credentials `json:"credentials"`
}

// Policy is one backup policy in the catalog.
type Policy struct {
	ID     volspec.PolicyID
	Group  volspec.VMGroupID
	Name   string
	Source string // file that declares it, "" when made by hand
	PolicyBody
}

// PolicyBody is the part of a Policy that is only read whole. Schedules count
// from Changed: when they were last written or enabled.
type PolicyBody struct {
	Spec    wire.Policy `json:"spec"`
	Changed time.Time   `json:"changed"`
}

// Point is one recovery point in the catalog: of a volume, or of one disk of a
// VM. The points of a VM's disks at one moment are a set; see Set.
type Point struct {
	ID         volspec.PointID
	Group      volspec.VMGroupID
	Repository volspec.RepositoryID
	VolumeID   volspec.VolumeID
	Volume     string // name without datastore, at the time
	Datastore  string
	Created    time.Time
	State      volspec.PointState
	Hold       bool
	Deleting   bool            // intent: its removal has begun
	Set        volspec.PointID // "" for a volume's
	VMID       volspec.VMID
	VM         string // name at the time
	Body       PointBody
}

// PointBody is the part of a Point that is only read whole.
type PointBody struct {
	Point      repository.Point `json:"point"`
	VerifiedAt time.Time        `json:"verified_at,omitzero"`
	ProvenAt   time.Time        `json:"proven_at,omitzero"`
	Damage     string           `json:"damage,omitempty"`
	Lost       bool             `json:"lost,omitempty"` // not in the repository any more
}

// pointMeta is what a point's Meta holds, versioned by its fields: they are
// only ever added.
type pointMeta struct {
	Spec    volspec.Spec   `json:"spec"`
	FSUUID  string         `json:"fs_uuid"`
	FSSize  volspec.Size   `json:"fs_size"`
	Format  volspec.Format `json:"format"`
	StallMS int64          `json:"stall_ms"`
	Note    string         `json:"note,omitempty"`
	Policy  string         `json:"policy,omitempty"`
	VM      *machineMeta   `json:"vm,omitempty"`
}

func (p Point) meta() (m pointMeta) {
	_ = json.Unmarshal(p.Body.Point.Meta, &m) // a point of elsewhere has none
	if m.VM != nil {
		m.VM.of(p)
	}
	return m
}

// good reports whether a point can be restored as far as is known.
func (p Point) good() bool { return p.State != volspec.Damaged && !p.Deleting }

// Base is the snapshot that is kept for the next increment of a volume in a
// repository, and the point that was made of it. No snapshot is kept of a VM's
// disk and where the storage remembers changes: Change names that moment.
type Base struct {
	Volume     volspec.VolumeID
	Repository volspec.RepositoryID
	Snapshot   volspec.SnapshotID
	Point      volspec.PointID
	Size       volspec.Size
	Change     string
}

// Alarm is something wrong until it is cleared. ID is made of kind and object.
type Alarm struct {
	ID     string
	Group  volspec.VMGroupID
	Kind   string
	Object string
	Since  time.Time
	Told   time.Time
	Detail string
}

// Newest is what is known of the newest point of something without reading it.
type Newest struct {
	ID      volspec.PointID
	Created time.Time
	State   volspec.PointState
}

// PointQuery selects points; zero fields select everything. They are ordered
// newest first, by creation and id.
type PointQuery struct {
	Group      volspec.VMGroupID
	Repository volspec.RepositoryID
	Volume     string
	VolumeID   volspec.VolumeID
	Set        volspec.PointID
	VMID       volspec.VMID
	VM         string // name
	Heads      bool   // of each set only one
	Good       bool   // neither damaged nor being removed
	Deleting   bool   // only those whose removal has begun
	Unverified bool   // only good ones that were never verified; these are oldest first
	After      time.Time
	AfterID    volspec.PointID // with After and Unverified: the last of the page before
	Before     time.Time
	BeforeID   volspec.PointID // with Before: the last of the page before
	Limit      int
}

// Store is the catalog as this package sees it; see volume.Store.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	job.Tx
	AllowanceTx

	GroupByName(name string) (volspec.VMGroup, error)
	Groups() ([]volspec.VMGroup, error)
	// GroupsByID finds those of these vmgroups that there are.
	GroupsByID(ids []volspec.VMGroupID) ([]volspec.VMGroup, error)

	// Repositories lists those of a vmgroup, by name; "" is all of them.
	Repositories(g volspec.VMGroupID) ([]Repo, error)
	RepositoryByName(g volspec.VMGroupID, name string) (Repo, error)
	Repository(id volspec.RepositoryID) (Repo, error)
	// PutRepository inserts or replaces by ID. A name or a place that another
	// one has is errkind.Exists.
	PutRepository(r Repo) error
	// AddStored adds to what a repository stores.
	AddStored(id volspec.RepositoryID, bytes int64) error
	// DeleteRepository removes a repository with its secrets, points and bases.
	DeleteRepository(id volspec.RepositoryID) error
	Sealed(id volspec.RepositoryID) (string, error)
	PutSealed(id volspec.RepositoryID, sealed string) error
	AllSealed() (map[volspec.RepositoryID]string, error)
	// StoredBy is the sum of Stored of a vmgroup's repositories.
	StoredBy(g volspec.VMGroupID) (int64, error)

	// Policies lists those of a vmgroup, by name; "" is all of them.
	Policies(g volspec.VMGroupID) ([]Policy, error)
	// PoliciesVersion is another word whenever a policy was put or deleted.
	PoliciesVersion() (string, error)
	Policy(id volspec.PolicyID) (Policy, error)
	PolicyByName(g volspec.VMGroupID, name string) (Policy, error)
	PutPolicy(p Policy) error
	DeletePolicy(id volspec.PolicyID) error

	Points(q PointQuery) ([]Point, error)
	// Newest are the newest points that can be restored, of the volumes of a
	// vmgroup or with "" of all; a volume without one is not among them.
	Newest(g volspec.VMGroupID) (map[volspec.VolumeID]Newest, error)
	Point(id volspec.PointID) (Point, error)
	PutPoint(p Point) error
	DeletePoint(id volspec.PointID) error

	// Bases lists those of a volume; "" is all of them.
	Bases(v volspec.VolumeID) ([]Base, error)
	PutBase(b Base) error
	DeleteBase(v volspec.VolumeID, r volspec.RepositoryID) error

	// Alarms lists those of a vmgroup, oldest first; "" is all of them.
	Alarms(g volspec.VMGroupID) ([]Alarm, error)
	PutAlarm(a Alarm) error
	DeleteAlarm(id string) error // absent: nil

	Setting(key string) (string, error) // "" when never put
	PutSetting(key, value string) error

	AddAudit(a volspec.Audit) error
}
