package volspec

// Caller is who makes a request, as the channel proved it. Exactly one of VM,
// Admin and Stranger is set.
type Caller struct {
	VM          VMID
	VMName      string
	VMDatastore string // where the VM itself lives: what _VM_DS means
	Admin       bool
	Stranger    bool   // nobody yet: may only enrol
	Actor       string // for the audit log: vm:NAME, admin:UID or stranger:ADDRESS
}

// VMGroup is a tenant: VMs, a default datastore and access rows.
type VMGroup struct {
	ID               VMGroupID
	Name             string
	Description      string
	DefaultDatastore string // a datastore, VMDatastore, or "" which means VMDatastore
	Source           string // file that declares it, "" when made by hand
	Removing         bool   // its removal has begun: only rm may touch it
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
