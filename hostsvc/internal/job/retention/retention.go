// Package retention decides which recovery points of one object are kept:
// grandfather-father-son over good points only. It is pure.
//
// Two things hold whatever the rules are: the newest good point is kept, and
// a held one is. Rules that are all zero keep everything. Damaged points take
// no place of a good one; points dated in the future, as after a clock that
// jumped, are kept and take none either.
package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Rules say how many points are kept: the last ones, the last of each of so
// many hours, days, ISO weeks, months and years that have a point, and all
// that are younger than Within. A point is kept if any rule wants it.
type Rules struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
	Within                                       time.Duration
	Zone                                         string // time zone of days and hours; "": UTC
}

// IsZero reports whether there is no rule.
func (r Rules) IsZero() bool {
	r.Zone = ""
	return r == Rules{}
}

// Point is one recovery point of the object.
type Point struct {
	ID      string
	Time    time.Time
	Hold    bool
	Damaged bool
}

// Decision is what becomes of a point, and why.
type Decision struct {
	ID      string
	Keep    bool
	Reasons []string
}

// skew is how far a clock may be ahead before a point counts as of the future.
const skew = 10 * time.Minute

// Decide says of every point whether it is kept. Decisions are newest first
// and do not depend on the order of points.
func Decide(points []Point, r Rules, now time.Time) []Decision {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b Point) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	out := make([]Decision, len(sorted))
	var good []int // indexes of points that count
	for i, p := range sorted {
		d := &out[i]
		d.ID = p.ID
		switch {
		case p.Time.After(now.Add(skew)):
			d.keep("it is dated in the future: nothing is decided about it")
		case !p.Damaged:
			good = append(good, i)
		}
		if p.Hold {
			d.keep("held")
		}
		if r.IsZero() {
			d.keep("there is no rule: everything is kept")
		}
	}
	if len(good) > 0 {
		out[good[0]].keep("newest good point")
	}
	r.apply(sorted, good, out, now)
	for i := range out {
		if out[i].Keep {
			continue
		}
		reason := "no rule keeps it"
		if sorted[i].Damaged {
			reason = "it is damaged, and no rule keeps it"
			if len(good) == 0 { // all that is left of the object
				out[i].keep("there is no good point: the damaged ones are kept")
				continue
			}
		}
		out[i].Reasons = []string{reason}
	}
	return out
}

func (d *Decision) keep(reason string) {
	d.Keep = true
	d.Reasons = append(d.Reasons, reason)
}

// period is one of the rules that keep the newest point of each of so many
// stretches of time.
type period struct {
	name string
	n    int
	key  func(time.Time) string
}

func (r Rules) periods() []period {
	return []period{
		{"hourly", r.Hourly, func(t time.Time) string {
			// The doubled hour of a change of clocks is two hours.
			return t.Format("2006-01-02 15:00 -0700")
		}},
		{"daily", r.Daily, func(t time.Time) string { return t.Format(time.DateOnly) }},
		{"weekly", r.Weekly, func(t time.Time) string {
			y, w := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", y, w)
		}},
		{"monthly", r.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
		{"yearly", r.Yearly, func(t time.Time) string { return t.Format("2006") }},
	}
}

func (r Rules) apply(sorted []Point, good []int, out []Decision, now time.Time) {
	zone := time.UTC
	if r.Zone != "" {
		if z, err := time.LoadLocation(r.Zone); err == nil { // checked when the policy was written
			zone = z
		}
	}
	for n, i := range good {
		if n < r.Last {
			out[i].keep(fmt.Sprintf("last %d of %d", n+1, r.Last))
		}
		if age := now.Sub(sorted[i].Time); r.Within > 0 && age <= r.Within {
			out[i].keep("younger than " + r.Within.String())
		}
	}
	for _, p := range r.periods() {
		taken, last := 0, ""
		for _, i := range good {
			key := p.key(sorted[i].Time.In(zone))
			if taken == p.n && key != last {
				break
			}
			if key == last {
				continue
			}
			last = key
			taken++
			out[i].keep(fmt.Sprintf("%s %s (%d of %d)", p.name, key, taken, p.n))
		}
	}
}
