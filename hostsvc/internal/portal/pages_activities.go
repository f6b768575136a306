package portal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var activitiesRoutes = []*route{
	{method: http.MethodGet, path: "/activities", who: everyUser, permission: "backup.read", handle: showActivities},
	{method: http.MethodGet, path: "/activities/{job}", who: everyUser, permission: "backup.read", handle: showActivity},
	{method: http.MethodPost, path: "/activities/{job}/cancel", who: everyUser, permission: "backup.run", form: showActivity, handle: cancelActivity},
	{method: http.MethodPost, path: "/activities/{job}/retry", who: everyUser, permission: "backup.run", form: showActivity, handle: retryActivity},
}

// group is the tenant that a page is about: one's own, or for a user of the
// master the one that the address names.
func (q *request) group() string {
	if q.tenant() != "" {
		return q.tenant()
	}
	return q.text("vmgroup")
}

// about is what an address needs to be about the same tenant.
func (q *request) about() string {
	if q.tenant() != "" || q.group() == "" {
		return ""
	}
	return withQuery("", url.Values{"vmgroup": {q.group()}})
}

type activitiesPage struct {
	Jobs                []wire.Job
	State, Kind, Object string
	Period              string // "", periodDay, periodWeek or periodDays
	From, To            string // days of periodDays
	VMGroup             string // that the address names
	Next                string
	First, Group        bool // Group: the tenant is shown
}

// activitiesShown is how many activities one page has.
const activitiesShown = 50

// Spans of time that activities can be of.
const (
	periodDay  = "day"
	periodWeek = "week"
	periodDays = "days"
)

// span is the time of which a page shows what was going on. The last day and
// the last week begin where those of the overview do.
func (q *request) span(p activitiesPage) (since, until time.Time) {
	switch p.Period {
	case periodDay:
		return quarter(time.Now().AddDate(0, 0, -1)), until
	case periodWeek:
		return quarter(time.Now().AddDate(0, 0, -7)), until
	case periodDays:
		since, _ = time.ParseInLocation(time.DateOnly, p.From, q.zone()) // what is no day bounds nothing
		if day, err := time.ParseInLocation(time.DateOnly, p.To, q.zone()); err == nil {
			until = day.AddDate(0, 0, 1)
		}
	}
	return since, until
}

// quarter is the quarter of an hour of a time: by those the overview counts.
func quarter(t time.Time) time.Time { return t.Truncate(15 * time.Minute) }

func showActivities(q *request) error {
	p := activitiesPage{State: q.text("state"), Kind: q.text("kind"), Object: q.text("object"), Period: q.text("period"), From: q.text("from"), To: q.text("to"),
		VMGroup: q.text("vmgroup"), First: q.text("after") != "", Group: q.tenant() == ""}
	query := hostclient.JobsQuery{State: p.State, Kind: p.Kind, Object: p.Object, After: q.text("after"), Limit: activitiesShown}
	query.Since, query.Until = q.span(p)
	var list wire.JobList
	var err error
	if g := q.group(); g != "" {
		list, err = q.api.GroupJobs(q.ctx(), g, query)
	} else {
		list, err = q.api.Jobs(q.ctx(), query)
	}
	if err != nil {
		return err
	}
	p.Jobs, p.Next = list.Jobs, list.Next
	return q.render("activities", "Activities", p)
}

type activityPage struct {
	wire.Job
	Parts       []wire.Job
	About, Took string
	Result      string // in lines
	Retry       bool
	Points      string // address of what it made
}

func showActivity(q *request) error {
	j, err := q.job()
	if err != nil {
		return err
	}
	p := activityPage{Job: j, About: q.about(), Retry: retries(j) && q.can("backup.run")}
	if !j.Begun.IsZero() {
		end := j.Ended
		if end.IsZero() {
			end = time.Now()
		}
		p.Took = durationText(end.Sub(j.Begun))
	}
	var result struct {
		Jobs []volspec.JobID `json:"jobs"`
	}
	if j.ResultJSON != "" && json.Unmarshal([]byte(j.ResultJSON), &result) == nil {
		for _, id := range result.Jobs[:min(len(result.Jobs), 200)] {
			part, err := q.api.Job(q.ctx(), j.VMGroup, id, 0)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			p.Parts = append(p.Parts, part)
		}
	}
	p.Result = indented(j.ResultJSON)
	return q.render("activity", title(j.Kind)+" of "+j.Object, p)
}

// indented is JSON as people read it; what is none is left out.
func indented(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) != nil {
		return ""
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return ""
	}
	return string(b)
}

func (q *request) job() (wire.Job, error) {
	g := q.group()
	if g == "" {
		return wire.Job{}, errkind.New(errkind.NotFound, "this address does not say of which tenant the activity is: open it from a list")
	}
	return q.api.Job(q.ctx(), g, volspec.JobID(q.path("job")), 0)
}

func cancelActivity(q *request) error {
	if _, err := q.api.CancelJob(q.ctx(), q.group(), volspec.JobID(q.path("job"))); err != nil {
		return err
	}
	return q.redirect(pathOf("activities", q.path("job"))+q.about(), "It was asked to end, and undoes what is not finished.")
}

// retries tells whether the same can be begun again.
func retries(j wire.Job) bool {
	if !j.Over() || j.State == "done" {
		return false
	}
	switch j.Kind {
	case "backup", "vm-backup":
		return j.Object != ""
	case "verify", "drill":
		return j.Point != ""
	case "policy":
		return j.Policy != ""
	}
	return false
}

func retryActivity(q *request) error {
	j, err := q.job()
	if err != nil {
		return err
	}
	if !retries(j) {
		return errkind.New(errkind.Unsupported, "this cannot be begun again from here: begin it anew where it came from")
	}
	const said = "It has begun again."
	r := wire.RunBackup{Policy: j.Policy}
	switch j.Kind {
	case "verify":
		again, err := q.api.VerifyPoint(q.ctx(), j.VMGroup, j.Point, wire.RunVerify{Mode: "full"})
		return q.begun(again, err, said)
	case "drill":
		again, err := q.api.DrillPoint(q.ctx(), j.VMGroup, j.Point)
		return q.begun(again, err, said)
	case "vm-backup":
		r = wire.RunBackup{VMs: []string{strings.TrimPrefix(j.Object, vmPrefix)}}
	case "backup":
		r = wire.RunBackup{Volumes: []string{j.Object}}
	}
	jobs, err := q.api.Backup(q.ctx(), j.VMGroup, r)
	return q.allBegun(jobs, err, said)
}
