package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/wire"
)

// onePath is where an admin finds one volume.
const onePath = "/vmgroups/{vmgroup}/volumes/{name}"

var volumeEndpoints = []endpoint{
	{
		http.MethodGet, "/volumes", users, volumeRead, ofScope,
		"Volumes of all vmgroups",
		slices.Concat([]param{
			{"vmgroup", "string", "glob pattern of vmgroup names"},
			{"state", "string", "creating, ready, trashed, deleting or all; without it live volumes"},
			{"datastore", "string", "only on this datastore"},
		}, pageParams),
		give(listAll),
	},
	{
		http.MethodPost, "/vmgroups/{vmgroup}/volumes", users, volumeCreate, ofPath,
		"Make a volume in a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateVolume) (wire.Volume, error) {
			return s.o.Volumes.Create(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodGet, onePath, users, volumeRead, ofPath,
		"One volume", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Volume, error) {
			return s.o.Volumes.Get(ctx, c.caller, c.group(), c.name())
		}),
	},
	{
		http.MethodPatch, onePath, users, volumeManage, ofPath,
		"Change what is given of a volume's options", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetVolume) (wire.Volume, error) {
			return s.o.Volumes.Set(ctx, c.caller, c.group(), c.name(), in)
		}),
	},
	{
		http.MethodDelete, onePath, users, volumeRemove, ofPath,
		"Move a volume into the trash, or destroy it",
		[]param{{"purge", "boolean", "destroy it at once; then the name may be that of a trashed volume's id"}},
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			purge, err := c.flag("purge")
			if err != nil {
				return wire.Message{}, err
			}
			return said(s.o.Volumes.Remove(ctx, c.caller, c.group(), c.name(), purge), "volume", c.name(), "is removed")
		}),
	},
	{
		http.MethodPost, onePath + "/resize", users, volumeManage, ofPath,
		"Grow a volume", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Resize) (wire.Volume, error) {
			return s.o.Volumes.Resize(ctx, c.caller, c.group(), c.name(), in)
		}),
	},
	{
		http.MethodPost, onePath + "/detach", users, volumeManage, ofPath,
		"Take a volume's disk away from the VM that has it", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.DetachVolume) (wire.Message, error) {
			return said(s.o.Volumes.ForceDetach(ctx, c.caller, c.group(), c.name(), in), "volume", c.name(), "is detached")
		}),
	},
	{
		http.MethodPost, onePath + "/undelete", users, volumeManage, ofPath,
		"Take a volume out of the trash; the name may be its id", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Undelete) (wire.Volume, error) {
			return s.o.Volumes.Undelete(ctx, c.caller, c.group(), c.name(), in)
		}),
	},
	{
		http.MethodGet, onePath + "/snapshots", users, volumeRead, ofPath,
		"The snapshots of a volume", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Snapshot, error) {
			return s.o.Volumes.Snapshots(ctx, c.caller, c.group(), c.name())
		}, "name", "id"),
	},
	{
		http.MethodPost, onePath + "/snapshots", users, volumeManage, ofPath,
		"Freeze a volume's content under a name", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateSnapshot) (wire.Snapshot, error) {
			return s.o.Volumes.CreateSnapshot(ctx, c.caller, c.group(), c.name(), in)
		}),
	},
	{
		http.MethodDelete, onePath + "/snapshots/{snapshot}", users, volumeManage, ofPath,
		"Remove a snapshot", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Volumes.DeleteSnapshot(ctx, c.caller, c.group(), c.name(), c.vars["snapshot"]), "snapshot", c.vars["snapshot"], "is removed")
		}),
	},
}

func listAll(ctx context.Context, s *Server, c *call) (wire.VolumeList, error) {
	limit, err := c.number("limit")
	if err != nil {
		return wire.VolumeList{}, err
	}
	return s.o.Volumes.List(ctx, c.caller, volume.ListFilter{
		Group: c.query.Get("vmgroup"), State: c.query.Get("state"), Datastore: c.query.Get("datastore"),
		After: c.query.Get("after"), Limit: limit,
	})
}
