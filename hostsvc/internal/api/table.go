package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/docs"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// endpoints is the table of everything that can be asked.
var endpoints = slices.Concat(commonEndpoints, guestEndpoints, freezeEndpoints, enrolEndpoints, serviceEndpoints, vmgroupEndpoints, tenantEndpoints, bundleEndpoints, volumeEndpoints, backupEndpoints, accountEndpoints, auditEndpoints, notifyEndpoints, oidcEndpoints,
	allowanceEndpoints, transporterEndpoints, overviewEndpoints, selfBackupEndpoints)

var pageParams = []param{
	{"after", "string", "the next of the page before"},
	{"limit", "integer", "length of a page; 0: the service's default"},
}

var commonEndpoints = []endpoint{
	{
		http.MethodGet, "/hello", both, helloRead, noTenant,
		"Versions, capabilities and who the channel says the caller is", nil,
		give(func(_ context.Context, s *Server, c *call) (wire.Hello, error) {
			return wire.Hello{
				Version: s.o.Version, Protocol: wire.Protocol, MinProtocol: wire.MinProtocol,
				Capabilities: s.o.Capabilities, VM: c.caller.VMName,
			}, nil
		}),
	},
	{
		http.MethodGet, "/openapi.json", people, login, noTenant,
		"This interface as an OpenAPI document", nil,
		send("application/json", func(_ context.Context, _ *Server, _ *call, w *streamWriter) error {
			w.start("", int64(len(docs.OpenAPI)))
			_, err := w.Write(docs.OpenAPI)
			return err
		}),
	},
}

var guestEndpoints = []endpoint{
	{
		http.MethodGet, "/volumes", guests, volumeRead, ofChannel,
		"The volumes of the caller's vmgroup", pageParams,
		give(func(ctx context.Context, s *Server, c *call) (wire.VolumeList, error) {
			limit, err := c.number("limit")
			if err != nil {
				return wire.VolumeList{}, err
			}
			return s.o.Volumes.List(ctx, c.caller, volume.ListFilter{After: c.query.Get("after"), Limit: limit})
		}),
	},
	{
		http.MethodPost, "/volumes", guests, volumeCreate, ofChannel,
		"Make a volume; the same again is the same volume", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateVolume) (wire.Volume, error) {
			return s.o.Volumes.Create(ctx, c.caller, "", in)
		}),
	},
	{
		http.MethodGet, "/volumes/{name}", guests, volumeRead, ofChannel,
		"One volume", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Volume, error) {
			return s.o.Volumes.Get(ctx, c.caller, "", c.name())
		}),
	},
	{
		http.MethodDelete, "/volumes/{name}", guests, volumeRemove, ofChannel,
		"Move a volume into the trash", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Volumes.Remove(ctx, c.caller, "", c.name(), false), "volume", c.name(), "is removed")
		}),
	},
	{
		http.MethodPost, "/volumes/{name}/attach", guests, volumeAttach, ofChannel,
		"Plug a volume's disk into the calling VM", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Attach) (wire.Attachment, error) {
			return s.o.Volumes.Attach(ctx, c.caller, c.name(), in)
		}),
	},
	{
		http.MethodPost, "/volumes/{name}/detach", guests, volumeAttach, ofChannel,
		"Give a volume's disk back", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Detach) (wire.Message, error) {
			return said(s.o.Volumes.Detach(ctx, c.caller, c.name(), in), "volume", c.name(), "is detached")
		}),
	},
	{
		http.MethodPost, "/volumes/{name}/format", guests, volumeAttach, ofChannel,
		"Move the format state of an attached disk", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetFormat) (wire.Message, error) {
			return said(s.o.Volumes.SetFormat(ctx, c.caller, c.name(), in), "volume", c.name(), "is", string(in.State))
		}),
	},
	{
		http.MethodPost, "/heartbeat", guests, volumeAttach, ofChannel,
		"Tell what the calling VM uses, learn what it holds", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Heartbeat) (wire.HeartbeatReply, error) {
			return s.o.Volumes.Heartbeat(ctx, c.caller, in)
		}),
	},
}

var serviceEndpoints = []endpoint{
	{
		http.MethodGet, "/status", admins, serviceRead, noTenant,
		"The service's own state", nil,
		give(func(ctx context.Context, s *Server, _ *call) (wire.Status, error) { return s.o.System.Status(ctx) }),
	},
	{
		http.MethodGet, "/doctor", admins, serviceRead, allTenants,
		"What the service finds when it examines itself", nil,
		give(func(ctx context.Context, s *Server, _ *call) ([]wire.Finding, error) { return s.o.System.Doctor(ctx) }),
	},
	{
		http.MethodPost, "/doctor/isolation", admins, serviceManage, allTenants,
		"Make two tenants, let the users of one look for the other everywhere, and remove both", nil,
		give(func(ctx context.Context, s *Server, c *call) ([]wire.Finding, error) {
			if s.o.Isolation == nil {
				return nil, errkind.New(errkind.Unsupported, "this service cannot examine the isolation of its tenants")
			}
			return s.o.Isolation(ctx, c.caller)
		}),
	},
	{
		http.MethodGet, "/vms", admins, serviceRead, allTenants,
		"All virtual machines", rowParams,
		rows(vms, "name", "id"),
	},
	{
		http.MethodGet, "/datastores", admins, serviceRead, allTenants,
		"All datastores", rowParams,
		rows(func(ctx context.Context, s *Server, _ *call) ([]wire.Datastore, error) {
			return s.o.Volumes.Datastores(ctx)
		}, "name", "id"),
	},
	{
		http.MethodPost, "/datastores/{datastore}/scan", admins, serviceManage, allTenants,
		"Compare a datastore with the catalog, and adopt what is missing there", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Scan) (wire.ScanResult, error) {
			return s.o.Volumes.Scan(ctx, c.caller, c.vars["datastore"], in)
		}),
	},
}
