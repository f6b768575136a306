package api

import (
	"context"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

var policyEndpoints = []endpoint{
	{
		http.MethodGet, ofGroup + "/policies", users, backupRead, ofPath,
		"The backup policies of a vmgroup", rowParams,
		rows(func(ctx context.Context, s *Server, c *call) ([]wire.Policy, error) {
			return s.o.Backups.Policies(ctx, c.group())
		}, "name"),
	},
	{
		http.MethodPost, ofGroup + "/policies", users, backupManage, ofPath,
		"Make a backup policy", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Policy) (wire.Policy, error) {
			return s.o.Backups.PutPolicy(ctx, c.caller, c.group(), in, false)
		}),
	},
	{
		http.MethodGet, onePolicy, users, backupRead, ofPath,
		"One backup policy", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Policy, error) {
			return s.o.Backups.Policy(ctx, c.group(), c.policy())
		}),
	},
	{
		http.MethodPut, onePolicy, users, backupManage, ofPath,
		"Replace a backup policy", nil,
		take(putPolicy),
	},
	{
		http.MethodDelete, onePolicy, users, backupManage, ofPath,
		"Remove a backup policy; the recovery points stay", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.Message, error) {
			return said(s.o.Backups.RemovePolicy(ctx, c.caller, c.group(), c.policy()), "policy", c.policy(), "is removed")
		}),
	},
	{
		http.MethodGet, onePolicy + "/preview", users, backupRead, ofPath,
		"What a backup policy protects, when it runs next and what it would remove", nil,
		give(func(ctx context.Context, s *Server, c *call) (wire.PolicyPreview, error) {
			return s.o.Backups.PreviewPolicy(ctx, c.group(), c.policy())
		}),
	},
	{
		http.MethodPost, ofGroup + "/policy-preview", users, backupRead, ofPath,
		"What a backup policy that is not stored yet would do", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Policy) (wire.PolicyPreview, error) {
			return s.o.Backups.PreviewNew(ctx, c.group(), in)
		}),
	},
	{
		http.MethodPost, ofGroup + "/prune", users, backupManage, ofPath,
		"Apply the retention of policies now, or only tell what it would remove", nil,
		take(func(ctx context.Context, s *Server, c *call, in wire.Prune) (wire.Pruned, error) {
			return s.o.Backups.Prune(ctx, c.caller, c.group(), in)
		}),
	},
}

func putPolicy(ctx context.Context, s *Server, c *call, in wire.Policy) (wire.Policy, error) {
	if in.Name == "" {
		in.Name = c.policy()
	}
	if in.Name != c.policy() {
		return wire.Policy{}, errkind.New(errkind.Invalid, "the request is about policy %q, its body about %q: make them agree", c.policy(), in.Name)
	}
	return s.o.Backups.PutPolicy(ctx, c.caller, c.group(), in, true)
}

var jobParams = slices.Concat([]param{
	{"state", "string", "queued, running, open (one of these two), done, partial, failed or canceled"},
	{"kind", "string", "backup, verify, drill, restore, copy, policy, maintain, vm-backup or vm-restore; work: all but policy and maintain"},
	{"object", "string", "only on this object"},
	{"since", "string", "only what had not ended before this time, RFC 3339"},
	{"until", "string", "only what was asked for before this time"},
}, pageParams)

var jobEndpoints = []endpoint{
	{
		http.MethodGet, "/jobs", users, backupRead, ofScope,
		"The jobs of all vmgroups, newest first", append([]param{{"vmgroup", "string", "only of this vmgroup"}}, jobParams...),
		give(func(ctx context.Context, s *Server, c *call) (wire.JobList, error) {
			return listJobs(ctx, s, c, c.scope())
		}),
	},
	{
		http.MethodGet, ofGroup + "/jobs", users, backupRead, ofPath,
		"The jobs of a vmgroup, newest first", jobParams,
		give(func(ctx context.Context, s *Server, c *call) (wire.JobList, error) {
			return listJobs(ctx, s, c, c.group())
		}),
	},
	{
		http.MethodGet, oneJob, users, backupRead, ofPath,
		"One job", []param{{"wait_ms", "integer", "answer when the job has ended, or after this many milliseconds"}},
		give(func(ctx context.Context, s *Server, c *call) (wire.Job, error) {
			wait, err := c.number("wait_ms")
			if err != nil {
				return wire.Job{}, err
			}
			ctx, cancel := untilStop(ctx)
			defer cancel()
			return s.o.Backups.Job(ctx, c.group(), c.job(), min(wait, longestWait))
		}),
	},
	{
		http.MethodPost, oneJob + "/cancel", users, backupRun, ofPath,
		"Ask a job to end", nil,
		accept(give(func(ctx context.Context, s *Server, c *call) (wire.Job, error) {
			return s.o.Backups.CancelJob(ctx, c.caller, c.group(), c.job())
		})),
	},
	{
		http.MethodGet, oneJob + "/events", users, backupRead, ofPath,
		"A job's progress as server-sent events, each the job as JSON, at most two a second, until it has ended", nil,
		events(),
	},
}

// longestWait is how long one question for a job waits, in milliseconds:
// shorter than any limit of a request.
const longestWait = 60_000

func listJobs(ctx context.Context, s *Server, c *call, group string) (wire.JobList, error) {
	limit, err := c.number("limit")
	if err != nil {
		return wire.JobList{}, err
	}
	f := JobFilter{State: c.query.Get("state"), Kind: c.query.Get("kind"), Object: c.query.Get("object"), After: c.query.Get("after"), Limit: limit}
	if f.Since, err = c.moment("since"); err != nil {
		return wire.JobList{}, err
	}
	if f.Until, err = c.moment("until"); err != nil {
		return wire.JobList{}, err
	}
	return s.o.Backups.Jobs(ctx, group, f)
}
