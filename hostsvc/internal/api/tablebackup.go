package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Where an admin finds the things of backup.
const (
	ofGroup       = "/vmgroups/{vmgroup}"
	oneRepository = ofGroup + "/repositories/{repository}"
	onePoint      = ofGroup + "/points/{point}"
	onePolicy     = ofGroup + "/policies/{policy}"
	oneJob        = ofGroup + "/jobs/{job}"
)

// backupEndpoints are all about backup. They exist on every service, so that
// one without backup can say so.
var backupEndpoints = configured(slices.Concat(repositoryEndpoints, pointEndpoints, fileEndpoints, policyEndpoints, jobEndpoints, protectionEndpoints))

var noBackup = errkind.New(errkind.Unsupported, "backup is not configured on this mooringd")

// configured lets endpoints answer noBackup on a service without backup.
func configured(rows []endpoint) []endpoint {
	for i := range rows {
		h := &rows[i].handler
		if run := h.run; run != nil {
			h.run = func(ctx context.Context, s *Server, c *call, in any) (any, error) {
				if s.o.Backups == nil {
					return nil, noBackup
				}
				return run(ctx, s, c, in)
			}
		}
		if stream := h.stream; stream != nil {
			h.stream = func(ctx context.Context, s *Server, c *call, w *streamWriter) error {
				if s.o.Backups == nil {
					return noBackup
				}
				return stream(ctx, s, c, w)
			}
		}
	}
	return rows
}

func (c *call) repository() string { return c.vars["repository"] }
func (c *call) point() string      { return c.vars["point"] }
func (c *call) policy() string     { return c.vars["policy"] }
func (c *call) job() volspec.JobID { return volspec.JobID(c.vars["job"]) }

var repositoryEndpoints = []endpoint{
	{
		http.MethodGet, "/repositories", users, backupRead, ofScope,
		"Repositories of all vmgroups, and prepared ones", append([]param{{"vmgroup", "string", "only of this vmgroup"}}, rowParams...),
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Repository, error) {
			return s.o.Backups.Repositories(ctx, c.scope())
		}, "name", "vmgroup", "id"),
	},
	{
		http.MethodPost, "/repositories", admins, serviceManage, allTenants,
		"Prepare a place for a repository, to be assigned later", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateRepository) (wire.Repository, error) {
			return s.o.Backups.PrepareRepository(ctx, c.caller, in)
		}),
	},
	{
		http.MethodPost, "/repositories/{repository}/assign", admins, serviceManage, allTenants,
		"Give a prepared place to a vmgroup, as its repository", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Assign) (wire.Repository, error) {
			return s.o.Backups.AssignRepository(ctx, c.caller, c.repository(), in)
		}),
	},
	{
		http.MethodDelete, "/repositories/{repository}", admins, serviceManage, allTenants,
		"Forget a prepared place that is not assigned", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Backups.RemovePrepared(ctx, c.caller, c.repository()), "prepared repository", c.repository(), "is removed")
		}),
	},
	{
		http.MethodGet, ofGroup + "/repositories", users, backupRead, ofPath,
		"The repositories of a vmgroup", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Repository, error) {
			return s.o.Backups.Repositories(ctx, c.group())
		}, "name", "vmgroup", "id"),
	},
	{
		http.MethodPost, ofGroup + "/repositories", users, backupManage, ofPath,
		"Make a repository, or attach one that exists", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.CreateRepository) (wire.Repository, error) {
			return s.o.Backups.CreateRepository(ctx, c.caller, c.group(), in)
		}),
	},
	{
		http.MethodGet, oneRepository, users, backupRead, ofPath,
		"One repository", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Repository, error) {
			return s.o.Backups.Repository(ctx, c.group(), c.repository())
		}),
	},
	{
		http.MethodDelete, oneRepository, users, backupManage, ofPath,
		"Detach a repository: it is forgotten here, its data stay where they are", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Backups.DetachRepository(ctx, c.caller, c.group(), c.repository()), "repository", c.repository(), "is detached")
		}),
	},
	{
		http.MethodPost, oneRepository + "/check", users, backupRun, ofPath,
		"Look at a repository's identity and status now", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Repository, error) {
			return s.o.Backups.CheckRepository(ctx, c.group(), c.repository())
		}),
	},
	{
		http.MethodPost, oneRepository + "/kit", users, backupManage, ofPath,
		"The recovery kit of a repository: what opens it without this installation", nil,
		reveal(take(func(ctx context.Context, s *Server, c *call, in wire.KitOptions) (wire.Kit, error) {
			return s.o.Backups.Kit(ctx, c.caller, c.group(), c.repository(), in)
		})),
	},
	{
		http.MethodPut, oneRepository + "/credentials", users, backupManage, ofPath,
		"Change the credentials of a repository's place", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Credentials) (wire.Repository, error) {
			return s.o.Backups.SetCredentials(ctx, c.caller, c.group(), c.repository(), in)
		}),
	},
	{
		http.MethodGet, ofGroup + "/backup-usage", users, backupRead, ofPath,
		"What a vmgroup stores in its repositories", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.BackupUsage, error) {
			return s.o.Backups.BackupUsage(ctx, c.group())
		}),
	},
	{
		http.MethodPut, ofGroup + "/backup-limit", admins, vmgroupManage, ofPath,
		"Bound what a vmgroup stores in its repositories", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetBackupLimit) (wire.BackupUsage, error) {
			return s.o.Backups.SetBackupLimit(ctx, c.caller, c.group(), in)
		}),
	},
}

var protectionEndpoints = []endpoint{
	{
		http.MethodGet, ofGroup + "/protection", users, backupRead, ofPath,
		"How the volumes and VMs of a vmgroup are protected", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Protection, error) {
			return s.o.Backups.Protection(ctx, c.group())
		}, "volume", "volume_id", "vm_id"),
	},
	{
		http.MethodGet, ofGroup + "/alarms", users, backupRead, ofPath,
		"What somebody must look at in a vmgroup", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Alarm, error) {
			return s.o.Backups.Alarms(ctx, c.group())
		}, "since", "vmgroup", "kind", "object"),
	},
	{
		http.MethodGet, "/alarms", users, backupRead, ofScope,
		"What somebody must look at, in all vmgroups", append([]param{{"vmgroup", "string", "only of this vmgroup"}}, rowParams...),
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Alarm, error) {
			return s.o.Backups.Alarms(ctx, c.scope())
		}, "since", "vmgroup", "kind", "object"),
	},
	{
		http.MethodPost, "/keys/rotate", admins, serviceManage, allTenants,
		"Make a new master key and seal all secrets with it", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Rotated, error) {
			return s.o.Backups.RotateKey(ctx, c.caller)
		}),
	},
}
