package config

import (
	"os"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // zones are known on machines without them, too

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Backup is what all backups of this service have in common.
type Backup struct {
	MasterKeyFile   string       `toml:"master_key_file,omitempty"` // "": the service manager's credential, else one below StateDir
	CacheDir        string       `toml:"cache_dir"`
	ScratchDir      string       `toml:"scratch_dir"`      // drills and overlays
	Jobs            int          `toml:"jobs"`             // running at a time
	JobsPerVMGroup  int          `toml:"jobs_per_vmgroup"` // running at a time
	Streams         int          `toml:"streams"`          // blocks worked on at a time by one job; 0: two per processor
	UploadLimit     volspec.Size `toml:"upload_limit,omitzero"`
	DownloadLimit   volspec.Size `toml:"download_limit,omitzero"` // both: bytes per second of all jobs; 0: none
	AllowPrivate    []string     `toml:"allow_private,omitempty"` // networks that places named by tenants may be in, though not public
	FreezeLease     Duration     `toml:"freeze_lease"`
	FreezeCopyLimit Duration     `toml:"freeze_copy_limit"` // longest estimate of a copy under freeze
	Sample          float64      `toml:"sample"`            // share of unchanged blocks that an incremental reads again
	VerifyAfter     Duration     `toml:"verify_after"`      // 0s: only what policies say
	Timezone        string       `toml:"timezone"`          // of schedules that name none
	KeepJobs        Duration     `toml:"keep_jobs"`
	Self            SelfBackup   `toml:"self"`
}

// SelfBackup is where copies of the catalog itself go. Without a type there are
// none. The keys of the place are those of Repository.
type SelfBackup struct {
	Type            string   `toml:"type,omitempty"`
	Path            string   `toml:"path,omitempty"`
	Endpoint        string   `toml:"endpoint,omitempty"`
	Region          string   `toml:"region,omitempty"`
	Bucket          string   `toml:"bucket,omitempty"`
	Prefix          string   `toml:"prefix,omitempty"`
	Insecure        bool     `toml:"insecure,omitempty"`
	CAFile          string   `toml:"ca_file,omitempty"`
	Host            string   `toml:"host,omitempty"`
	Port            int      `toml:"port,omitempty"`
	User            string   `toml:"user,omitempty"`
	HostKey         string   `toml:"host_key,omitempty"`
	CredentialsFile string   `toml:"credentials_file,omitempty"`
	Every           Duration `toml:"every"`
	Keep            int      `toml:"keep"` // copies
}

// Repository is the place.
func (s SelfBackup) Repository() Repository {
	return Repository{
		Name: "self-backup", Type: s.Type, Path: s.Path, Endpoint: s.Endpoint, Region: s.Region, Bucket: s.Bucket, Prefix: s.Prefix,
		Insecure: s.Insecure, CAFile: s.CAFile, Host: s.Host, Port: s.Port, User: s.User, HostKey: s.HostKey, CredentialsFile: s.CredentialsFile,
	}
}

// Address names the place and tells it from every other.
func (s SelfBackup) Address() string { return s.Repository().place() }

// Types of repositories.
const (
	DirectoryRepository = "directory"
	S3Repository        = "s3"
	SFTPRepository      = "sftp"
)

// Repository is a place of a vmgroup for recovery points, made or attached at
// start. Which keys it has follows from its type.
type Repository struct {
	Name            string `toml:"name"`
	Type            string `toml:"type"`
	Path            string `toml:"path,omitempty"`
	Endpoint        string `toml:"endpoint,omitempty"`
	Region          string `toml:"region,omitempty"`
	Bucket          string `toml:"bucket,omitempty"`
	Prefix          string `toml:"prefix,omitempty"`
	Insecure        bool   `toml:"insecure,omitempty"`
	CAFile          string `toml:"ca_file,omitempty"`
	Host            string `toml:"host,omitempty"`
	Port            int    `toml:"port,omitempty"`
	User            string `toml:"user,omitempty"`
	HostKey         string `toml:"host_key,omitempty"`
	CredentialsFile string `toml:"credentials_file,omitempty"`
}

// Policy says which volumes and VMs of its vmgroup are backed up, where to, when, and
// what is kept. Schedules are calendar expressions, which only package
// schedule of the host service understands: here they are words.
type Policy struct {
	Name        string       `toml:"name"`
	Volumes     []string     `toml:"volumes"`           // globs; []: only volumes that name the policy
	VMs         []string     `toml:"vms,omitempty"`     // globs of whole VMs
	Exclude     []string     `toml:"exclude,omitempty"` // globs of volumes, or with vm/ before it of VMs
	Repository  string       `toml:"repository"`
	CopyTo      string       `toml:"copy_to,omitempty"` // a second repository
	Schedule    string       `toml:"schedule"`          // "": only by hand
	Timezone    string       `toml:"timezone"`
	Overlap     string       `toml:"overlap"`
	RPO         Duration     `toml:"rpo"` // 0s: no alarm
	Keep        Keep         `toml:"keep"`
	Verify      PolicyVerify `toml:"verify"`
	Drill       PolicyDrill  `toml:"drill"`
	Copy        PolicyCopy   `toml:"copy"`
	Limit       volspec.Size `toml:"limit,omitzero"` // bytes per second; 0: none
	Consistency string       `toml:"consistency"`
	Priority    int          `toml:"priority"` // 1 is first, 5 is last
	Enabled     bool         `toml:"enabled"`
}

// Keep is how many points a policy keeps. All zero keeps everything.
type Keep struct {
	Last    int      `toml:"last,omitzero"`
	Hourly  int      `toml:"hourly,omitzero"`
	Daily   int      `toml:"daily,omitzero"`
	Weekly  int      `toml:"weekly,omitzero"`
	Monthly int      `toml:"monthly,omitzero"`
	Yearly  int      `toml:"yearly,omitzero"`
	Within  Duration `toml:"within,omitzero"` // all that are younger
}

// PolicyVerify is when and how the points of a policy are verified.
type PolicyVerify struct {
	Schedule string  `toml:"schedule"`
	Mode     string  `toml:"mode"`           // quick, sampled, full
	Share    float64 `toml:"share,omitzero"` // of sampled
}

// PolicyDrill is when the newest points are restored on trial.
type PolicyDrill struct {
	Schedule string `toml:"schedule"`
}

// PolicyCopy is when points are copied to CopyTo, and what is kept there.
type PolicyCopy struct {
	Schedule string `toml:"schedule"`
	Keep     Keep   `toml:"keep"`
}

// unsetRPO stands for a policy's rpo that is not written.
const unsetRPO = Duration(-1)

// rpos are the objectives of the schedules that have names: the pause between
// two runs, and time for the run.
var rpos = map[string]time.Duration{
	"": 0, "minutely": 15 * time.Minute, "hourly": 3 * time.Hour, "daily": 26 * time.Hour, "weekly": 8 * 24 * time.Hour,
	"monthly": 32 * 24 * time.Hour, "quarterly": 93 * 24 * time.Hour, "yearly": 367 * 24 * time.Hour,
}

// defaults are those of a [[vmgroup.policy]].
func (p *Policy) defaults() {
	p.Schedule, p.Overlap, p.RPO, p.Consistency, p.Priority, p.Enabled = "daily", "skip", unsetRPO, "filesystem", 3, true
}

func defaultBackup() Backup {
	return Backup{
		Jobs: 2, JobsPerVMGroup: 2, Sample: 0.01, Timezone: localZone,
		FreezeLease:     Duration(maxFreeze),
		FreezeCopyLimit: Duration(5 * time.Second),
		KeepJobs:        Duration(90 * 24 * time.Hour),
		Self:            SelfBackup{Every: Duration(24 * time.Hour), Keep: 14},
	}
}

func (c *Config) completeBackup() {
	b := &c.Backup
	if b.CacheDir == "" {
		b.CacheDir = c.StateDir + "/backup"
	}
	if b.ScratchDir == "" {
		b.ScratchDir = b.CacheDir + "/scratch"
	}
	if b.Self.Type == SFTPRepository && b.Self.Port == 0 {
		b.Self.Port = 22
	}
	for i := range c.VMGroups {
		g := &c.VMGroups[i]
		for j := range g.Repositories {
			if r := &g.Repositories[j]; r.Type == SFTPRepository && r.Port == 0 {
				r.Port = 22
			}
		}
		for j := range g.Policies {
			g.Policies[j].complete(b.Timezone)
		}
	}
}

func (p *Policy) complete(zone string) {
	if p.Volumes == nil {
		p.Volumes = []string{"*"}
	}
	if p.Timezone == "" {
		p.Timezone = zone
	}
	if rpo, named := rpos[p.Schedule]; named && p.RPO == unsetRPO {
		p.RPO = Duration(rpo)
	}
	if p.Verify.Mode == "" {
		p.Verify.Mode = "sampled"
	}
	if p.Verify.Mode == "sampled" && p.Verify.Share == 0 {
		p.Verify.Share = 0.1
	}
	if p.CopyTo != "" && p.Copy.Schedule == "" {
		p.Copy.Schedule = p.Schedule
	}
}

// localZone is the time zone of this machine.
const localZone = "Local"

// Zone finds a time zone by name. "Local" is this machine's, under its real
// name where that can be told, so that it can be kept and shown elsewhere.
// The error is of kind invalid.
func Zone(name string) (*time.Location, error) {
	if name == localZone {
		return local(os.Getenv("TZ"), "/etc/localtime"), nil
	}
	if loc, err := time.LoadLocation(name); err == nil && name != "" {
		return loc, nil
	}
	return nil, errkind.New(errkind.Invalid, "%q is not a time zone: write Local, UTC or a name such as Europe/Berlin", name)
}

func local(tz, link string) *time.Location {
	name := strings.TrimPrefix(tz, ":")
	if name == "" {
		target, _ := filepath.EvalSymlinks(link)
		_, name, _ = strings.Cut(target, "/zoneinfo/")
	}
	if loc, err := time.LoadLocation(name); err == nil && name != "" {
		return loc
	}
	return time.Local
}
