package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// VolumeBackup is what a volume shows of its backups. State is unprotected,
// pending (no point yet), ok, late (older than its RPO) or failed.
type VolumeBackup struct {
	Policy      string    `json:"policy"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastPoint   string    `json:"last_point"`
	State       string    `json:"state"`
}

// Location says where a repository lies: type directory (path), s3 (endpoint,
// bucket, prefix, region) or sftp (host, port, user, path, host_key).
type Location struct {
	Type     string `json:"type"`
	Path     string `json:"path,omitempty"`
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region,omitempty"`
	Bucket   string `json:"bucket,omitempty"`
	Prefix   string `json:"prefix,omitempty"`
	Insecure bool   `json:"insecure,omitempty"`
	CAFile   string `json:"ca_file,omitempty"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	User     string `json:"user,omitempty"`
	HostKey  string `json:"host_key,omitempty"`
}

// Credentials open a location. They are only ever written: no answer has them.
type Credentials struct {
	AccessKey    string `json:"access_key,omitempty"`
	SecretKey    string `json:"secret_key,omitempty"`
	SessionToken string `json:"session_token,omitempty"`
	PrivateKey   string `json:"private_key,omitempty"`
	Password     string `json:"password,omitempty"`
}

// String hides everything.
func (Credentials) String() string { return "[redacted]" }

// GoString hides everything.
func (Credentials) GoString() string { return "[redacted]" }

// CreateRepository makes a repository, or attaches one that exists: then Key
// opens it, or Kit holds location, key and credentials.
type CreateRepository struct {
	Name        string      `json:"name"`
	Location    Location    `json:"location"`
	Credentials Credentials `json:"credentials"`
	Attach      bool        `json:"attach,omitempty"`
	Key         string      `json:"key,omitempty"`
	Kit         string      `json:"kit,omitempty"`
}

// String hides the secrets.
func (r CreateRepository) String() string {
	return "repository " + r.Name + " [redacted]"
}

// GoString hides the secrets.
func (r CreateRepository) GoString() string { return r.String() }

// Repository is one repository of a vmgroup. State is prepared, creating,
// online, read-only or offline; Detail says why.
type Repository struct {
	ID          volspec.RepositoryID `json:"id"`
	Name        string               `json:"name"`
	VMGroup     string               `json:"vmgroup"` // "" while only prepared
	State       string               `json:"state"`
	Detail      string               `json:"detail"`
	Location    Location             `json:"location"`
	Unique      string               `json:"unique_id"` // of the format
	Format      string               `json:"format"`
	Points      int                  `json:"points"`
	Logical     int64                `json:"logical_bytes"` // of all points, holes not counted
	UniqueBytes int64                `json:"unique_bytes"`  // distinct blocks, before compression
	Stored      int64                `json:"stored_bytes"`  // in the place
	Created     time.Time            `json:"created"`
	Checked     time.Time            `json:"checked,omitzero"` // identity and status last looked at
	Maintained  time.Time            `json:"maintained,omitzero"`
	Kit         time.Time            `json:"kit_exported,omitzero"`
	Source      string               `json:"source"` // file that declares it, "" when made by hand
}

// Assign gives a prepared repository to a vmgroup.
type Assign struct {
	VMGroup string `json:"vmgroup"`
}

// Kit is a recovery kit: a text to be kept outside this installation.
type Kit struct {
	Text string `json:"text"`
}

// String hides the text.
func (Kit) String() string { return "[redacted]" }

// GoString hides the text.
func (Kit) GoString() string { return "[redacted]" }

// KitOptions say what a recovery kit holds.
type KitOptions struct {
	Credentials bool `json:"credentials"` // also those of the place
}

// BackupUsage is what a vmgroup stores in its repositories. Bounded false is no
// limit.
type BackupUsage struct {
	VMGroup   string `json:"vmgroup"`
	Stored    int64  `json:"stored_bytes"`
	Reserved  int64  `json:"reserved_bytes"` // by running jobs
	Bounded   bool   `json:"bounded"`
	MaxStored int64  `json:"max_stored_bytes"`
}

// SetBackupLimit bounds what a vmgroup stores; 0 removes the limit.
type SetBackupLimit struct {
	MaxStored volspec.Size `json:"max_stored"`
}

// Point is one recovery point. Kind is volume, or vm: the disks of a VM at one
// moment, with Volume vm/NAME and as good as the worst of them.
type Point struct {
	ID          volspec.PointID     `json:"id"`
	Kind        string              `json:"kind"`
	VMGroup     string              `json:"vmgroup"`
	Repository  string              `json:"repository"`
	Volume      string              `json:"volume"` // volume@datastore at the time
	VolumeID    volspec.VolumeID    `json:"volume_id"`
	Created     time.Time           `json:"created"`
	State       volspec.PointState  `json:"state"`
	Consistency volspec.Consistency `json:"consistency"`
	Hold        bool                `json:"hold"`
	SizeBytes   int64               `json:"size_bytes"`
	DataBytes   int64               `json:"data_bytes"`   // not holes
	ReadBytes   int64               `json:"read_bytes"`   // from the source
	NewBytes    int64               `json:"new_bytes"`    // that the repository did not have
	StoredBytes int64               `json:"stored_bytes"` // written to the repository
	Tracking    string              `json:"tracking"`     // how changes were found
	StallMS     int64               `json:"stall_ms"`     // how long writers waited for the snapshot
	FSType      string              `json:"fstype"`
	CopyOf      volspec.PointID     `json:"copy_of,omitempty"`
	VerifiedAt  time.Time           `json:"verified_at,omitzero"`
	ProvenAt    time.Time           `json:"proven_at,omitzero"`
	Damage      string              `json:"damage"` // "" or what is lost
	Policy      string              `json:"policy"`
	VM          string              `json:"vm,omitempty"` // also of the point of one disk
	VMID        volspec.VMID        `json:"vm_id,omitempty"`
	Disks       []PointDisk         `json:"disks,omitempty"`
}

// PointDisk is one disk in the point of a VM. State is that of its own point,
// missing, or left-out, when Damage says why the point does not hold it.
type PointDisk struct {
	Key       string          `json:"key"`
	Label     string          `json:"label"`
	SizeBytes int64           `json:"size_bytes"`
	Datastore string          `json:"datastore"`
	Point     volspec.PointID `json:"point"` // of the disk alone
	State     string          `json:"state"`
	Tracking  string          `json:"tracking"`
	Damage    string          `json:"damage"`
}

// PointList is a page of points, newest first.
type PointList struct {
	Points []Point `json:"points"`
	Next   string  `json:"next,omitempty"`
}

// SetPoint changes what is not nil.
type SetPoint struct {
	Hold *bool `json:"hold,omitempty"`
}

// RunBackup backs volumes and whole VMs up now: those named, or those of a
// policy. Repository "" is the policy's, or the only one of the vmgroup.
type RunBackup struct {
	Volumes     []string `json:"volumes,omitempty"`
	VMs         []string `json:"vms,omitempty"`
	Policy      string   `json:"policy,omitempty"`
	Repository  string   `json:"repository,omitempty"`
	Consistency string   `json:"consistency,omitempty"` // filesystem: refuse anything less
	Full        bool     `json:"full,omitempty"`        // read everything
}

// RunVerify checks points. Mode is quick, sampled or full.
type RunVerify struct {
	Mode  string  `json:"mode"`
	Share float64 `json:"share,omitempty"`
}

// RunRestore brings a point back: as a new volume Name with docker's Options,
// or into the volume it is of. The point of a VM becomes a new VM Name, powered
// off, on Datastore ("": each disk where it was) and Host ("": the hypervisor
// chooses), or goes into the VM it is of. Disk, a key or label, is only that
// disk: as a new volume, or in place.
type RunRestore struct {
	Name      string            `json:"name,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	InPlace   bool              `json:"in_place,omitempty"`
	Disk      string            `json:"disk,omitempty"`
	Datastore string            `json:"datastore,omitempty"`
	Host      string            `json:"host,omitempty"`
}

// RunCopy copies a point to another repository of the vmgroup.
type RunCopy struct {
	Repository string `json:"repository"`
}

// Job is one run of long work. State is queued, running, done, partial,
// failed or canceled.
type Job struct {
	ID         volspec.JobID `json:"id"`
	VMGroup    string        `json:"vmgroup"`
	Kind       string        `json:"kind"` // backup, verify, drill, restore, copy, maintain, policy, vm-backup, vm-restore
	Object     string        `json:"object"`
	Policy     string        `json:"policy"`
	State      string        `json:"state"`
	Stage      string        `json:"stage"` // the step it is in, or in which it ended
	Progress   JobProgress   `json:"progress"`
	Created    time.Time     `json:"created"`
	Begun      time.Time     `json:"begun,omitzero"`
	Ended      time.Time     `json:"ended,omitzero"`
	Attempts   int           `json:"attempts"`
	Cancel     bool          `json:"cancel_requested"`
	Error      string        `json:"error"`
	ErrorKind  string        `json:"error_kind"`
	Warnings   []string      `json:"warnings"`
	Steps      []JobStep     `json:"steps"`
	Point      string        `json:"point"`   // recovery point made or looked at
	Summary    string        `json:"summary"` // one sentence when it has ended
	ResultJSON string        `json:"result"`  // details, as JSON text
}

// Over reports whether the job has ended, however.
func (j Job) Over() bool { return j.State != "queued" && j.State != "running" }

// JobProgress is bytes. TotalBytes 0: not known. ETASeconds -1: not known.
type JobProgress struct {
	DoneBytes   int64   `json:"done_bytes"`
	TotalBytes  int64   `json:"total_bytes"`
	ReadBytes   int64   `json:"read_bytes"`
	StoredBytes int64   `json:"stored_bytes"`
	Rate        float64 `json:"bytes_per_second"`
	ETASeconds  int64   `json:"eta_seconds"`
}

// JobStep is one stage a job went through.
type JobStep struct {
	Name  string    `json:"name"`
	Begun time.Time `json:"begun"`
	Ended time.Time `json:"ended,omitzero"`
	Error string    `json:"error"`
}

// JobList is a page of jobs, newest first.
type JobList struct {
	Jobs []Job  `json:"jobs"`
	Next string `json:"next,omitempty"`
}

// Policy is a backup policy as it is written and read.
type Policy struct {
	Name        string       `json:"name"`
	VMGroup     string       `json:"vmgroup,omitempty"`
	Source      string       `json:"source,omitempty"`
	Enabled     *bool        `json:"enabled,omitempty"` // nil: true
	Volumes     []string     `json:"volumes"`           // glob patterns of names; empty: only those that name the policy
	VMs         []string     `json:"vms,omitempty"`     // glob patterns of names of whole VMs
	Exclude     []string     `json:"exclude,omitempty"` // of volumes, or with vm/ before it of VMs
	Repository  string       `json:"repository"`
	Schedule    string       `json:"schedule"` // calendar expression; "" only by hand
	Timezone    string       `json:"timezone,omitempty"`
	Overlap     string       `json:"overlap,omitempty"`     // skip or queue
	RPO         string       `json:"rpo,omitempty"`         // duration; "": none
	Consistency string       `json:"consistency,omitempty"` // filesystem, crash or filesystem-required
	Keep        Keep         `json:"keep"`
	Verify      VerifyPolicy `json:"verify"`
	DrillSched  string       `json:"drill_schedule,omitempty"`
	Copy        CopyPolicy   `json:"copy"`
	Limit       volspec.Size `json:"limit,omitempty"` // bytes per second, 0: none
	Priority    int          `json:"priority,omitempty"`
}

// Keep is the retention of a policy. All zero keeps everything.
type Keep struct {
	Last    int    `json:"last,omitempty"`
	Hourly  int    `json:"hourly,omitempty"`
	Daily   int    `json:"daily,omitempty"`
	Weekly  int    `json:"weekly,omitempty"`
	Monthly int    `json:"monthly,omitempty"`
	Yearly  int    `json:"yearly,omitempty"`
	Within  string `json:"within,omitempty"` // duration
}

// VerifyPolicy is when and how points are verified.
type VerifyPolicy struct {
	Schedule string  `json:"schedule,omitempty"`
	Mode     string  `json:"mode,omitempty"`
	Share    float64 `json:"share,omitempty"`
}

// CopyPolicy copies points to a second repository.
type CopyPolicy struct {
	Repository string `json:"repository,omitempty"`
	Schedule   string `json:"schedule,omitempty"`
	Keep       Keep   `json:"keep,omitzero"`
}

// PolicyPreview is what a policy would do: which volumes and VMs it protects,
// when it runs next, which points it would remove.
type PolicyPreview struct {
	Policy  Policy         `json:"policy"`
	Volumes []string       `json:"volumes"`
	VMs     []string       `json:"vms"`
	Next    []PolicyRun    `json:"next"`
	Points  []KeepDecision `json:"points"`
}

// PolicyRun is one coming run.
type PolicyRun struct {
	Task string    `json:"task"`
	At   time.Time `json:"at"`
}

// KeepDecision is what retention says of one point, and why.
type KeepDecision struct {
	Point      volspec.PointID `json:"point"`
	Volume     string          `json:"volume"`
	Repository string          `json:"repository"`
	Created    time.Time       `json:"created"`
	Keep       bool            `json:"keep"`
	Reasons    []string        `json:"reasons"`
}

// Prune applies the retention of one policy, or of all of a vmgroup.
type Prune struct {
	Policy string `json:"policy,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Pruned lists the decisions; Removed counts what is gone (0 in a dry run).
type Pruned struct {
	Decisions []KeepDecision `json:"decisions"`
	Removed   int            `json:"removed"`
}

// Protection is how one volume, or the whole VM vm/NAME, is protected. State as
// in VolumeBackup.
type Protection struct {
	Volume      string           `json:"volume"`
	VolumeID    volspec.VolumeID `json:"volume_id"`
	VMID        volspec.VMID     `json:"vm_id,omitempty"`
	Policies    []string         `json:"policies"`
	State       string           `json:"state"`
	LastPoint   time.Time        `json:"last_point,omitzero"`
	LastState   string           `json:"last_state"` // of the newest point
	RPOSeconds  int64            `json:"rpo_seconds"`
	AgeSeconds  int64            `json:"age_seconds"` // actual RPO; -1: no point
	LastJob     string           `json:"last_job"`    // state of the newest backup job
	LastProblem string           `json:"last_problem"`
}

// Alarm is something that somebody must look at until it is gone.
type Alarm struct {
	VMGroup string    `json:"vmgroup"`
	Kind    string    `json:"kind"`
	Object  string    `json:"object"`
	Since   time.Time `json:"since"`
	Detail  string    `json:"detail"`
}

// File is one entry of a filesystem inside a point. Type is file, dir,
// symlink, device, fifo or socket.
type File struct {
	Name    string    `json:"name"`
	Type    string    `json:"type"`
	Size    int64     `json:"size"`
	Mode    uint32    `json:"mode"` // permission bits with setuid, setgid, sticky
	UID     int       `json:"uid"`
	GID     int       `json:"gid"`
	ModTime time.Time `json:"mtime"`
	Target  string    `json:"target,omitempty"` // of a symlink
}

// FileList is a page of a folder, by name.
type FileList struct {
	Files []File `json:"files"`
	Next  string `json:"next,omitempty"`
}

// Rotated tells of a new master key.
type Rotated struct {
	KeyID    string `json:"key_id"`
	Resealed int    `json:"resealed"` // secrets sealed with the new key
}
