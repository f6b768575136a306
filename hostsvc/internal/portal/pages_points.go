package portal

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var pointsRoutes = []*route{
	{method: http.MethodGet, path: "/points", who: tenants, permission: "backup.read", handle: showPoints},
	{method: http.MethodGet, path: "/points/{point}", who: tenants, permission: "backup.read", handle: showPoint},
	{method: http.MethodPost, path: "/points/{point}/verify", who: tenants, permission: "backup.run", form: showPoint, handle: verifyPoint},
	{method: http.MethodPost, path: "/points/{point}/drill", who: tenants, permission: "backup.run", form: showPoint, handle: drillPoint},
	{method: http.MethodPost, path: "/points/{point}/copy", who: tenants, permission: "backup.run", form: showPoint, handle: copyPoint},
	{method: http.MethodPost, path: "/points/{point}/hold", who: tenants, permission: "backup.manage", form: showPoint, handle: holdPoint},
	{method: http.MethodGet, path: "/points/{point}/delete", who: tenants, permission: "backup.manage", handle: askPoint},
	{method: http.MethodPost, path: "/points/{point}/delete", who: tenants, permission: "backup.manage", handle: deletePoint},
}

// lane is the recovery points of one volume or VM on a line of time.
type lane struct {
	Name   string
	Line   timelineChart
	Points int
	Newest wire.Point
}

type pointsPage struct {
	Of         string
	Repository string
	Repos      []option
	Lanes      []lane
	Points     []wire.Point
	Line       timelineChart
	Next       string
	First      bool
}

func showPoints(q *request) error {
	p := pointsPage{Of: q.text("of"), Repository: q.text("repository"), First: q.text("after") != "", Repos: []option{{"", "Any"}}}
	repos, err := q.api.GroupRepositories(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	for _, r := range repos {
		p.Repos = append(p.Repos, option{r.Name, r.Name})
	}
	limit := 50
	if p.Of == "" {
		limit = 1000 // what the lines show
	}
	list, err := q.api.Points(q.ctx(), q.tenant(), hostclient.PointsQuery{Volume: p.Of, Repository: p.Repository, After: q.text("after"), Limit: limit})
	if err != nil {
		return err
	}
	p.Points, p.Next = list.Points, list.Next
	if p.Of != "" {
		p.Line = q.timeline(list.Points)
		return q.render("points", "Recovery points of "+p.Of, p)
	}
	p.Lanes = q.lanes(list.Points)
	return q.render("points", "Recovery points", p)
}

// lanes sorts points by what they are of; the one with the newest is first.
func (q *request) lanes(points []wire.Point) (out []lane) {
	of := map[string][]wire.Point{}
	var order []string
	for _, p := range points { // newest first
		if of[p.Volume] == nil {
			order = append(order, p.Volume)
		}
		of[p.Volume] = append(of[p.Volume], p)
	}
	for _, name := range order {
		all := of[name]
		out = append(out, lane{Name: name, Line: q.timeline(all), Points: len(all), Newest: all[0]})
	}
	return out
}

// timelineChart is recovery points on a line of time, drawn in a box of 1000
// by 44.
type timelineChart struct {
	Marks    []chartMark
	Label    string
	From, To string
}

type chartMark struct {
	X           int
	Tone, Shape string // the state is told by both
	Title       string
}

// marks is at most how many points a line shows: more would hide each other.
const marks = 200

// shortest is the least time that a line shows: a point of just now is at its end.
const shortest = 24 * time.Hour

// timeline draws points, which are newest first. Its end is now.
func (q *request) timeline(points []wire.Point) (c timelineChart) {
	if len(points) == 0 {
		return c
	}
	all := len(points)
	points = points[:min(all, marks)]
	now := time.Now()
	span := max(now.Sub(points[len(points)-1].Created), shortest)
	from := now.Add(-span)
	counts := map[volspec.PointState]int{}
	for _, p := range points {
		counts[p.State]++
		m := chartMark{X: 12 + int(976*float64(p.Created.Sub(from))/float64(span)), Title: p.Created.In(q.zone()).Format("2 Jan 2006, 15:04") + ", " + string(p.State)}
		switch p.State {
		case volspec.Proven:
			m.Tone, m.Shape = "good", "proven"
		case volspec.Verified:
			m.Tone, m.Shape = "good", "verified"
		case volspec.Damaged:
			m.Tone, m.Shape = "bad", "damaged"
		default:
			m.Tone, m.Shape = "info", "completed"
		}
		c.Marks = append(c.Marks, m)
	}
	words := []string{}
	for _, s := range []volspec.PointState{volspec.Proven, volspec.Verified, volspec.Completed, volspec.Damaged} {
		if n := counts[s]; n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, s))
		}
	}
	c.From, c.To = from.In(q.zone()).Format("2 January 2006"), "now"
	c.Label = fmt.Sprintf("%s since %s: %s", count(len(points), "recovery point"), c.From, strings.Join(words, ", "))
	return c
}

// rung is one step of the ladder of trust in a point.
type rung struct {
	Name, Text string
	At         time.Time
	Reached    bool
}

type pointPage struct {
	wire.Point
	Ladder []rung
	Copies []option // repositories it can be copied to
}

func showPoint(q *request) error {
	pt, err := q.api.Point(q.ctx(), q.tenant(), q.path("point"))
	if err != nil {
		return err
	}
	p := pointPage{Point: pt, Ladder: []rung{
		{"Completed", "All of it was read and written.", pt.Created, true},
		{"Verified", "What the repository holds was read again and is what was written.", pt.VerifiedAt, !pt.VerifiedAt.IsZero()},
		{"Proven", "It was restored to scratch, checked, mounted and read.", pt.ProvenAt, !pt.ProvenAt.IsZero()},
	}}
	repos, err := q.api.GroupRepositories(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	for _, r := range repos {
		if r.Name != pt.Repository {
			p.Copies = append(p.Copies, option{r.Name, r.Name})
		}
	}
	return q.render("point", "Recovery point of "+pt.Volume, p)
}

// begun leads to the page of a job that was begun.
func (q *request) begun(j wire.Job, err error, said string) error {
	if err != nil {
		return err
	}
	return q.redirect(pathOf("activities", j.ID)+q.about(), said)
}

// allBegun leads to the job of a backup that was begun, or to all if there are
// more.
func (q *request) allBegun(jobs []wire.Job, err error, said string) error {
	if err != nil {
		return err
	}
	if len(jobs) != 1 {
		return q.redirect("/activities?state=open", count(len(jobs), "backup")+" have begun.")
	}
	return q.begun(jobs[0], nil, said)
}

func verifyPoint(q *request) error {
	mode := q.text("mode")
	if mode == "" {
		mode = "full"
	}
	j, err := q.api.VerifyPoint(q.ctx(), q.tenant(), q.path("point"), wire.RunVerify{Mode: mode})
	return q.begun(j, err, "The verification has begun.")
}

func drillPoint(q *request) error {
	j, err := q.api.DrillPoint(q.ctx(), q.tenant(), q.path("point"))
	return q.begun(j, err, "The drill has begun.")
}

func copyPoint(q *request) error {
	j, err := q.api.CopyPoint(q.ctx(), q.tenant(), q.path("point"), wire.RunCopy{Repository: q.text("repository")})
	return q.begun(j, err, "The copy has begun.")
}

func holdPoint(q *request) error {
	hold := q.bool("hold")
	if _, err := q.api.SetPoint(q.ctx(), q.tenant(), q.path("point"), wire.SetPoint{Hold: &hold}); err != nil {
		return err
	}
	said := "Retention may remove this point again."
	if hold {
		said = "This point is held: nothing removes it."
	}
	return q.redirect(pathOf("points", q.path("point")), said)
}

func askPoint(q *request) error {
	pt, err := q.api.Point(q.ctx(), q.tenant(), q.path("point"))
	if err != nil {
		return err
	}
	c := confirm{
		Title: "Delete recovery point", Button: "Delete recovery point",
		Text:    fmt.Sprintf("The point of %s of %s in repository %s, %s.", pt.Volume, pt.Created.In(q.zone()).Format("2 January 2006, 15:04"), pt.Repository, pt.State),
		Crumbs:  []action{{Label: "Recovery points", URL: "/points"}, {Label: pt.Volume, URL: pathOf("points", pt.ID)}},
		Effects: []string{"Nothing can be recovered from it any more.", "Other points stay whole, also those that share data with it.", "The space is freed by the next maintenance of the repository."},
		Back:    pathOf("points", pt.ID),
	}
	if pt.Hold {
		c.Effects = append([]string{"It is held: take the hold off first, or the service refuses."}, c.Effects...)
	}
	return q.ask(c)
}

func deletePoint(q *request) error {
	if err := q.api.DeletePoint(q.ctx(), q.tenant(), q.path("point")); err != nil {
		return err
	}
	return q.redirect("/points", "The recovery point is deleted.")
}
