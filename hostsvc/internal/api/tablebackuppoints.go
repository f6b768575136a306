package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Media types of downloads.
const (
	mediaBytes = "application/octet-stream"
	mediaTar   = "application/x-tar"
)

var pointEndpoints = []endpoint{
	{
		http.MethodGet, ofGroup + "/points", users, backupRead, ofPath,
		"The recovery points of a vmgroup, newest first",
		slices.Concat([]param{
			{"volume", "string", "only of this volume, or of the VM vm/NAME"},
			{"repository", "string", "only in this repository"},
		}, pageParams),
		give(func(ctx context.Context, s *Server, c *call) (wire.PointList, error) {
			limit, err := c.number("limit")
			if err != nil {
				return wire.PointList{}, err
			}
			return s.o.Backups.Points(ctx, c.group(), PointFilter{
				Volume: c.query.Get("volume"), Repository: c.query.Get("repository"), After: c.query.Get("after"), Limit: limit,
			})
		}),
	},
	{
		http.MethodGet, onePoint, users, backupRead, ofPath,
		"One recovery point, by id, volume@time, volume@latest, vm/NAME@time or vm/NAME@latest", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Point, error) {
			return s.o.Backups.Point(ctx, c.group(), c.point())
		}),
	},
	{
		http.MethodPatch, onePoint, users, backupManage, ofPath,
		"Hold a recovery point, or let go of it", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.SetPoint) (wire.Point, error) {
			return s.o.Backups.SetPoint(ctx, c.caller, c.group(), c.point(), in)
		}),
	},
	{
		http.MethodDelete, onePoint, users, backupManage, ofPath,
		"Delete a recovery point", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Backups.DeletePoint(ctx, c.caller, c.group(), c.point()), "recovery point", c.point(), "is deleted")
		}),
	},
	{
		http.MethodPost, onePoint + "/verify", users, backupRun, ofPath,
		"Read a recovery point back and check it", nil,
		accept(take(func(ctx context.Context, s *Server, c *call, in wire.RunVerify) (wire.Job, error) {
			return s.o.Backups.Verify(ctx, c.caller, c.group(), c.point(), in)
		})),
	},
	{
		http.MethodPost, onePoint + "/drill", users, backupRun, ofPath,
		"Restore a recovery point to scratch, check and mount it, clean up", nil,
		accept(give(func(ctx context.Context, s *Server, c *call) (wire.Job, error) {
			return s.o.Backups.Drill(ctx, c.caller, c.group(), c.point())
		})),
	},
	{
		http.MethodPost, onePoint + "/restore", users, backupRestore, ofPath,
		"Bring a recovery point back, as a new volume or VM or in place", nil,
		accept(take(func(ctx context.Context, s *Server, c *call, in wire.RunRestore) (wire.Job, error) {
			if in.InPlace && !backupManage.allows(c.caller) {
				return wire.Job{}, errkind.New(errkind.Denied, "restoring in place replaces what is there, which needs the permission %s: restore as new, or ask an administrator of the tenant", backupManage)
			}
			return s.o.Backups.RestorePoint(ctx, c.caller, c.group(), c.point(), in)
		})),
	},
	{
		http.MethodPost, onePoint + "/copy", users, backupRun, ofPath,
		"Copy a recovery point to another repository of the vmgroup", nil,
		accept(take(func(ctx context.Context, s *Server, c *call, in wire.RunCopy) (wire.Job, error) {
			return s.o.Backups.CopyPoint(ctx, c.caller, c.group(), c.point(), in)
		})),
	},
	{
		http.MethodPost, ofGroup + "/backups", users, backupRun, ofPath,
		"Back volumes up now: a job for each", nil,
		accept(take(func(ctx context.Context, s *Server, c *call, in wire.RunBackup) ([]wire.Job, error) {
			return s.o.Backups.Backup(ctx, c.caller, c.group(), in)
		})),
	},
}

// fileEndpoints show the content of recovery points.
var fileEndpoints = []endpoint{
	{
		http.MethodGet, onePoint + "/files", users, backupContent, ofPath,
		"A folder inside a recovery point, by name",
		slices.Concat([]param{{"path", "string", "of the folder; without it the uppermost one"}}, pageParams),
		give(func(ctx context.Context, s *Server, c *call) (wire.FileList, error) {
			limit, err := c.number("limit")
			if err != nil {
				return wire.FileList{}, err
			}
			return s.o.Backups.Files(ctx, c.caller, c.group(), c.point(), c.query.Get("path"), c.query.Get("after"), limit)
		}),
	},
	{
		http.MethodGet, onePoint + "/file", users, backupContent, ofPath,
		"The content of one file inside a recovery point", []param{{"path", "string", "of the file"}},
		send(mediaBytes, func(ctx context.Context, s *Server, c *call, w *streamWriter) error {
			return s.o.Backups.File(ctx, c.caller, c.group(), c.point(), c.query.Get("path"), w.start, w)
		}),
	},
	{
		http.MethodGet, onePoint + "/tar", users, backupContent, ofPath,
		"Files and folders inside a recovery point as a tar archive, with owners, modes and extended attributes",
		[]param{{"path", "list", "of a file or folder; may be repeated; without it everything"}},
		send(mediaTar, func(ctx context.Context, s *Server, c *call, w *streamWriter) error {
			return s.o.Backups.Tar(ctx, c.caller, c.group(), c.point(), c.query["path"], w.start, w)
		}),
	},
	{
		http.MethodGet, onePoint + "/image", users, backupContent, ofPath,
		"A recovery point as the raw bytes of its disk", nil,
		send(mediaBytes, func(ctx context.Context, s *Server, c *call, w *streamWriter) error {
			return s.o.Backups.Image(ctx, c.caller, c.group(), c.point(), w.start, w)
		}),
	},
}
