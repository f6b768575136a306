package portal

import (
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var calendarRoutes = []*route{
	{method: http.MethodGet, path: "/calendar", who: everyUser, permission: "backup.read", handle: showCalendar},
}

// calendarDay is one cell of a calendar.
type calendarDay struct {
	Date   time.Time
	Inside bool // the month that is shown
	Today  bool
	Runs   []wire.Run
	More   int // beyond those that are shown
	URL    string
}

type calendarPage struct {
	Title, View, Policy string
	Policies            []option
	Weeks               [][]calendarDay
	Runs                []wire.Run
	More                bool
	Previous, Next, Now string
	Month, Week, Table  string
	Weekdays            []string
	Group               bool // of all tenants
}

// shownOfDay is how many entries a day of a month shows.
const shownOfDay = 4

func showCalendar(q *request) error {
	loc := q.zone()
	now := time.Now().In(loc)
	day := now
	if d, err := time.ParseInLocation(time.DateOnly, q.text("date"), loc); err == nil {
		day = d
	}
	p := calendarPage{View: q.text("view"), Policy: q.text("policy"), Group: q.tenant() == "", Policies: []option{{"", "All jobs"}}}
	if p.View != "week" && p.View != "table" {
		p.View = "month"
	}
	if !p.Group {
		p.Policies = append(p.Policies, q.policyOptions()...)
	} else {
		p.Policy = ""
	}
	// Whole weeks from Monday on, in the days of the zone.
	from := time.Date(day.Year(), day.Month(), 1, 12, 0, 0, 0, loc)
	to, back, on := from.AddDate(0, 1, 0), from.AddDate(0, -1, 0), from.AddDate(0, 1, 0)
	p.Title = from.Format("January 2006")
	if p.View == "week" {
		from = monday(time.Date(day.Year(), day.Month(), day.Day(), 12, 0, 0, 0, loc))
		to, back, on = from.AddDate(0, 0, 7), from.AddDate(0, 0, -7), from.AddDate(0, 0, 7)
		p.Title = "Week of " + from.Format("2 January 2006")
	}
	first, last := from, to
	if p.View == "month" {
		first = monday(from)
		for last = monday(to); last.Before(to); {
			last = last.AddDate(0, 0, 7)
		}
	}
	c, err := q.api.Calendar(q.ctx(), hostclient.CalendarQuery{
		VMGroup: q.tenant(), From: first.Format(time.DateOnly), To: last.Format(time.DateOnly), Zone: loc.String(), Policy: p.Policy, Limit: most,
	})
	if err != nil {
		return err
	}
	p.Runs, p.More = c.Runs, c.More
	at := func(view string, day time.Time) string {
		v := url.Values{"view": {view}, "date": {day.Format(time.DateOnly)}}
		if p.Policy != "" {
			v.Set("policy", p.Policy)
		}
		return withQuery("/calendar", v)
	}
	p.Previous, p.Next, p.Now = at(p.View, back), at(p.View, on), at(p.View, now)
	p.Month, p.Week, p.Table = at("month", day), at("week", day), at("table", day)
	if p.View == "table" {
		return q.render("calendar", "Calendar: "+p.Title, p)
	}
	shown := shownOfDay
	if p.View == "week" {
		shown = most
	}
	p.Weeks = weeksOf(c.Runs, first, last, from.Month(), now, shown, func(d time.Time) string { return at("week", d) })
	for i := range 7 {
		p.Weekdays = append(p.Weekdays, first.AddDate(0, 0, i).Format("Monday"))
	}
	return q.render("calendar", "Calendar: "+p.Title, p)
}

// monday is the last Monday that is not after t.
func monday(t time.Time) time.Time { return t.AddDate(0, 0, -(int(t.Weekday())+6)%7) }

// weeksOf puts entries, which are in order, into the days between two.
func weeksOf(runs []wire.Run, first, last time.Time, month time.Month, now time.Time, shown int, url func(time.Time) string) (weeks [][]calendarDay) {
	loc := first.Location()
	of := map[string][]wire.Run{}
	for _, r := range runs {
		key := r.Time.In(loc).Format(time.DateOnly)
		of[key] = append(of[key], r)
	}
	for d := first; d.Before(last); {
		var week []calendarDay
		for range 7 {
			all := of[d.Format(time.DateOnly)]
			day := calendarDay{Date: d, Inside: d.Month() == month || shown == most, Today: d.Format(time.DateOnly) == now.Format(time.DateOnly), Runs: all, URL: url(d)}
			if len(all) > shown {
				day.Runs, day.More = all[:shown], len(all)-shown
			}
			week = append(week, day)
			d = d.AddDate(0, 0, 1)
		}
		weeks = append(weeks, week)
	}
	return weeks
}
