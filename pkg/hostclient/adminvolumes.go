package hostclient

import (
	"context"
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// VolumesQuery selects volumes; zero fields select everything. VMGroup is a
// glob pattern. After is the Next of the page before, Limit the length of a
// page (0: the service's default).
type VolumesQuery struct {
	VMGroup, State, Datastore string
	After                     string
	Limit                     int
}

// Volumes is one page of the volumes of all vmgroups.
func (a *Admin) Volumes(ctx context.Context, r VolumesQuery) (wire.VolumeList, error) {
	q := url.Values{}
	set(q, "vmgroup", r.VMGroup)
	set(q, "state", r.State)
	set(q, "datastore", r.Datastore)
	set(q, "after", r.After)
	setInt(q, "limit", r.Limit)
	return get[wire.VolumeList](ctx, a, q, "volumes")
}

// CreateVolume makes a volume in a vmgroup.
func (a *Admin) CreateVolume(ctx context.Context, group string, r wire.CreateVolume) (wire.Volume, error) {
	return change[wire.Volume](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "volumes")
}

// Volume describes one volume of a vmgroup.
func (a *Admin) Volume(ctx context.Context, group, name string) (wire.Volume, error) {
	return get[wire.Volume](ctx, a, nil, "vmgroups", group, "volumes", name)
}

// SetVolume changes options of a volume; what is nil in r stays.
func (a *Admin) SetVolume(ctx context.Context, group, name string, r wire.SetVolume) (wire.Volume, error) {
	return change[wire.Volume](ctx, a, http.MethodPatch, nil, r, "vmgroups", group, "volumes", name)
}

// RemoveVolume moves a volume into the trash or, with purge, destroys it.
func (a *Admin) RemoveVolume(ctx context.Context, group, name string, purge bool) error {
	q := url.Values{}
	setBool(q, "purge", purge)
	return a.tell(ctx, http.MethodDelete, q, nil, "vmgroups", group, "volumes", name)
}

// ResizeVolume grows a volume.
func (a *Admin) ResizeVolume(ctx context.Context, group, name string, r wire.Resize) (wire.Volume, error) {
	return change[wire.Volume](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "volumes", name, "resize")
}

// DetachVolume takes a volume's disk away from the VM that has it.
func (a *Admin) DetachVolume(ctx context.Context, group, name string, r wire.DetachVolume) error {
	return a.tell(ctx, http.MethodPost, nil, r, "vmgroups", group, "volumes", name, "detach")
}

// UndeleteVolume takes a volume out of the trash; name may be its id.
func (a *Admin) UndeleteVolume(ctx context.Context, group, name string, r wire.Undelete) (wire.Volume, error) {
	return change[wire.Volume](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "volumes", name, "undelete")
}

// Snapshots lists the snapshots of a volume.
func (a *Admin) Snapshots(ctx context.Context, group, name string) ([]wire.Snapshot, error) {
	return get[[]wire.Snapshot](ctx, a, nil, "vmgroups", group, "volumes", name, "snapshots")
}

// CreateSnapshot freezes a volume's content.
func (a *Admin) CreateSnapshot(ctx context.Context, group, name string, r wire.CreateSnapshot) (wire.Snapshot, error) {
	return change[wire.Snapshot](ctx, a, http.MethodPost, nil, r, "vmgroups", group, "volumes", name, "snapshots")
}

// DeleteSnapshot removes a snapshot.
func (a *Admin) DeleteSnapshot(ctx context.Context, group, name, snapshot string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, "vmgroups", group, "volumes", name, "snapshots", snapshot)
}
