package hostclient

import (
	"context"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// VMGroups lists all vmgroups.
func (a *Admin) VMGroups(ctx context.Context) (g []wire.VMGroup, err error) {
	return g, a.get(ctx, nil, &g, "vmgroups")
}

// VMGroup describes one vmgroup.
func (a *Admin) VMGroup(ctx context.Context, name string) (g wire.VMGroup, err error) {
	return g, a.get(ctx, nil, &g, "vmgroups", name)
}

// CreateVMGroup makes a vmgroup.
func (a *Admin) CreateVMGroup(ctx context.Context, r wire.CreateVMGroup) (g wire.VMGroup, err error) {
	return g, a.change(ctx, http.MethodPost, nil, r, &g, "vmgroups")
}

// UpdateVMGroup changes a vmgroup's name, description or default datastore.
func (a *Admin) UpdateVMGroup(ctx context.Context, name string, r wire.UpdateVMGroup) (g wire.VMGroup, err error) {
	return g, a.change(ctx, http.MethodPatch, nil, r, &g, "vmgroups", name)
}

// RemoveVMGroup removes a vmgroup. One with VMs is refused without force, one
// with volumes without removeVolumes, which destroys them.
func (a *Admin) RemoveVMGroup(ctx context.Context, name string, force, removeVolumes bool) error {
	q := url.Values{}
	setBool(q, "force", force)
	setBool(q, "remove_volumes", removeVolumes)
	return a.change(ctx, http.MethodDelete, q, nil, nil, "vmgroups", name)
}

// ExportVMGroup is a vmgroup as TOML, as the configuration declares it.
func (a *Admin) ExportVMGroup(ctx context.Context, name string) (string, error) {
	var m wire.Message
	err := a.get(ctx, nil, &m, "vmgroups", name, "export")
	return m.Message, err
}

// GroupVMs lists the VMs of a vmgroup.
func (a *Admin) GroupVMs(ctx context.Context, group string) (v []wire.VM, err error) {
	return v, a.get(ctx, nil, &v, "vmgroups", group, "vms")
}

// AddVMs adds VMs, by name, to a vmgroup.
func (a *Admin) AddVMs(ctx context.Context, group string, vms []string) error {
	return a.change(ctx, http.MethodPost, nil, wire.VMList{VMs: vms}, nil, "vmgroups", group, "vms")
}

// ReplaceVMs makes vms the members of a vmgroup.
func (a *Admin) ReplaceVMs(ctx context.Context, group string, vms []string) error {
	return a.change(ctx, http.MethodPut, nil, wire.VMList{VMs: vms}, nil, "vmgroups", group, "vms")
}

// RemoveVMs takes VMs out of a vmgroup.
func (a *Admin) RemoveVMs(ctx context.Context, group string, vms []string) error {
	return a.change(ctx, http.MethodDelete, url.Values{"vm": vms}, nil, nil, "vmgroups", group, "vms")
}

// AccessRows lists the access rows of a vmgroup.
func (a *Admin) AccessRows(ctx context.Context, group string) (r []wire.Access, err error) {
	return r, a.get(ctx, nil, &r, "vmgroups", group, "access")
}

// AddAccess gives a vmgroup access to a datastore.
func (a *Admin) AddAccess(ctx context.Context, group string, r wire.SetAccess) error {
	return a.change(ctx, http.MethodPost, nil, r, nil, "vmgroups", group, "access")
}

// SetAccess changes the access row for datastore; what is nil in r stays.
func (a *Admin) SetAccess(ctx context.Context, group, datastore string, r wire.SetAccess) error {
	return a.change(ctx, http.MethodPatch, nil, r, nil, "vmgroups", group, "access", datastore)
}

// RemoveAccess takes a vmgroup's access to a datastore away.
func (a *Admin) RemoveAccess(ctx context.Context, group, datastore string) error {
	return a.change(ctx, http.MethodDelete, nil, nil, nil, "vmgroups", group, "access", datastore)
}
