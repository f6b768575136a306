package hostclient

import (
	"context"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// VMGroups lists all vmgroups.
func (a *Admin) VMGroups(ctx context.Context) ([]wire.VMGroup, error) {
	return get[[]wire.VMGroup](ctx, a, nil, "vmgroups")
}

// VMGroup describes one vmgroup.
func (a *Admin) VMGroup(ctx context.Context, name string) (wire.VMGroup, error) {
	return get[wire.VMGroup](ctx, a, nil, "vmgroups", name)
}

// CreateVMGroup makes a vmgroup.
func (a *Admin) CreateVMGroup(ctx context.Context, r wire.CreateVMGroup) (wire.VMGroup, error) {
	return change[wire.VMGroup](ctx, a, http.MethodPost, nil, r, "vmgroups")
}

// UpdateVMGroup changes a vmgroup's name, description or default datastore.
func (a *Admin) UpdateVMGroup(ctx context.Context, name string, r wire.UpdateVMGroup) (wire.VMGroup, error) {
	return change[wire.VMGroup](ctx, a, http.MethodPatch, nil, r, "vmgroups", name)
}

// RemoveVMGroup removes a vmgroup. One with VMs is refused without force, one
// with volumes without removeVolumes, which destroys them.
func (a *Admin) RemoveVMGroup(ctx context.Context, name string, force, removeVolumes bool) error {
	q := url.Values{}
	setBool(q, "force", force)
	setBool(q, "remove_volumes", removeVolumes)
	return a.tell(ctx, http.MethodDelete, q, nil, "vmgroups", name)
}

// ExportVMGroup is a vmgroup as TOML, as the configuration declares it.
func (a *Admin) ExportVMGroup(ctx context.Context, name string) (string, error) {
	m, err := get[wire.Message](ctx, a, nil, "vmgroups", name, "export")
	return m.Message, err
}

// GroupVMs lists the VMs of a vmgroup.
func (a *Admin) GroupVMs(ctx context.Context, group string) ([]wire.VM, error) {
	return get[[]wire.VM](ctx, a, nil, "vmgroups", group, "vms")
}

// AddVMs adds VMs, by name, to a vmgroup.
func (a *Admin) AddVMs(ctx context.Context, group string, vms []string) error {
	return a.tell(ctx, http.MethodPost, nil, wire.VMList{VMs: vms}, "vmgroups", group, "vms")
}

// ReplaceVMs makes vms the members of a vmgroup.
func (a *Admin) ReplaceVMs(ctx context.Context, group string, vms []string) error {
	return a.tell(ctx, http.MethodPut, nil, wire.VMList{VMs: vms}, "vmgroups", group, "vms")
}

// RemoveVMs takes VMs out of a vmgroup.
func (a *Admin) RemoveVMs(ctx context.Context, group string, vms []string) error {
	return a.tell(ctx, http.MethodDelete, url.Values{"vm": vms}, nil, "vmgroups", group, "vms")
}

// AccessRows lists the access rows of a vmgroup.
func (a *Admin) AccessRows(ctx context.Context, group string) ([]wire.Access, error) {
	return get[[]wire.Access](ctx, a, nil, "vmgroups", group, "access")
}

// AddAccess gives a vmgroup access to a datastore.
func (a *Admin) AddAccess(ctx context.Context, group string, r wire.SetAccess) error {
	return a.tell(ctx, http.MethodPost, nil, r, "vmgroups", group, "access")
}

// SetAccess changes the access row for datastore; what is nil in r stays.
func (a *Admin) SetAccess(ctx context.Context, group, datastore string, r wire.SetAccess) error {
	return a.tell(ctx, http.MethodPatch, nil, r, "vmgroups", group, "access", datastore)
}

// RemoveAccess takes a vmgroup's access to a datastore away.
func (a *Admin) RemoveAccess(ctx context.Context, group, datastore string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "vmgroups", group, "access", datastore)
}

// GroupFolders lists the folders of VMs that were granted to a vmgroup.
func (a *Admin) GroupFolders(ctx context.Context, group string) ([]wire.Folder, error) {
	return get[[]wire.Folder](ctx, a, nil, "vmgroups", group, "folders")
}

// AddFolder grants a folder of VMs to a vmgroup.
func (a *Admin) AddFolder(ctx context.Context, group, folder string) error {
	return a.tell(ctx, http.MethodPost, nil, wire.GrantFolder{Folder: folder}, "vmgroups", group, "folders")
}

// RemoveFolder takes a granted folder of VMs away from a vmgroup.
func (a *Admin) RemoveFolder(ctx context.Context, group, folder string) error {
	return a.tell(ctx, http.MethodDelete, url.Values{"folder": {folder}}, nil, "vmgroups", group, "folders")
}
