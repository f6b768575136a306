package api

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

var vmgroupEndpoints = []endpoint{
	{
		http.MethodGet, "/vmgroups", users, vmgroupRead, ofScope,
		"All vmgroups", rowParams,
		rows(func(ctx context.Context, s *Server, _ *call) ([]wire.VMGroup, error) { return s.o.Tenants.List(ctx) }, "name", "id"),
	},
	{
		http.MethodPost, "/vmgroups", admins, vmgroupManage, allTenants,
		"Make a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateVMGroup) (wire.VMGroup, error) {
			return s.o.Tenants.Create(ctx, c.caller, in)
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}", users, vmgroupRead, ofPath,
		"One vmgroup", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.VMGroup, error) {
			return s.o.Tenants.Get(ctx, c.group())
		}),
	},
	{
		http.MethodPatch, "/vmgroups/{vmgroup}", admins, vmgroupManage, ofPath,
		"Change what is given of a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.UpdateVMGroup) (wire.VMGroup, error) {
			return s.o.Tenants.Update(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodDelete, "/vmgroups/{vmgroup}", admins, vmgroupManage, ofPath,
		"Remove a vmgroup",
		[]param{
			{"force", "boolean", "even if it has VMs"},
			{"remove_volumes", "boolean", "destroy its volumes too"},
		},
		give(removeVMGroup),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/export", admins, vmgroupRead, ofPath,
		"A vmgroup as the configuration file would declare it", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			text, err := s.o.Tenants.Export(ctx, c.group())
			return wire.Message{Message: text}, err
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/vms", users, vmgroupRead, ofPath,
		"The VMs of a vmgroup", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.VM, error) {
			return s.o.Tenants.VMs(ctx, c.group())
		}, "name", "id"),
	},
	{
		http.MethodPost, "/vmgroups/{vmgroup}/vms", admins, vmgroupManage, ofPath,
		"Add VMs to a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.VMList) (wire.Message, error) {
			return said(s.o.Tenants.AddVMs(ctx, c.caller, c.group(), in.VMs), "VMs added to vmgroup", c.group())
		}),
	},
	{
		http.MethodPut, "/vmgroups/{vmgroup}/vms", admins, vmgroupManage, ofPath,
		"Make exactly these VMs the members of a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.VMList) (wire.Message, error) {
			return said(s.o.Tenants.ReplaceVMs(ctx, c.caller, c.group(), in.VMs), "VMs of vmgroup", c.group(), "replaced")
		}),
	},
	{
		http.MethodDelete, "/vmgroups/{vmgroup}/vms", admins, vmgroupManage, ofPath,
		"Take VMs out of a vmgroup", []param{{"vm", "list", "a VM's name; may be repeated"}},
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Tenants.RemoveVMs(ctx, c.caller, c.group(), c.query["vm"]), "VMs removed from vmgroup", c.group())
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/access", users, vmgroupRead, ofPath,
		"The access rows of a vmgroup", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Access, error) {
			g, err := s.o.Tenants.Get(ctx, c.group())
			return g.Access, err
		}, "datastore"),
	},
	{
		http.MethodPost, "/vmgroups/{vmgroup}/access", admins, vmgroupManage, ofPath,
		"Give a vmgroup access to a datastore", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetAccess) (wire.Message, error) {
			return said(s.o.Tenants.AddAccess(ctx, c.caller, c.group(), in), "access of vmgroup", c.group(), "added")
		}),
	},
	{
		http.MethodPatch, "/vmgroups/{vmgroup}/access/{datastore}", admins, vmgroupManage, ofPath,
		"Change what is given of an access row", nil,
		take(setAccess),
	},
	{
		http.MethodDelete, "/vmgroups/{vmgroup}/access/{datastore}", admins, vmgroupManage, ofPath,
		"Take a vmgroup's access to a datastore away", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Tenants.RemoveAccess(ctx, c.caller, c.group(), c.vars["datastore"]), "access of vmgroup", c.group(), "removed")
		}),
	},
	{
		http.MethodGet, "/vmgroups/{vmgroup}/folders", users, vmgroupRead, ofPath,
		"The folders of VMs that a vmgroup may protect, with the VMs", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Folder, error) {
			return s.o.Tenants.Folders(ctx, c.group())
		}, "folder"),
	},
	{
		http.MethodPost, "/vmgroups/{vmgroup}/folders", admins, vmgroupManage, ofPath,
		"Grant a folder of VMs to a vmgroup", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.GrantFolder) (wire.Message, error) {
			return said(s.o.Tenants.AddFolder(ctx, c.caller, c.group(), in.Folder), "folder granted to vmgroup", c.group())
		}),
	},
	{
		http.MethodDelete, "/vmgroups/{vmgroup}/folders", admins, vmgroupManage, ofPath,
		"Take a granted folder of VMs away from a vmgroup", []param{{"folder", "string", "its path"}},
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Tenants.RemoveFolder(ctx, c.caller, c.group(), c.query.Get("folder")), "folder taken away from vmgroup", c.group())
		}),
	},
}

func removeVMGroup(ctx context.Context, s *Server, c *call) (wire.Message, error) {
	force, err := c.flag("force")
	if err != nil {
		return wire.Message{}, err
	}
	volumes, err := c.flag("remove_volumes")
	if err != nil {
		return wire.Message{}, err
	}
	return said(s.o.Tenants.Remove(ctx, c.caller, c.group(), force, volumes), "vmgroup", c.group(), "is removed")
}

func setAccess(ctx context.Context, s *Server, c *call, in wire.SetAccess) (wire.Message, error) {
	ds := c.vars["datastore"]
	if in.Datastore != "" && in.Datastore != ds {
		return wire.Message{}, errkind.New(errkind.Invalid, "the request is about datastore %q, its body about %q: make them agree", ds, in.Datastore)
	}
	return said(s.o.Tenants.SetAccess(ctx, c.caller, c.group(), ds, in), "access of vmgroup", c.group(), "changed")
}
