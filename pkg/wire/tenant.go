package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Profile is what a tenant says of itself: contact data and labels.
type Profile struct {
	Email   string   `json:"email"`
	Phone   string   `json:"phone"`
	Website string   `json:"website"`
	Address string   `json:"address"`
	Labels  []string `json:"labels"`
}

// States of a tenant. A disabled one has no log-ins, no schedules and no new
// jobs; its data and its volumes' attachments stay. A deleted one is that, out
// of sight of its users, until its grace period ends or it is brought back.
const (
	TenantEnabled  = "enabled"
	TenantDisabled = "disabled"
	TenantDeleted  = "deleted"
)

// Health of a tenant, from its alarms.
const (
	HealthGood    = "good"
	HealthNotices = "notices" // something is late, full or not configured
	HealthAlarms  = "alarms"  // a backup, drill or repository failed
)

// Parts that a tenant's service needs before its jobs can run.
const (
	PartInventory    = "inventory"    // VMs, folders of VMs or volumes
	PartTransporters = "transporters" // one at least
	PartRepositories = "repositories" // one at least
)

// Readiness says whether a tenant's service is configured. Message is the
// sentence for its users: "Your service is not configured: …".
type Readiness struct {
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing"` // parts
	Message string   `json:"message"`
}

// Tenant is a vmgroup in the overview of the master, and what its own users see
// of it.
type Tenant struct {
	ID          volspec.VMGroupID `json:"id"`
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Profile     Profile           `json:"profile"`
	State       string            `json:"state"`
	Deleted     time.Time         `json:"deleted,omitzero"` // when it was deleted
	PurgeAfter  time.Time         `json:"purge_after,omitzero"`
	Source      string            `json:"source"` // file that declares it
	Health      string            `json:"health"`
	Alarms      int               `json:"alarms"`
	Notices     int               `json:"notices"`
	Readiness   Readiness         `json:"readiness"`
	GuestAccess bool              `json:"guest_access"` // users with the role guest may log in
	GuestFiles  bool              `json:"guest_files"`  // they may recover files
	Security    Security          `json:"security"`
	Users       int               `json:"users"`
	VMs         int               `json:"vms"`
	Volumes     int               `json:"volumes"`
	Allowance   Allowance         `json:"allowance"`
}

// TenantList is a page of tenants. Next is the cursor of the following page.
type TenantList struct {
	Tenants []Tenant `json:"tenants"`
	Next    string   `json:"next,omitempty"`
	Total   int      `json:"total"` // that the filter selects
}

// CreateTenant makes a vmgroup with everything that belongs to a tenant, or
// nothing.
type CreateTenant struct {
	CreateVMGroup
	Profile      Profile     `json:"profile"`
	GuestAccess  bool        `json:"guest_access,omitempty"`
	GuestFiles   bool        `json:"guest_files,omitempty"`
	Allowance    *Amounts    `json:"allowance,omitempty"`
	Admin        *CreateUser `json:"admin,omitempty"`       // its first user, a tenant-admin whatever the role says
	Transporters []string    `json:"transporters,omitzero"` // nil: the built-in one; [] none yet
}

// TenantMade is the answer to CreateTenant. Admin holds the generated password.
type TenantMade struct {
	Tenant Tenant `json:"tenant"`
	Admin  *User  `json:"admin,omitempty"`
}

// UpdateTenant changes what is not nil.
type UpdateTenant struct {
	Description *string  `json:"description,omitempty"`
	Profile     *Profile `json:"profile,omitempty"`
	GuestAccess *bool    `json:"guest_access,omitempty"`
	GuestFiles  *bool    `json:"guest_files,omitempty"`
	State       *string  `json:"state,omitempty"` // enabled or disabled; enabled brings a deleted one back
	CancelJobs  bool     `json:"cancel_jobs,omitempty"`
}

// Security is what a tenant settles about who gets at its data.
type Security struct {
	ContentRefused bool `json:"content_refused"` // users of the master see metadata only, also while they act for the tenant
	FactorRequired bool `json:"factor_required"` // its users who have a password need a second factor
}

// UpdateSecurity changes what is not nil. ContentRefused is for users of the
// tenant itself.
type UpdateSecurity struct {
	ContentRefused *bool `json:"content_refused,omitempty"`
	FactorRequired *bool `json:"factor_required,omitempty"`
}

// Amounts are numbers of what can be delegated; nil is no bound. Storage is
// bytes in repositories.
type Amounts struct {
	Sockets *int64 `json:"sockets,omitempty"`
	VMs     *int64 `json:"vms,omitempty"`
	Volumes *int64 `json:"volumes,omitempty"`
	Storage *int64 `json:"storage,omitempty"`
}

// Allowance is one tenant's part of the pool, for each of sockets, vms, volumes
// and storage. Desired was set last; Effective is what counts against the pool:
// as long as more is in use than desired, that.
type Allowance struct {
	Sockets Share `json:"sockets"`
	VMs     Share `json:"vms"`
	Volumes Share `json:"volumes"`
	Storage Share `json:"storage"`
}

// Share is a use and its bound. Bounded false means no bound.
type Share struct {
	Used      int64 `json:"used"`
	Bounded   bool  `json:"bounded"`
	Desired   int64 `json:"desired"`
	Effective int64 `json:"effective"`
}

// Pool is what the whole service may hand out. Delegated is the sum of the
// tenants' effective shares.
type Pool struct {
	Sockets PoolShare `json:"sockets"`
	VMs     PoolShare `json:"vms"`
	Volumes PoolShare `json:"volumes"`
	Storage PoolShare `json:"storage"`
}

// PoolShare is one kind of thing in the pool.
type PoolShare struct {
	Bounded   bool  `json:"bounded"`
	Size      int64 `json:"size"`
	Delegated int64 `json:"delegated"`
	Used      int64 `json:"used"`
}

// Transporter moves the data of backups: a running mooringd. "built-in" is the
// one of the service itself.
type Transporter struct {
	Name        string    `json:"name"`
	BuiltIn     bool      `json:"built_in"`
	Description string    `json:"description"`
	State       string    `json:"state"` // see TransporterOnline
	Seen        time.Time `json:"seen,omitzero"`
	Host        string    `json:"host"`
	Version     string    `json:"version"`
	Jobs        int       `json:"jobs"`    // running
	Tenants     []string  `json:"tenants"` // that it works for; a tenant's user sees only itself
}

// States of a transporter.
const (
	TransporterOnline  = "online"
	TransporterOffline = "offline"
)

// UpdateTransporter changes what is not nil.
type UpdateTransporter struct {
	Description *string `json:"description,omitempty"`
}

// BuiltInTransporter is the name of the service's own transporter.
const BuiltInTransporter = "built-in"

// SetTransporters binds a tenant to transporters, these and no others.
type SetTransporters struct {
	Transporters []string `json:"transporters"`
}

// Settings are those of the installation.
type Settings struct {
	Product string `json:"product"` // name in the portal and in mails
	Logo    string `json:"logo"`    // data: URL of a PNG, at most 64 KiB; "" for ours
	Mode    string `json:"mode"`    // multi or single
	URL     string `json:"url"`     // of the portal, for links in mails

	FactorRequired bool `json:"factor_required,omitempty"` // the master's users who have a password need a second factor
}

// Modes of an installation: single has exactly one tenant.
const (
	ModeMulti  = "multi"
	ModeSingle = "single"
)
