// Package api is the host service's HTTP interface: connection → caller,
// request → use case, error → problem. One table (see endpoints) holds every
// endpoint with its audience, permission and tenant rule; routing, checks,
// metrics, the isolation tests and the OpenAPI document all follow from it.
//
// Who calls is proved by the channel, see Identity. A guest sees only guest
// endpoints, in which nothing names a vmgroup or a VM.
package api

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Volumes is everything the interface wants of the volume use cases. group is
// the vmgroup that an admin named, "" for guests: theirs follows from c.
type Volumes interface {
	volumeReader
	volumeWriter
	attacher
	snapshotter
	inventory
}

type volumeReader interface {
	Get(ctx context.Context, c volspec.Caller, group, name string) (wire.Volume, error)
	List(ctx context.Context, c volspec.Caller, f volume.ListFilter) (wire.VolumeList, error)
}

type volumeWriter interface {
	Create(ctx context.Context, c volspec.Caller, group string, r wire.CreateVolume) (wire.Volume, error)
	Remove(ctx context.Context, c volspec.Caller, group, name string, purge bool) error
	Set(ctx context.Context, c volspec.Caller, group, name string, r wire.SetVolume) (wire.Volume, error)
	Resize(ctx context.Context, c volspec.Caller, group, name string, r wire.Resize) (wire.Volume, error)
	Undelete(ctx context.Context, c volspec.Caller, group, name string, r wire.Undelete) (wire.Volume, error)
}

type attacher interface {
	Attach(ctx context.Context, c volspec.Caller, name string, r wire.Attach) (wire.Attachment, error)
	Detach(ctx context.Context, c volspec.Caller, name string, r wire.Detach) error
	ForceDetach(ctx context.Context, c volspec.Caller, group, name string, r wire.DetachVolume) error
	SetFormat(ctx context.Context, c volspec.Caller, name string, r wire.SetFormat) error
	Heartbeat(ctx context.Context, c volspec.Caller, r wire.Heartbeat) (wire.HeartbeatReply, error)
}

type snapshotter interface {
	Snapshots(ctx context.Context, c volspec.Caller, group, name string) ([]wire.Snapshot, error)
	CreateSnapshot(ctx context.Context, c volspec.Caller, group, name string, r wire.CreateSnapshot) (wire.Snapshot, error)
	DeleteSnapshot(ctx context.Context, c volspec.Caller, group, name, snapshot string) error
}

type inventory interface {
	VMs(ctx context.Context) ([]wire.VM, error)
	Datastores(ctx context.Context) ([]wire.Datastore, error)
	Scan(ctx context.Context, c volspec.Caller, datastore string, r wire.Scan) (wire.ScanResult, error)
}

// Tenants is everything the interface wants of the vmgroup use cases.
type Tenants interface {
	groups
	lifecycle
	members
	access
	folders
}

type groups interface {
	Create(ctx context.Context, c volspec.Caller, r wire.CreateVMGroup) (wire.VMGroup, error)
	Update(ctx context.Context, c volspec.Caller, name string, r wire.UpdateVMGroup) (wire.VMGroup, error)
	Remove(ctx context.Context, c volspec.Caller, name string, force, removeVolumes bool) error
	List(ctx context.Context) ([]wire.VMGroup, error)
	Get(ctx context.Context, name string) (wire.VMGroup, error)
	Export(ctx context.Context, name string) (string, error)
}

type members interface {
	VMs(ctx context.Context, group string) ([]wire.VM, error)
	AddVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error
	ReplaceVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error
	RemoveVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error
}

type access interface {
	AddAccess(ctx context.Context, c volspec.Caller, group string, r wire.SetAccess) error
	SetAccess(ctx context.Context, c volspec.Caller, group, datastore string, r wire.SetAccess) error
	RemoveAccess(ctx context.Context, c volspec.Caller, group, datastore string) error
}

type folders interface {
	Folders(ctx context.Context, group string) ([]wire.Folder, error)
	AddFolder(ctx context.Context, c volspec.Caller, group, folder string) error
	RemoveFolder(ctx context.Context, c volspec.Caller, group, folder string) error
}

// System is the service's view of itself.
type System interface {
	Status(ctx context.Context) (wire.Status, error)
	Doctor(ctx context.Context) ([]wire.Finding, error)
	// Ready is nil when requests can be served, else the sentence why not.
	Ready(ctx context.Context) error
}

// Stats feeds the gauges of /metrics.
type Stats interface {
	// Status is asked for its Counts.
	Status(ctx context.Context) (wire.Status, error)
	Datastores(ctx context.Context) ([]wire.Datastore, error)
}
