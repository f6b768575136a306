// Package retention decides which recovery points of one object are kept:
// grandfather-father-son over good points only. It is pure.
//
// Only what is complete is a point here: failed and partial runs are none and
// take no place. Whatever the rules are, the newest good point is kept, and so
// are held ones, those that are immutable still, and those dated in the
// future, as after a clock that jumped; the last take no place of another.
// Rules that are all zero keep everything, and so does an object without any
// good point.
//
// A damaged point takes no place of a good one. It is kept as long as it would
// be kept were it whole, since the next backup may heal it.
//
// Deciding again after the removals removes nothing more.
package retention

import (
	"cmp"
	"slices"
	"time"
)

// Rules say how many points are kept: the last ones, the newest of each of so
// many hours, days, ISO weeks, months and years that have a good point, and
// all that are at most Within older than the newest good one: age alone, while
// no backup succeeds, removes nothing. A point is kept if any rule wants it.
type Rules struct {
	Last, Hourly, Daily, Weekly, Monthly, Yearly int
	Within                                       time.Duration
	Zone                                         string // time zone of days and hours; "": UTC
}

// IsZero reports whether there is no rule.
func (r Rules) IsZero() bool {
	return r.Last <= 0 && r.Hourly <= 0 && r.Daily <= 0 && r.Weekly <= 0 && r.Monthly <= 0 && r.Yearly <= 0 && r.Within <= 0
}

// Point is one recovery point of the object.
type Point struct {
	ID      string
	Time    time.Time
	Hold    bool
	Damaged bool
	Until   time.Time // it cannot be removed before; the zero time: it can
}

// Decision is what becomes of a point, and why.
type Decision struct {
	ID      string
	Keep    bool
	Reasons []string // at least one
}

// Decide says of every point whether it is kept. Decisions are newest first
// and do not depend on the order of points. A zone that is not known decides
// nothing: everything is kept.
func Decide(points []Point, r Rules, now time.Time) []Decision {
	sorted := slices.Clone(points)
	slices.SortFunc(sorted, func(a, b Point) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	out := make([]Decision, len(sorted))
	newest := -1
	for i, p := range sorted {
		out[i].ID = p.ID
		if newest < 0 && !p.Damaged && !p.future(now) {
			newest = i
			out[i].keep("newest good point")
		}
		out[i].guard(p, now)
	}
	zone, err := time.LoadLocation(cmp.Or(r.Zone, "UTC"))
	switch {
	case r.IsZero():
		keepAll(out, "there is no rule: everything is kept")
	case err != nil:
		keepAll(out, "time zone "+r.Zone+" is not known: nothing is removed")
	case newest < 0:
		keepAll(out, "there is no good point: nothing is removed")
	default:
		r.apply(sorted, out, sorted[newest].Time, now, zone)
	}
	for i := range out {
		if out[i].Keep {
			continue
		}
		out[i].Reasons = []string{"no rule keeps it"}
		if sorted[i].Damaged {
			out[i].Reasons = []string{"it is damaged, and no rule would keep it"}
		}
	}
	return out
}

func (p Point) future(now time.Time) bool { return p.Time.After(now) }

// guard keeps what no rule may remove.
func (d *Decision) guard(p Point, now time.Time) {
	if p.future(now) {
		d.keep("dated in the future: nothing is decided about it")
	}
	if p.Hold {
		d.keep("held")
	}
	if p.Until.After(now) {
		d.keep("immutable until " + p.Until.UTC().Format(time.RFC3339))
	}
}

func (d *Decision) keep(reason string) {
	d.Keep = true
	d.Reasons = append(d.Reasons, reason)
}

func keepAll(out []Decision, reason string) {
	for i := range out {
		out[i].keep(reason)
	}
}
