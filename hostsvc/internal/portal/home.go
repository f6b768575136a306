package portal

import (
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/wire"
)

var homeRoutes = []*route{
	{method: http.MethodGet, path: "/{$}", who: everyUser, permission: "backup.read", handle: showHome},
}

// homePage is the data of home.html.
type homePage struct {
	wire.Dashboard
	Days    daysChart
	Stats   []stat
	Periods []period
	Storage meterView
	Rows    []alarmRow
	Tenant  *wire.Tenant // nil for the master
	Tenants int          // that there are, for the master
	Only    *tenantCard  // where there is one only, for the master
	Actions []action     // what is done most
	Make    action       // leads to the making of the first job, or tenant
	Empty   bool         // a tenant that protects nothing yet
}

// stat is a number that leads to its list; URL "" if there is none.
type stat struct{ Label, Value, URL, Icon, Tone, Note string }

// period is what was done in a span of time. Each result leads to the jobs that
// ended so.
type period struct {
	Label   string
	Results []result
	wire.Runs
}

type result struct {
	badge
	URL string
}

// meterView is a use and its bound. Size 0 is no bound.
type meterView struct {
	Used, Size int64
	Text, URL  string
}

func showHome(q *request) error {
	d, err := q.api.Dashboard(q.ctx(), "", q.zone().String())
	if err != nil {
		return err
	}
	p := homePage{Dashboard: d, Days: chartOf(d.Days), Storage: storageOf(d.Storage), Rows: q.alarmRows(d.Alarms)}
	p.Periods = []period{q.periodOf("Last 24 hours", periodDay, d.Day), q.periodOf("Last 7 days", periodWeek, d.Week)}
	if q.caller.Admin {
		return q.masterHome(p)
	}
	t := q.tenantNow()
	p.Tenant, p.Empty = &t, t.Readiness.Ready && d.Points == 0 && d.Protected+d.Pending+d.Late+d.Failed == 0
	p.Storage.URL = q.to("/repositories")
	p.Make = action{Label: "Create job", URL: q.to("/jobs/new"), Icon: "plus", Kind: "primary"}
	p.Actions = reachable(action{Label: "Recover", URL: q.to("/recover"), Icon: "recover"}, p.Make)
	p.Stats = append(q.protectionStats(d),
		stat{Label: "Recovery points", Value: digits(d.Points), URL: q.to("/points"), Icon: "point", Note: "of " + count(d.Volumes, "volume") + " and " + count(d.VMs, "VM")})
	return q.render("home", "Overview", p)
}

func (q *request) periodOf(label, span string, r wire.Runs) period {
	p := period{Label: label, Runs: r}
	for _, part := range []struct {
		n           int
		state, word string
	}{{r.Done, "done", "done"}, {r.Partial, "partial", "partly done"}, {r.Failed, "failed", "failed"}, {r.Canceled, "canceled", "canceled"}} {
		if part.n == 0 && part.state != "done" {
			continue
		}
		b := stateOf(part.state)
		b.Label = digits(part.n) + " " + part.word
		p.Results = append(p.Results, result{b, q.to("/activities", "state", part.state, "kind", "work", "period", span)})
	}
	return p
}

// protectionStats count volumes and VMs by how they are protected.
func (q *request) protectionStats(d wire.Dashboard) []stat {
	list := func(state string) string { return q.to("/volumes", "protection", state) }
	return []stat{
		{Label: "Protected", Value: digits(d.Protected), URL: list("ok"), Icon: "shield", Tone: "good", Note: "with a point young enough"},
		{Label: "Late", Value: digits(d.Late), URL: list("late"), Icon: "clock", Tone: tone(d.Late, "warn"), Note: "older than their policy allows"},
		{Label: "Failed", Value: digits(d.Failed), URL: list("failed"), Icon: "alarm", Tone: tone(d.Failed, "bad"), Note: "in the last backup"},
		{Label: "Unprotected", Value: digits(d.Unprotected), URL: list("unprotected"), Icon: "shield-off", Tone: tone(d.Unprotected, "warn"), Note: unprotectedNote(d)},
	}
}

func unprotectedNote(d wire.Dashboard) string {
	if d.Pending > 0 {
		return digits(d.Pending) + " more wait for a first backup"
	}
	return "in no job"
}

// tone colours a number that should be zero.
func tone(n int, bad string) string {
	if n > 0 {
		return bad
	}
	return ""
}

// masterHome is the overview of all tenants, or of the only one.
func (q *request) masterHome(p homePage) error {
	if q.single() {
		t, err := q.only()
		if err != nil {
			return err
		}
		if t != nil {
			return q.singleHome(p, *t)
		}
	}
	counts := p.Dashboard.Tenants
	p.Tenants = counts[wire.TenantsAll]
	p.Storage.URL = q.to("/pool")
	p.Make = action{Label: "Create new tenant", URL: q.to("/new/tenant"), Icon: "plus", Kind: "primary"}
	p.Actions = reachable(p.Make)
	for _, s := range []stat{
		{Label: "Good", Value: wire.HealthGood, Icon: "check", Tone: "good"},
		{Label: "Notices", Value: wire.HealthNotices, Icon: "warn", Tone: "warn"},
		{Label: "Alarms", Value: wire.HealthAlarms, Icon: "alarm", Tone: "bad"},
	} {
		n := counts[s.Value]
		s.URL, s.Value, s.Tone, s.Note = q.to("/tenants", "health", s.Value), digits(n), tone(n, s.Tone), "tenants"
		p.Stats = append(p.Stats, s)
	}
	p.Stats = append(p.Stats,
		stat{Label: "Protected", Value: digits(p.Protected), Icon: "shield", Tone: "good", Note: "of " + count(p.Volumes, "volume") + " and " + count(p.VMs, "VM")},
		stat{Label: "Late or failed", Value: digits(p.Late + p.Failed), Icon: "clock", Tone: tone(p.Late+p.Failed, "warn"), Note: "volumes and VMs"})
	return q.render("home_master", "Overview", p)
}

// storageOf shows what a share uses.
func storageOf(s wire.Share) meterView {
	if !s.Bounded {
		return meterView{Used: s.Used, Text: bytesText(s.Used) + " in use, no limit"}
	}
	return meterView{Used: s.Used, Size: max(s.Desired, 1), Text: bytesText(s.Used) + " of " + bytesText(s.Desired)}
}

// reachable are the actions that the caller has a page for.
func reachable(all ...action) []action {
	return slices.DeleteFunc(all, func(a action) bool { return a.URL == "" })
}
