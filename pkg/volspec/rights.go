package volspec

// Caller is who asks: exactly one of a VM, an administrator on the service's own
// machine, a user, a stranger or a visitor.
type Caller struct {
	VM          VMID
	VMName      string
	VMDatastore string // where the VM itself lives: what _VM_DS means
	Stranger    bool   // a machine that is nobody yet: may only enrol
	Visitor     bool   // a person who is nobody yet: may only log in

	// Role is that of a user, MasterAdmin also for the administrator on the
	// service's own machine, "" for VMs and strangers.
	Role Role
	// Admin holds for every role of the master that does not act for a tenant:
	// it names vmgroups, and needs no access rows. What it may do follows from
	// its Role.
	Admin bool
	// Group is the vmgroup of a tenant's user, or the one for which a master's
	// user acts; "" for all others. GroupName is its name now.
	Group     VMGroupID
	GroupName string
	// GuestFiles lets a TenantGuest recover files.
	GuestFiles bool
	User       UserID // "" for the administrator on the service's own machine
	Session    string // id of the session that the request shows, "" for none
	Token      string // id of the token that the request shows, "" for none
	Scope      Scope  // of a token; "": all of Role
	MustChange bool   // may only change its password, which was generated
	MustFactor bool   // may only set up the second factor that is required of it

	Actor string // for the audit log: vm:NAME, admin:UID, user:NAME, user:TENANT/NAME or stranger:ADDRESS
	As    string // the vmgroup for which a master's user acts, "" for none
	From  string // network address, "" on this machine
}

// Held tells whether the caller has to settle its own account before anything
// else.
func (c Caller) Held() bool { return c.MustChange || c.MustFactor }

// Names tells whether the caller names the vmgroup that a request is about: any
// as an Admin, no other than Group as a tenant's user, see Confine.
func (c Caller) Names() bool { return c.Admin || c.Group != "" }

// Audited is the part of an audit line that says who acted.
func (c Caller) Audited() Audit { return Audit{Actor: c.Actor, As: c.As, From: c.From} }

// GroupState says what may begin in a vmgroup. Detach and the reading of what is
// there are never touched by it.
type GroupState string

// The states of a vmgroup.
const (
	GroupEnabled  GroupState = ""
	GroupDisabled GroupState = "disabled" // no log-ins, no schedules, no new jobs or volumes
	GroupDeleted  GroupState = "deleted"  // that, and no attachments, until it is removed for good
)

// VMGroup is a tenant: VMs, a default datastore and access rows.
type VMGroup struct {
	ID               VMGroupID
	Name             string
	Description      string
	DefaultDatastore string // a datastore, VMDatastore, or "" which means VMDatastore
	Source           string // file that declares it, "" when made by hand
	Removing         bool   // its removal has begun: only rm may touch it
	State            GroupState
}

// Access is one access row of a vmgroup. Zero limits mean unlimited.
type Access struct {
	Group       VMGroupID
	Datastore   string // a datastore, VMDatastore or AllDatastores
	AllowCreate bool
	MaxSize     Size // of one volume
	TotalSize   Size // of all volumes of the group on one datastore
}

// Member is a VM's membership in a vmgroup. Name is the VM's when it was added.
type Member struct {
	VM    VMID
	Name  string
	Group VMGroupID
}

// Rights are the facts about a vmgroup on which decisions are made.
type Rights struct {
	Group  VMGroup
	Access []Access
}

// Usage is what a vmgroup has provisioned on one datastore: volumes, trash,
// snapshots kept and what is being created.
type Usage struct {
	Volumes int
	Bytes   Size
	Trash   Size // the part of Bytes that lies in the trash
}

// Action is what a caller wants to do with a volume.
type Action string

// DoMount stands for every use of an existing volume. Detach and list are
// never denied and have no action.
const (
	DoCreate Action = "create"
	DoMount  Action = "mount"
	DoRemove Action = "remove"
	DoResize Action = "resize"
)

// Request is one thing to decide. Add is what it adds to the usage of
// Datastore, Full the resulting size of the volume.
type Request struct {
	Action    Action
	Name      Name   // as the user wrote it
	Datastore string // resolved
	Caller    Caller
	Add, Full Size
}
