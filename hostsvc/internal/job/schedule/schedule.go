package schedule

import (
	"iter"
	"slices"
	"strconv"
	"time"
)

// Schedule is a parsed expression in its time zone. It is a value; the zero
// Schedule is never due.
type Schedule struct {
	valid   bool
	loc     *time.Location
	zone    string
	through bool // a time in each hour of the day

	every int64 // seconds; 0: the fields below
	week  week
	year  field
	month field
	day   field
	hour  field

	minute, second field
}

// IsZero reports whether s is the zero Schedule.
func (s Schedule) IsZero() bool { return !s.valid }

// Same reports whether s and o are due at the same times because they are
// written alike.
func (s Schedule) Same(o Schedule) bool {
	return s.valid == o.valid && s.zone == o.zone && s.every == o.every && s.week == o.week &&
		s.year.same(o.year) && s.month.same(o.month) && s.day.same(o.day) && s.hour.same(o.hour) && s.minute.same(o.minute) && s.second.same(o.second)
}

func (f field) same(o field) bool { return slices.Equal(f.parts, o.parts) }

// Zone is the name of the time zone as given to Parse.
func (s Schedule) Zone() string { return s.zone }

// Location is the time zone.
func (s Schedule) Location() *time.Location {
	if s.loc == nil {
		return time.UTC
	}
	return s.loc
}

// String is the expression in its full form, without the time zone. Parse
// reads it as the same schedule.
func (s Schedule) String() string {
	if !s.valid {
		return "never"
	}
	if s.every > 0 {
		return "every " + short(s.every)
	}
	text := ""
	if s.week != allWeek {
		text = s.week.String() + " "
	}
	separator := "-"
	if s.day.unit == fromEnd {
		separator = "~"
	}
	return text + s.year.String() + "-" + s.month.String() + separator + s.day.String() +
		" " + s.hour.String() + ":" + s.minute.String() + ":" + s.second.String()
}

// short writes whole minutes as 6h or 90m.
func short(sec int64) string {
	if sec%3600 == 0 {
		return strconv.FormatInt(sec/3600, 10) + "h"
	}
	return strconv.FormatInt(sec/60, 10) + "m"
}

func (s *Schedule) everyHour() bool {
	if s.every > 0 {
		return s.every <= 3600
	}
	return s.hour.all()
}

// Between yields what is due after from and not after to, in order.
func (s Schedule) Between(from, to time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for t := s.Next(from); !t.IsZero() && !t.After(to); t = s.Next(t) {
			if !yield(t) {
				return
			}
		}
	}
}

// period is a stretch of time in which the zone's offset does not change. Its
// ends need not be changes of clocks: far in the future the standard library
// also ends periods with the year.
type period struct {
	start, end       int64 // end is the first second behind it
	bounded, hasPrev bool  // it has an end; there is one before
	offset, previous int64 // seconds east of UTC, now and before start
}

func (s *Schedule) period(t int64) period {
	at := time.Unix(t, 0).In(s.loc)
	start, end := at.ZoneBounds()
	_, offset := at.Zone()
	p := period{offset: int64(offset), previous: int64(offset)}
	if !start.IsZero() && start.Unix() <= t {
		p.start, p.hasPrev = start.Unix(), true
		p.previous = s.offset(p.start - 1)
	}
	if !end.IsZero() {
		p.end, p.bounded = end.Unix(), true
	}
	if p.bounded && p.end <= t { // so says the library on the last day of leap years
		p.end = t + daySeconds
		for p.end > t+1 && s.offset(p.end-1) != p.offset {
			p.end = t + (p.end-t)/2
		}
	}
	return p
}

// offset is that of the zone at t, in seconds east of UTC.
func (s *Schedule) offset(t int64) int64 {
	_, offset := time.Unix(t, 0).In(s.loc).Zone()
	return int64(offset)
}

// Next is the first moment after the given one that is due; the zero time
// means never again. Moments are whole seconds in the schedule's zone.
func (s Schedule) Next(after time.Time) time.Time {
	if !s.valid {
		return time.Time{}
	}
	t := max(after.Unix()+1, -2*daySeconds)
	var from, found wall // no fitting time lies between them
	known := false
	for {
		p := s.period(t)
		if !s.through && p.hasPrev && t == p.start && s.madeUpAfter(p) {
			return s.moment(t)
		}
		w := wall(t + p.offset)
		if !s.through && p.hasPrev { // what was on the wall before is over
			w = max(w, wall(p.start+p.previous))
		}
		if !known || w < from || w > found {
			from, known = w, true
			var ok bool
			if found, ok = s.nextWall(w, maxWall); !ok {
				return time.Time{}
			}
		}
		if !p.bounded || int64(found)-p.offset < p.end {
			return s.moment(int64(found) - p.offset)
		}
		if !s.through && s.madeUpBefore(s.period(p.end)) && t < p.end {
			return s.moment(p.end - 1)
		}
		t = p.end
	}
}

func (s *Schedule) moment(t int64) time.Time { return time.Unix(t, 0).In(s.loc) }

// madeUpAfter reports whether times that the change at the start of p skipped
// are due there.
func (s *Schedule) madeUpAfter(p period) bool {
	last, first := wall(p.start+p.previous), wall(p.start+p.offset)
	_, ok := s.nextWall(max(last, first.day()), first)
	return ok
}

// madeUpBefore reports whether times that the change at the start of p
// skipped are due in the second before it: they belong to the day that ends
// with the change.
func (s *Schedule) madeUpBefore(p period) bool {
	last, first := wall(p.start+p.previous), wall(p.start+p.offset)
	day := (last - 1).day()
	if last >= first || day == first.day() {
		return false
	}
	_, ok := s.nextWall(last, min(first, day+daySeconds))
	return ok
}
