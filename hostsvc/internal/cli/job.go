package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var jobColumns = []column[wire.Job]{
	{header: "Job", value: func(j wire.Job) string { return string(j.ID) }},
	{header: "VMGroup", value: func(j wire.Job) string { return orDash(j.VMGroup) }},
	{header: "Kind", value: func(j wire.Job) string { return j.Kind }},
	{header: "Object", value: func(j wire.Job) string { return j.Object }},
	{header: "State", value: func(j wire.Job) string { return j.State }},
	{header: "Stage", value: func(j wire.Job) string { return orDash(j.Stage) }},
	{header: "Progress", value: func(j wire.Job) string { return percent(j) }},
	{header: "Created", value: func(j wire.Job) string { return moment(j.Created) }},
	{header: "Took", value: func(j wire.Job) string { return took(j) }},
	{header: "Policy", wide: true, value: func(j wire.Job) string { return orDash(j.Policy) }},
	{header: "Attempts", wide: true, value: func(j wire.Job) string { return strconv.Itoa(j.Attempts) }},
	{header: "Point", wide: true, value: func(j wire.Job) string { return orDash(j.Point) }},
	{header: "Result", wide: true, value: func(j wire.Job) string { return orDash(strings.TrimSpace(j.Summary + " " + j.Error)) }},
}

// endedColumns are of jobs that somebody has waited for.
var endedColumns = []column[wire.Job]{
	{header: "Kind", value: func(j wire.Job) string { return j.Kind }},
	{header: "Object", value: func(j wire.Job) string { return j.Object }},
	{header: "State", value: func(j wire.Job) string { return j.State }},
	{header: "Point", value: func(j wire.Job) string { return orDash(j.Point) }},
	{header: "Read", value: func(j wire.Job) string { return amount(j.Progress.ReadBytes) }},
	{header: "Stored", value: func(j wire.Job) string { return amount(j.Progress.StoredBytes) }},
	{header: "Took", value: func(j wire.Job) string { return took(j) }},
	{header: "Result", value: func(j wire.Job) string { return orDash(j.Summary) }},
	{header: "Job", wide: true, value: jobName},
}

func percent(j wire.Job) string {
	p := j.Progress
	if p.TotalBytes <= 0 || j.State != "running" {
		return "-"
	}
	return strconv.FormatInt(min(100, 100*p.DoneBytes/p.TotalBytes), 10) + "%"
}

func took(j wire.Job) string {
	if j.Begun.IsZero() || j.Ended.IsZero() {
		return "-"
	}
	return span(j.Ended.Sub(j.Begun).Round(time.Second))
}

func (t *tool) jobCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "job",
		Short: "Show, watch and cancel backups and other long work",
		Long: `A job is one run of long work: a backup, a verification, a drill, a restore, a
copy, the removal of old recovery points. It belongs to the service: it goes on
when the command that began it ends, and after a restart of the service. On the
command line a job is written VMGROUP/JOB, as -o name prints it, or with
--vmgroup and the id alone.`,
	}, t.jobList(), t.jobInspect(), t.jobWatch(), t.jobCancel())
}

func aJob() thingFlags { return thingFlags{noun: "job", form: "JOB"} }

func (t *tool) jobList() *cobra.Command {
	var group groupArg
	var q hostclient.JobsQuery
	var since, until string
	var limit int
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List jobs, newest first",
		Example: `  mooring job ls --state=open
  mooring job ls Dev --kind=backup --state=failed --since=24h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			if q.Since, err = pastTime(cmd, "since", since); err != nil {
				return err
			}
			if q.Until, err = pastTime(cmd, "until", until); err != nil {
				return err
			}
			if limit < 1 {
				return usagef(cmd, "--limit %d is not valid: ask for at least one job", limit)
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			jobs, err := newestJobs(cmd.Context(), admin, name, q, limit)
			if err != nil {
				return err
			}
			return list(t, jobs, jobColumns, jobName)
		},
	}
	group.register(t, cmd, "jobs")
	f := cmd.Flags()
	f.StringVar(&q.State, "state", "", "only in `state` queued, running, open (queued or running), done, partial, failed or canceled")
	f.StringVar(&q.Kind, "kind", "", "only of `kind` backup, verify, drill, restore, copy, policy (a run of a policy) or maintain")
	f.StringVar(&q.Object, "object", "", "only on `object`")
	f.StringVar(&since, "since", "", "only jobs that had not ended before `time`: a date, a time in RFC 3339, or a span such as 24h")
	f.StringVar(&until, "until", "", "only jobs that were asked for before `time`")
	f.IntVar(&limit, "limit", 100, "at most `number` jobs")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions([]string{"queued", "running", "open", "done", "partial", "failed", "canceled"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("kind", cobra.FixedCompletions([]string{"backup", "verify", "drill", "restore", "copy", "policy", "maintain", "vm-backup", "vm-restore"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// newestJobs follows a listing until limit.
func newestJobs(ctx context.Context, a Admin, group string, q hostclient.JobsQuery, limit int) ([]wire.Job, error) {
	all, err := pages(limit, func(after string, n int) ([]wire.Job, string, error) {
		q.After, q.Limit = after, n
		page, err := jobPage(ctx, a, group, q)
		return page.Jobs, page.Next, err
	})
	return all[:min(limit, len(all))], err
}

// jobPage is a page of the jobs of a vmgroup, or with "" of all.
func jobPage(ctx context.Context, a Admin, group string, q hostclient.JobsQuery) (wire.JobList, error) {
	if group == "" {
		return a.Jobs(ctx, q)
	}
	return a.GroupJobs(ctx, group, q)
}

func (t *tool) jobInspect() *cobra.Command {
	which := aJob()
	cmd := &cobra.Command{
		Use:               "inspect [VMGROUP/]JOB",
		Short:             "Show everything about a job, with its steps",
		Args:              args(1, 1, "one job"),
		ValidArgsFunction: first(t.complete(which.jobs)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			j, err := admin.Job(cmd.Context(), o.group, volspec.JobID(o.name), 0)
			if err != nil {
				return err
			}
			return t.object(j, jobName(j), describeJob(j))
		}),
	}
	which.register(t, cmd)
	return cmd
}

func describeJob(j wire.Job) string {
	facts := [][2]string{
		{"Job", string(j.ID)},
		{"VMGroup", j.VMGroup},
		{"Kind", j.Kind},
		{"Object", j.Object},
		{"Policy", orDash(j.Policy)},
		{"State", j.State},
		{"Stage", orDash(j.Stage)},
		{"Progress", orDash(strings.Join(progress(j.Progress), "  "))},
		{"Read", amount(j.Progress.ReadBytes)},
		{"Stored", amount(j.Progress.StoredBytes)},
		{"Created", moment(j.Created)},
		{"Begun", moment(j.Begun)},
		{"Ended", moment(j.Ended)},
		{"Attempts", strconv.Itoa(j.Attempts)},
		{"Point", orDash(j.Point)},
		{"Result", orDash(j.Summary)},
	}
	if j.Cancel && !j.Over() {
		facts = append(facts, [2]string{"Cancel", "requested"})
	}
	if j.Error != "" {
		facts = append(facts, [2]string{"Error", j.Error})
	}
	for _, w := range j.Warnings {
		facts = append(facts, [2]string{"Warning", w})
	}
	for _, s := range j.Steps {
		text := "since " + moment(s.Begun)
		if !s.Ended.IsZero() {
			text = fmt.Sprintf("%s, took %s", moment(s.Begun), s.Ended.Sub(s.Begun).Round(time.Millisecond))
		}
		if s.Error != "" {
			text += ", failed: " + s.Error
		}
		facts = append(facts, [2]string{"Step " + s.Name, text})
	}
	return lines(facts)
}

func (t *tool) jobWatch() *cobra.Command {
	which := aJob()
	cmd := &cobra.Command{
		Use:   "watch [VMGROUP/]JOB...",
		Short: "Wait for jobs and show their progress",
		Long: `Waits until the jobs have ended and shows their progress. The exit code is 1 when
a job failed, 3 when only some did or one was done in part. Ctrl-C ends the
waiting, not the jobs.`,
		Args:              args(1, 1<<20, "at least one job"),
		ValidArgsFunction: t.complete(which.jobs),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			var jobs []wire.Job
			for _, o := range things {
				j, err := admin.Job(cmd.Context(), o.group, volspec.JobID(o.name), 0)
				if err != nil {
					return err
				}
				jobs = append(jobs, j)
			}
			return t.begun(cmd, admin, waitFlags{wait: true}, jobs, nil)
		}),
	}
	which.register(t, cmd)
	return cmd
}

func (t *tool) jobCancel() *cobra.Command {
	which := aJob()
	cmd := &cobra.Command{
		Use:               "cancel [VMGROUP/]JOB...",
		Short:             "Ask jobs to end",
		Long:              `Asks jobs to end. They clean up behind them; 'mooring job watch' waits for that.`,
		Args:              args(1, 1<<20, "at least one job"),
		ValidArgsFunction: t.complete(which.jobs),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			return each(things, func(o thing) error {
				j, err := admin.CancelJob(cmd.Context(), o.group, volspec.JobID(o.name))
				if err != nil {
					return err
				}
				if j.Over() {
					return t.done(o.String(), "Job %s has ended: %s.", o, j.State)
				}
				return t.done(o.String(), "Job %s will end.", o)
			})
		}),
	}
	which.register(t, cmd)
	return cmd
}
