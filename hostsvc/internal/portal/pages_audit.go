package portal

import (
	"net/http"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var auditRoutes = []*route{
	{method: http.MethodGet, path: "/audit", who: everyUser, permission: "audit.read", handle: showAudit},
	{method: http.MethodGet, path: "/audit/export", who: everyUser, permission: "audit.read", handle: exportAudit},
	{method: http.MethodGet, path: "/audit/verify", who: everyUser, permission: "audit.read", handle: verifyAudit},
}

// auditView is a line with its parts in words.
type auditView struct {
	wire.AuditEntry
	Who, What, Result, Tone string
}

func auditViews(entries []wire.AuditEntry) []auditView {
	var views []auditView
	for _, e := range entries {
		v := auditView{AuditEntry: e, Who: e.Actor, What: e.Action, Result: e.Outcome, Tone: "done"}
		if kind, name, ok := strings.Cut(e.Actor, ":"); ok {
			v.Who = map[string]string{"vm": "VM ", "admin": "this machine, uid ", "user": ""}[kind] + name
		}
		if e.Outcome != "ok" {
			v.Tone = "refused"
		}
		views = append(views, v)
	}
	return views
}

// auditPage is the data of audit.html.
type auditPage struct {
	Entries                                       []auditView
	VMGroup, Actor, Action, Outcome, Since, Until string
	Outcomes                                      []option
	Next, Export, Clear                           string
	First, Filtered                               bool
	Shown                                         int
}

// auditQuery reads the filter; days are those of the user's zone.
func (q *request) auditQuery() hostclient.AuditQuery {
	a := hostclient.AuditQuery{VMGroup: q.text("vmgroup"), Actor: q.text("actor"), Action: q.text("action"), Outcome: q.text("outcome"),
		After: q.text("after"), Limit: 100}
	day := func(name string, days int) time.Time {
		if q.text(name) == "" {
			return time.Time{}
		}
		t, err := time.ParseInLocation(time.DateOnly, q.text(name), q.zone())
		if err != nil {
			q.note(name, "Write a day such as 2026-11-30")
			return time.Time{}
		}
		return t.AddDate(0, 0, days)
	}
	a.Since, a.Until = day("since", 0), day("until", 1)
	if !q.caller.Admin {
		a.VMGroup = ""
	}
	return a
}

func showAudit(q *request) error {
	a := q.auditQuery()
	if err := q.wrong(); err != nil {
		return err
	}
	page, err := q.api.Audit(q.ctx(), a)
	if err != nil {
		return err
	}
	p := auditPage{
		Entries: auditViews(page.Entries), VMGroup: a.VMGroup, Actor: a.Actor, Action: a.Action, Outcome: a.Outcome, Since: q.text("since"), Until: q.text("until"),
		Outcomes: []option{{"", "Any result"}, {"ok", "Done"}, {"denied", "Denied"}, {"not-found", "Not found"}, {"invalid", "Invalid"}, {"quota", "Over a limit"}},
		Next:     page.Next, First: a.After != "", Shown: len(page.Entries), Clear: "/audit",
	}
	p.Filtered = p.VMGroup+p.Actor+p.Action+p.Outcome+p.Since+p.Until != ""
	v := q.r.URL.Query()
	v.Del("after")
	p.Export = withQuery("/audit/export", v)
	return q.render("audit", "Audit log", p)
}

// exportAudit hands all lines that the filter selects to the browser as a file.
func exportAudit(q *request) error {
	a := q.auditQuery()
	if err := q.wrong(); err != nil {
		return err
	}
	d, err := q.api.ExportAudit(q.ctx(), a)
	if err != nil {
		return err
	}
	return q.send("mooring-audit-"+time.Now().UTC().Format(time.DateOnly)+".ndjson", d)
}

// verifyPage is the data of audit_verify.html.
type verifyPage struct {
	Crumbs []action
	Checks []wire.AuditCheck
	Whole  bool
}

func verifyAudit(q *request) error {
	checks, err := q.api.VerifyAudit(q.ctx(), "", nil)
	if err != nil {
		return err
	}
	p := verifyPage{Crumbs: []action{{Label: "Audit log", URL: "/audit"}}, Checks: checks, Whole: true}
	for _, c := range checks {
		p.Whole = p.Whole && c.Whole
	}
	return q.render("audit_verify", "Check of the audit log", p)
}
