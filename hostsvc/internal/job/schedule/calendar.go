package schedule

import (
	"math/bits"
	"time"
)

const daySeconds = 24 * 60 * 60

// wall is a time on the wall clock: seconds since 1970 as if there were no
// time zones and no changes of clocks.
type wall int64

// day is the midnight at which the day of w begins.
func (w wall) day() wall {
	d := w % daySeconds
	if d < 0 {
		d += daySeconds
	}
	return w - d
}

// maxWall is the end of the last year there is.
var maxWall = wall(time.Date(years.max+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix())

// nextWall finds the first fitting time on the wall that is not before w. It
// looks no further than end.
func (s *Schedule) nextWall(w, end wall) (wall, bool) {
	w = max(w, 0)
	if w >= end {
		return 0, false
	}
	lastYear, lastMonth, _ := time.Unix(int64(end-1), 0).UTC().Date()
	midnight := w.day()
	tod := int64(w - midnight)
	y, mon, d := time.Unix(int64(midnight), 0).UTC().Date()
	m := int(mon)
	for y < lastYear || y == lastYear && m <= int(lastMonth) {
		if !s.fitsYear(y) {
			y, m, d, tod = y+1, 1, 1, 0
			continue
		}
		if s.fitsMonth(m) {
			length := time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
			first := time.Date(y, time.Month(m), 1, 0, 0, 0, 0, time.UTC)
			for ; d <= length; d, tod = d+1, 0 {
				if !s.fitsDay(d, length, (first.Weekday()+time.Weekday(d-1))%7) {
					continue
				}
				if t, ok := s.nextOfDay(tod); ok {
					found := wall(first.Unix() + int64(d-1)*daySeconds + t)
					return found, found < end
				}
			}
		}
		m, d, tod = m+1, 1, 0
		if m > 12 {
			y, m = y+1, 1
		}
	}
	return 0, false
}

func (s *Schedule) fitsYear(y int) bool  { return s.every > 0 || s.year.contains(y) }
func (s *Schedule) fitsMonth(m int) bool { return s.every > 0 || s.month.bits&(1<<m) != 0 }

func (s *Schedule) fitsDay(d, length int, wd time.Weekday) bool {
	if s.every > 0 {
		return true
	}
	n := d
	if s.day.unit == fromEnd {
		n = length - d + 1
	}
	return s.day.bits&(1<<n) != 0 && s.week.contains(wd)
}

// nextOfDay finds the first fitting second of a day from tod on.
func (s *Schedule) nextOfDay(tod int64) (int64, bool) {
	if s.every > 0 {
		t := (tod + s.every - 1) / s.every * s.every
		return t, t < daySeconds
	}
	h, m, sec := int(tod/3600), int(tod/60%60), int(tod%60)
	if s.hour.bits&(1<<h) != 0 {
		if s.minute.bits&(1<<m) != 0 {
			if n, ok := next(s.second.bits, sec); ok {
				return int64(h*3600 + m*60 + n), true
			}
		}
		if n, ok := next(s.minute.bits, m+1); ok {
			first, _ := next(s.second.bits, 0)
			return int64(h*3600 + n*60 + first), true
		}
	}
	if n, ok := next(s.hour.bits, h+1); ok {
		minute, _ := next(s.minute.bits, 0)
		second, _ := next(s.second.bits, 0)
		return int64(n*3600 + minute*60 + second), true
	}
	return 0, false
}

// next is the smallest member of a set that is not below n.
func next(set uint64, n int) (int, bool) {
	if n > 63 {
		return 0, false
	}
	rest := set >> n << n
	return bits.TrailingZeros64(rest), rest != 0
}
