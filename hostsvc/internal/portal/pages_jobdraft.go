package portal

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/wire"
)

// draft is a policy as people describe it: the fields of the wizard's forms. All
// of them travel with each form, so that nothing is kept between two steps.
type draft struct {
	Name              string
	Volumes, VMs      []string // names that are ticked
	Patterns, Exclude string
	VMPatterns        string
	Repository        string
	When              string // manual, daily, weekly, hours, expert
	Time              string // 15:04
	Days              []string
	Hours             string
	Expression        string
	Zone              string
	Last, Hourly      string
	Daily, Weekly     string
	Monthly, Yearly   string
	Within            string
	Consistency       string
	Verify, Mode      string // expressions
	Drill             string
	CopyTo, CopyWhen  string
	RPO, Limit        string
	Priority, Overlap string
	Off               bool
}

var weekdays = []option{{"Mon", "Monday"}, {"Tue", "Tuesday"}, {"Wed", "Wednesday"}, {"Thu", "Thursday"}, {"Fri", "Friday"}, {"Sat", "Saturday"}, {"Sun", "Sunday"}}

var (
	clockForm  = `([01][0-9]|2[0-3]):[0-5][0-9]`
	dailyForm  = regexp.MustCompile(`^` + clockForm + `$`)
	weeklyForm = regexp.MustCompile(`^((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:,(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun))*) (` + clockForm + `)$`)
	hoursForm  = regexp.MustCompile(`^every ([0-9]+)h$`)
)

// newDraft is what a new job begins with.
func newDraft(zone string) draft {
	return draft{When: "daily", Time: "01:00", Days: []string{"Sat"}, Hours: "6", Zone: zone, Daily: "7", Weekly: "4", Monthly: "6",
		Consistency: "filesystem", Verify: "weekly", Mode: "sampled", Priority: "3", Overlap: "skip", RPO: "26h"}
}

// draftOf describes a policy that is there.
func draftOf(p wire.Policy) draft {
	d := newDraft(p.Timezone)
	d.Name, d.Repository, d.Exclude = p.Name, p.Repository, joined(p.Exclude)
	d.Patterns, d.VMPatterns = joined(p.Volumes), joined(p.VMs)
	d.Consistency, d.Verify, d.Mode, d.Drill, d.RPO, d.Overlap = p.Consistency, p.Verify.Schedule, p.Verify.Mode, p.DrillSched, p.RPO, p.Overlap
	d.CopyTo, d.CopyWhen = p.Copy.Repository, p.Copy.Schedule
	d.Priority, d.Limit, d.Off = strconv.Itoa(p.Priority), "", p.Enabled != nil && !*p.Enabled
	if p.Limit > 0 {
		d.Limit = p.Limit.Option()
	}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	k := p.Keep
	d.Last, d.Hourly, d.Daily, d.Weekly, d.Monthly, d.Yearly, d.Within = number(k.Last), number(k.Hourly), number(k.Daily), number(k.Weekly), number(k.Monthly), number(k.Yearly), k.Within
	d.describe(p.Schedule)
	return d
}

// describe finds the words for a calendar expression; it is its own where there
// are none.
func (d *draft) describe(expr string) {
	d.Expression = expr
	if expr == "" {
		d.When = "manual"
	} else if dailyForm.MatchString(expr) {
		d.When, d.Time = "daily", expr
	} else if m := weeklyForm.FindStringSubmatch(expr); m != nil {
		d.When, d.Days, d.Time = "weekly", strings.Split(m[1], ","), m[2]
	} else if m := hoursForm.FindStringSubmatch(expr); m != nil {
		d.When, d.Hours = "hours", m[1]
	} else {
		d.When = "expert"
	}
}

// schedule is the calendar expression that the words mean.
func (d draft) schedule() string {
	switch d.When {
	case "daily":
		return d.Time
	case "weekly":
		return strings.Join(d.Days, ",") + " " + d.Time
	case "hours":
		return "every " + d.Hours + "h"
	case "expert":
		return d.Expression
	}
	return ""
}

// words say when it runs.
func (d draft) words() string {
	switch d.When {
	case "daily":
		return "Daily at " + d.Time + ", " + d.Zone
	case "weekly":
		var days []string
		for _, w := range weekdays {
			if slices.Contains(d.Days, w.Value) {
				days = append(days, w.Label)
			}
		}
		return "On " + strings.Join(days, ", ") + " at " + d.Time + ", " + d.Zone
	case "hours":
		if d.Hours == "1" {
			return "Every hour"
		}
		return "Every " + d.Hours + " hours, " + d.Zone
	case "expert":
		return d.Expression + ", " + d.Zone
	}
	return "Only by hand"
}

// fields are those of the wizard by name.
func (d draft) fields() map[string][]string {
	one := func(s string) []string { return []string{s} }
	f := map[string][]string{
		"name": one(d.Name), "volumes": d.Volumes, "vms": d.VMs, "patterns": one(d.Patterns), "vm_patterns": one(d.VMPatterns), "exclude": one(d.Exclude),
		"repository": one(d.Repository), "when": one(d.When), "time": one(d.Time), "days": d.Days, "hours": one(d.Hours), "expression": one(d.Expression), "zone": one(d.Zone),
		"last": one(d.Last), "hourly": one(d.Hourly), "daily": one(d.Daily), "weekly": one(d.Weekly), "monthly": one(d.Monthly), "yearly": one(d.Yearly), "within": one(d.Within),
		"consistency": one(d.Consistency), "verify": one(d.Verify), "mode": one(d.Mode), "drill": one(d.Drill), "copy_to": one(d.CopyTo), "copy_when": one(d.CopyWhen),
		"rpo": one(d.RPO), "limit": one(d.Limit), "priority": one(d.Priority), "overlap": one(d.Overlap),
	}
	if d.Off {
		f["off"] = one("yes")
	}
	return f
}

// draft reads the fields of the wizard.
func (q *request) draft() draft {
	return draft{
		Name: q.text("name"), Volumes: q.list("volumes"), VMs: q.list("vms"), Patterns: q.text("patterns"), VMPatterns: q.text("vm_patterns"), Exclude: q.text("exclude"),
		Repository: q.text("repository"), When: q.text("when"), Time: q.text("time"), Days: q.list("days"), Hours: q.text("hours"), Expression: q.text("expression"), Zone: q.text("zone"),
		Last: q.text("last"), Hourly: q.text("hourly"), Daily: q.text("daily"), Weekly: q.text("weekly"), Monthly: q.text("monthly"), Yearly: q.text("yearly"), Within: q.text("within"),
		Consistency: q.text("consistency"), Verify: q.text("verify"), Mode: q.text("mode"), Drill: q.text("drill"), CopyTo: q.text("copy_to"), CopyWhen: q.text("copy_when"),
		RPO: q.text("rpo"), Limit: q.text("limit"), Priority: q.text("priority"), Overlap: q.text("overlap"), Off: q.bool("off"),
	}
}

// policy is the draft as the API wants it. What cannot be read is noted at its
// field.
func (d draft) policy(q *request) wire.Policy {
	number := func(name string) int { return int(min(q.int(name), 100000)) }
	on := !d.Off
	p := wire.Policy{
		Name: d.Name, Enabled: &on, Repository: d.Repository, Schedule: d.schedule(), Timezone: d.Zone, Overlap: d.Overlap, RPO: d.RPO, Consistency: d.Consistency,
		Volumes: patterns(d.Volumes, d.Patterns), VMs: patterns(d.VMs, d.VMPatterns), Exclude: patterns(nil, d.Exclude),
		Keep:   wire.Keep{Last: number("last"), Hourly: number("hourly"), Daily: number("daily"), Weekly: number("weekly"), Monthly: number("monthly"), Yearly: number("yearly"), Within: d.Within},
		Verify: wire.VerifyPolicy{Schedule: d.Verify}, DrillSched: d.Drill, Limit: q.size("limit"), Priority: number("priority"),
	}
	if d.Verify != "" {
		p.Verify.Mode = d.Mode
		if d.Mode == "sampled" {
			p.Verify.Share = 0.1
		}
	}
	if d.CopyTo != "" {
		p.Copy = wire.CopyPolicy{Repository: d.CopyTo, Schedule: d.CopyWhen, Keep: p.Keep}
	}
	return p
}

// literal is the pattern of a name itself alone.
func literal(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, ",", `\,`).Replace(name)
}

// patterns are names, each a pattern of itself alone, and patterns that were
// typed, with commas or line ends between them.
func patterns(ticked []string, typed string) []string {
	out := []string{}
	for _, name := range ticked {
		out = append(out, literal(name))
	}
	escaped := false
	for _, p := range strings.FieldsFunc(typed, func(r rune) bool {
		ends := r == '\n' || r == '\r' || r == ',' && !escaped
		escaped = r == '\\' && !escaped
		return ends
	}) {
		if p = strings.TrimSpace(p); p != "" && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// joined are patterns as they are typed: a comma of a pattern has a backslash.
func joined(patterns []string) string {
	var b strings.Builder
	for i, p := range patterns {
		if i > 0 {
			b.WriteString(", ")
		}
		escaped := false
		for _, r := range p {
			if r == ',' && !escaped {
				b.WriteByte('\\')
			}
			escaped = r == '\\' && !escaped
			b.WriteRune(r)
		}
	}
	return b.String()
}

// check finds what is wrong with one step, at its fields.
func (d draft) check(q *request, step int) {
	switch step {
	case stepWhat:
		if d.Name == "" {
			q.note("name", "A job needs a name")
		}
		if len(d.Volumes)+len(d.VMs) == 0 && d.Patterns == "" && d.VMPatterns == "" {
			q.note("patterns", "Choose something to protect, or write a pattern; * is everything, also what comes later")
		}
	case stepWhere:
		if d.Repository == "" {
			q.note("repository", "Choose a repository")
		}
	case stepWhen:
		d.checkWhen(q)
	case stepKeep:
		d.policy(q) // notes what is no number
		if q.fields["limit"] != "" {
			q.note("limit", "Write bytes a second, such as 20mb")
		}
	}
}

func (d draft) checkWhen(q *request) {
	if !slices.Contains([]string{"manual", "daily", "weekly", "hours", "expert"}, d.When) {
		q.note("when", "Choose when it runs")
	}
	if (d.When == "daily" || d.When == "weekly") && !dailyForm.MatchString(d.Time) {
		q.note("time", "Write a time such as 01:30")
	}
	if d.When == "weekly" && len(d.Days) == 0 {
		q.note("days", "Choose one day at least")
	}
	if n, err := strconv.Atoi(d.Hours); d.When == "hours" && (err != nil || n < 1 || n > 24 || 24%n != 0) {
		q.note("hours", "Choose a number that divides the day: 1, 2, 3, 4, 6, 8, 12 or 24")
	}
	if d.When == "expert" && d.Expression == "" {
		q.note("expression", "Write a calendar expression, such as Mon..Fri 22:00")
	}
}

// steady is how many points of each volume and VM there will be once the job has
// run for long enough, at most.
func (d draft) steady(q *request) string {
	k := d.policy(q).Keep
	n := k.Last + k.Hourly + k.Daily + k.Weekly + k.Monthly + k.Yearly
	if n == 0 && k.Within == "" {
		return "Nothing is ever removed: the repository grows with every run."
	}
	text := fmt.Sprintf("At most %s of each volume and VM in the long run", count(n, "recovery point"))
	if k.Within != "" {
		text += ", and those of the last " + k.Within
	}
	return text + "."
}
