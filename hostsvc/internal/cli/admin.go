package cli

import (
	"context"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// Admin is the service as this command uses it, composed of one role for each
// noun. It has more methods than a contract should, because it mirrors the
// admin channel: one method for each endpoint. Errors carry a kind of package
// errkind and the sentence that the user reads.
type Admin interface {
	serviceAdmin
	groupAdmin
	tenantAdmin
	memberAdmin
	accessAdmin
	folderAdmin
	volumeAdmin
	volumeVerbs
	snapshotAdmin
	datastoreAdmin
	backupAdmin
	selfBackupAdmin
	allowanceAdmin
	transporterAdmin
	auditAdmin
	notifyAdmin
	personAdmin
	userAdmin
	oidcAdmin
	// Close lets go of idle connections.
	Close()
}

type serviceAdmin interface {
	Status(ctx context.Context) (wire.Status, error)
	Doctor(ctx context.Context) ([]wire.Finding, error)
	DoctorIsolation(ctx context.Context) ([]wire.Finding, error)
	VMs(ctx context.Context) ([]wire.VM, error)
	InviteVM(ctx context.Context, vm string, r wire.Invite) (wire.Invitation, error)
	RevokeVM(ctx context.Context, vm string) error
}

type groupAdmin interface {
	VMGroups(ctx context.Context) ([]wire.VMGroup, error)
	VMGroup(ctx context.Context, name string) (wire.VMGroup, error)
	CreateVMGroup(ctx context.Context, g wire.CreateVMGroup) (wire.VMGroup, error)
	UpdateVMGroup(ctx context.Context, name string, u wire.UpdateVMGroup) (wire.VMGroup, error)
	RemoveVMGroup(ctx context.Context, name string, force, removeVolumes bool) error
	ExportVMGroup(ctx context.Context, name string) (string, error)
}

type tenantAdmin interface {
	Tenants(ctx context.Context, q hostclient.TenantQuery) (wire.TenantList, error)
	Tenant(ctx context.Context, name string) (wire.Tenant, error)
	CreateTenant(ctx context.Context, r wire.CreateTenant) (wire.TenantMade, error)
	SaveTenant(ctx context.Context, name string, r wire.SaveTenant) (wire.Bundle, error)
	LoadTenant(ctx context.Context, r wire.LoadTenant) (wire.TenantLoaded, error)
	UpdateTenant(ctx context.Context, name string, r wire.UpdateTenant) (wire.Tenant, error)
	SetSecurity(ctx context.Context, name string, r wire.UpdateSecurity) (wire.Tenant, error)
	DeleteTenant(ctx context.Context, name string, withData, immediately bool) error
	Settings(ctx context.Context) (wire.Settings, error)
	PutSettings(ctx context.Context, v wire.Settings) (wire.Settings, error)
}

type memberAdmin interface {
	GroupVMs(ctx context.Context, vmgroup string) ([]wire.VM, error)
	AddVMs(ctx context.Context, vmgroup string, vms []string) error
	ReplaceVMs(ctx context.Context, vmgroup string, vms []string) error
	RemoveVMs(ctx context.Context, vmgroup string, vms []string) error
}

type accessAdmin interface {
	AccessRows(ctx context.Context, vmgroup string) ([]wire.Access, error)
	AddAccess(ctx context.Context, vmgroup string, a wire.SetAccess) error
	SetAccess(ctx context.Context, vmgroup, datastore string, a wire.SetAccess) error
	RemoveAccess(ctx context.Context, vmgroup, datastore string) error
}

type folderAdmin interface {
	GroupFolders(ctx context.Context, vmgroup string) ([]wire.Folder, error)
	AddFolder(ctx context.Context, vmgroup, folder string) error
	RemoveFolder(ctx context.Context, vmgroup, folder string) error
}

type volumeAdmin interface {
	Volumes(ctx context.Context, q hostclient.VolumesQuery) (wire.VolumeList, error)
	CreateVolume(ctx context.Context, vmgroup string, v wire.CreateVolume) (wire.Volume, error)
	Volume(ctx context.Context, vmgroup, name string) (wire.Volume, error)
	SetVolume(ctx context.Context, vmgroup, name string, s wire.SetVolume) (wire.Volume, error)
	RemoveVolume(ctx context.Context, vmgroup, name string, purge bool) error
}

type volumeVerbs interface {
	ResizeVolume(ctx context.Context, vmgroup, name string, r wire.Resize) (wire.Volume, error)
	DetachVolume(ctx context.Context, vmgroup, name string, d wire.DetachVolume) error
	UndeleteVolume(ctx context.Context, vmgroup, name string, u wire.Undelete) (wire.Volume, error)
}

type snapshotAdmin interface {
	Snapshots(ctx context.Context, vmgroup, volume string) ([]wire.Snapshot, error)
	CreateSnapshot(ctx context.Context, vmgroup, volume string, s wire.CreateSnapshot) (wire.Snapshot, error)
	DeleteSnapshot(ctx context.Context, vmgroup, volume, snapshot string) error
}

type datastoreAdmin interface {
	Datastores(ctx context.Context) ([]wire.Datastore, error)
	Scan(ctx context.Context, datastore string, s wire.Scan) (wire.ScanResult, error)
}
