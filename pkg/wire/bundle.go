package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// The form of a bundle.
const (
	BundleFormat  = "mooring tenant"
	BundleVersion = 1
)

// MaxBundle bounds a request with a bundle.
const MaxBundle = 32 << 20

// Bundle is one tenant, to be loaded by another instance. Everything but this
// head is sealed: an Argon2id key of the passphrase and the salt, AES-256-GCM
// with the nonce before the text, and the head as additional data.
type Bundle struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	VMGroup string    `json:"vmgroup"` // its name where it was saved
	Created time.Time `json:"created"`
	Salt    []byte    `json:"salt"`
	Sealed  []byte    `json:"sealed"` // a Carried in JSON
}

// SaveTenant asks for a bundle of a tenant.
type SaveTenant struct {
	Passphrase string `json:"passphrase"`
}

// LoadTenant makes a tenant of a bundle. Name replaces the one it had, "" keeps
// it; Allowance replaces what was delegated to it.
type LoadTenant struct {
	Bundle     Bundle   `json:"bundle"`
	Passphrase string   `json:"passphrase"`
	Name       string   `json:"name,omitempty"`
	Allowance  *Amounts `json:"allowance,omitempty"`
}

// TenantLoaded is the answer to LoadTenant. The tenant is disabled. ToDo are
// sentences about what was left out, because this instance does not have it, and
// about what is to be done by a person.
type TenantLoaded struct {
	Tenant Tenant   `json:"tenant"`
	ToDo   []string `json:"to_do"`
}

// Carried is what a bundle holds of a tenant, with all its secrets. Sessions,
// tokens, jobs, alarms and the audit log stay where they are.
type Carried struct {
	ID            volspec.VMGroupID   `json:"id"` // where it was saved; recovery points carry it
	Tenant        CarriedTenant       `json:"tenant"`
	Users         []CarriedUser       `json:"users,omitempty"`
	OIDC          *OIDC               `json:"oidc,omitempty"`
	Notifications *Notifications      `json:"notifications,omitempty"`
	Repositories  []CarriedRepository `json:"repositories,omitempty"`
	Policies      []Policy            `json:"policies,omitempty"`
}

// CarriedTenant is the vmgroup itself, with what it is bound to.
type CarriedTenant struct {
	Description      string           `json:"description,omitempty"`
	Profile          Profile          `json:"profile"`
	GuestAccess      bool             `json:"guest_access,omitempty"`
	GuestFiles       bool             `json:"guest_files,omitempty"`
	Security         Security         `json:"security"`
	DefaultDatastore string           `json:"default_datastore,omitempty"`
	Access           []CarriedAccess  `json:"access,omitempty"`
	VMs              []CarriedVM      `json:"vms,omitempty"`
	Folders          []volspec.Folder `json:"folders,omitempty"`
	Transporters     []string         `json:"transporters,omitempty"`
	Allowance        Amounts          `json:"allowance"`
}

// CarriedAccess is a row of rights and limits on a datastore.
type CarriedAccess struct {
	Datastore   string       `json:"datastore"`
	AllowCreate bool         `json:"allow_create,omitempty"`
	MaxSize     volspec.Size `json:"max_size,omitempty"`
	TotalSize   volspec.Size `json:"total_size,omitempty"`
}

// CarriedVM is a VM of the tenant; another instance knows it by its id.
type CarriedVM struct {
	ID   volspec.VMID `json:"id"`
	Name string       `json:"name"`
}

// CarriedUser is a user with what proves who it is.
type CarriedUser struct {
	Name        string       `json:"name"`
	Role        volspec.Role `json:"role"`
	Enabled     bool         `json:"enabled"`
	Email       string       `json:"email,omitempty"`
	Description string       `json:"description,omitempty"`
	Zone        string       `json:"zone,omitempty"`
	Password    string       `json:"password,omitempty"` // its hash, a PHC string
	MustChange  bool         `json:"must_change,omitempty"`
	Factor      []byte       `json:"factor,omitempty"`      // key of the second factor
	FactorStep  int64        `json:"factor_step,omitempty"` // of the last code that was accepted
	Subject     string       `json:"subject,omitempty"`     // of an OIDC provider
}

// CarriedRepository is a repository with what opens it, and its recovery points
// as they were known.
type CarriedRepository struct {
	ID          volspec.RepositoryID `json:"id"`
	Name        string               `json:"name"`
	Location    Location             `json:"location"`
	Outside     bool                 `json:"outside,omitempty"` // a user of the tenant named the place
	Key         string               `json:"key"`
	Credentials Credentials          `json:"credentials"`
	Stored      int64                `json:"stored"`
	Points      []CarriedPoint       `json:"points,omitempty"`
}

// CarriedPoint is a recovery point of a volume, or of one disk of a VM.
type CarriedPoint struct {
	ID       volspec.PointID  `json:"id"`
	Created  time.Time        `json:"created"`
	Volume   string           `json:"volume"`
	VolumeID volspec.VolumeID `json:"volume_id"`
	VM       string           `json:"vm,omitempty"`
	VMID     volspec.VMID     `json:"vm_id,omitempty"`
	Hold     bool             `json:"hold,omitempty"`
}

// String hides the secrets.
func (SaveTenant) String() string { return "[redacted]" }

// GoString hides the secrets.
func (SaveTenant) GoString() string { return "[redacted]" }

// String hides the secrets.
func (LoadTenant) String() string { return "[redacted]" }

// GoString hides the secrets.
func (LoadTenant) GoString() string { return "[redacted]" }

// String hides the secrets.
func (Carried) String() string { return "[redacted]" }

// GoString hides the secrets.
func (Carried) GoString() string { return "[redacted]" }
