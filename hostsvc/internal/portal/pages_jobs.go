package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// What people call a job here is a policy of the API: runs of it are
// activities.
var jobsRoutes = []*route{
	{method: http.MethodGet, path: "/jobs", who: tenants, permission: "backup.read", handle: showJobs},
	{method: http.MethodGet, path: "/jobs/new", who: tenants, permission: "backup.manage", handle: beginJob},
	{method: http.MethodPost, path: "/jobs/new", who: tenants, permission: "backup.manage", handle: stepJob},
	{method: http.MethodGet, path: "/jobs/{job}", who: tenants, permission: "backup.read", handle: showJob},
	{method: http.MethodGet, path: "/jobs/{job}/edit", who: tenants, permission: "backup.manage", handle: beginEdit},
	{method: http.MethodPost, path: "/jobs/{job}/edit", who: tenants, permission: "backup.manage", handle: stepJob},
	{method: http.MethodPost, path: "/jobs/{job}/run", who: tenants, permission: "backup.run", form: showJob, handle: runJob},
	{method: http.MethodPost, path: "/jobs/{job}/enable", who: tenants, permission: "backup.manage", form: showJob, handle: enableJob},
	{method: http.MethodGet, path: "/jobs/{job}/remove", who: tenants, permission: "backup.manage", handle: askJob},
	{method: http.MethodPost, path: "/jobs/{job}/remove", who: tenants, permission: "backup.manage", handle: removeJob},
}

// jobRow is a policy with its last result and its next run.
type jobRow struct {
	wire.Policy
	On    bool
	Words string // of its schedule
	Next  time.Time
	Last  *wire.Run
}

type jobsPage struct {
	Jobs []jobRow
	Part part
}

func showJobs(q *request) error {
	l, err := q.api.PolicyList(q.ctx(), q.tenant(), q.listQuery())
	if err != nil {
		return err
	}
	now := time.Now()
	c, err := q.api.Calendar(q.ctx(), hostclient.CalendarQuery{
		VMGroup: q.tenant(), From: now.Add(-31 * 24 * time.Hour).UTC().Format(time.RFC3339), To: now.Add(32 * 24 * time.Hour).UTC().Format(time.RFC3339), Limit: most,
	})
	if err != nil {
		return err
	}
	page := jobsPage{Part: partOf(q, l)}
	for _, p := range l.Rows {
		r := jobRow{Policy: p, On: p.Enabled == nil || *p.Enabled, Words: draftOf(p).words()}
		for i, run := range c.Runs {
			switch {
			case run.Policy != p.Name || run.Task != "backup":
			case run.Job != "" && ownRun(r.Last, run):
				r.Last = &c.Runs[i]
			case run.State == "due" && r.Next.IsZero():
				r.Next = run.Time
			}
		}
		page.Jobs = append(page.Jobs, r)
	}
	return q.render("jobs", "Jobs", page)
}

// ownRun tells whether a run of one thing was asked for by hand, or is the whole
// of a due time: the parts of one, the last, begin before it has ended.
func ownRun(last *wire.Run, r wire.Run) bool {
	return r.Object == "" || last == nil || last.Object != "" || !last.Ended.IsZero() && r.Time.After(last.Ended)
}

type jobPage struct {
	wire.Policy
	On      bool
	Words   string
	Keeps   []string
	Preview wire.PolicyPreview
	Runs    []wire.Run
}

func showJob(q *request) error {
	preview, err := q.api.PreviewPolicy(q.ctx(), q.tenant(), q.path("job"))
	if err != nil {
		return err
	}
	p := preview.Policy
	now := time.Now()
	c, err := q.api.Calendar(q.ctx(), hostclient.CalendarQuery{
		VMGroup: q.tenant(), Policy: p.Name, From: now.Add(-31 * 24 * time.Hour).UTC().Format(time.RFC3339), To: now.UTC().Format(time.RFC3339), Limit: most,
	})
	if err != nil {
		return err
	}
	slices.Reverse(c.Runs)
	runs := c.Runs[:min(len(c.Runs), 15)]
	slices.SortStableFunc(preview.Next, func(a, b wire.PolicyRun) int { return a.At.Compare(b.At) })
	preview.Next = preview.Next[:min(len(preview.Next), 5)]
	return q.render("job", "Job "+p.Name, jobPage{
		Policy: p, On: p.Enabled == nil || *p.Enabled, Words: draftOf(p).words(), Keeps: keepWords(p.Keep), Preview: preview, Runs: runs,
	})
}

// keepWords say what a retention keeps.
func keepWords(k wire.Keep) (out []string) {
	for _, x := range []struct {
		n    int
		word string
	}{
		{k.Last, "the last %"}, {k.Hourly, "one an hour for % hours"}, {k.Daily, "one a day for % days"}, {k.Weekly, "one a week for % weeks"},
		{k.Monthly, "one a month for % months"}, {k.Yearly, "one a year for % years"},
	} {
		if x.n > 0 {
			out = append(out, strings.Replace(x.word, "%", strconv.Itoa(x.n), 1))
		}
	}
	if k.Within != "" {
		out = append(out, "all of the last "+k.Within)
	}
	if out == nil {
		out = []string{"all of them, for ever"}
	}
	return out
}

func runJob(q *request) error { return q.backUp(wire.RunBackup{Policy: q.path("job")}) }

func enableJob(q *request) error {
	p, err := q.api.Policy(q.ctx(), q.tenant(), q.path("job"))
	if err != nil {
		return err
	}
	on := q.bool("on")
	p.Enabled = &on
	if _, err := q.api.ReplacePolicy(q.ctx(), q.tenant(), p.Name, p); err != nil {
		return err
	}
	said := "The job is disabled: nothing runs by its schedules until it is enabled."
	if on {
		said = "The job is enabled. Its schedules count from now on."
	}
	return q.redirect(pathOf("jobs", p.Name), said)
}

func askJob(q *request) error {
	preview, err := q.api.PreviewPolicy(q.ctx(), q.tenant(), q.path("job"))
	if err != nil {
		return err
	}
	name := preview.Policy.Name
	return q.ask(confirm{
		Title: "Remove job " + name, Crumbs: []action{{Label: "Jobs", URL: "/jobs"}, {Label: name, URL: pathOf("jobs", name)}},
		Effects: []string{
			"Nothing runs by its schedules any more.",
			count(len(preview.Volumes), "volume") + " and " + count(len(preview.VMs), "VM") + " lose this protection, if no other job covers them.",
			"The recovery points stay, and nothing removes them by age any more: " + count(len(preview.Points), "point") + " of this job now.",
		},
		Button: "Remove job", Type: name, Back: pathOf("jobs", name),
	})
}

func removeJob(q *request) error {
	name := q.path("job")
	if !q.confirmed(name) {
		return q.wrong()
	}
	if err := q.api.RemovePolicy(q.ctx(), q.tenant(), name); err != nil {
		return err
	}
	return q.redirect("/jobs", "Job "+name+" is removed. Its recovery points stay.")
}
