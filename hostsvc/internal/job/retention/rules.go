package retention

import (
	"fmt"
	"time"
)

// period is one of the rules that keep the newest point of each of so many
// stretches of time.
type period struct {
	name string
	n    int
	key  func(time.Time) string
}

func (r Rules) periods() []period {
	format := func(layout string) func(time.Time) string {
		return func(t time.Time) string { return t.Format(layout) }
	}
	return []period{
		// With the offset, since the doubled hour of a change of clocks is two.
		{"hourly", r.Hourly, format("2006-01-02 15:00 -0700")},
		{"daily", r.Daily, format(time.DateOnly)},
		{"weekly", r.Weekly, func(t time.Time) string {
			y, w := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", y, w)
		}},
		{"monthly", r.Monthly, format("2006-01")},
		{"yearly", r.Yearly, format("2006")},
	}
}

// apply keeps what the rules want. Damaged points are looked at where they
// stand, but only good ones are counted. sorted is newest first.
func (r Rules) apply(sorted []Point, out []Decision, newest, now time.Time, zone *time.Location) {
	good := 0
	for i, p := range sorted {
		if p.future(now) {
			continue
		}
		if good < r.Last {
			out[i].rule(p, fmt.Sprintf("last %d of %d", good+1, r.Last))
		}
		if !p.Damaged {
			good++
		}
		if r.Within > 0 && newest.Sub(p.Time) <= r.Within {
			out[i].rule(p, "within "+r.Within.String()+" of the newest good point")
		}
	}
	for _, each := range r.periods() {
		taken, last := 0, ""
		for i, p := range sorted {
			if taken >= each.n {
				break
			}
			key := each.key(p.Time.In(zone))
			if p.future(now) || key == last {
				continue
			}
			out[i].rule(p, fmt.Sprintf("%s %s (%d of %d)", each.name, key, taken+1, each.n))
			if !p.Damaged {
				taken, last = taken+1, key
			}
		}
	}
}

func (d *Decision) rule(p Point, reason string) {
	if p.Damaged {
		reason = "damaged, kept for healing: " + reason
	}
	d.keep(reason)
}
