package schedule_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
)

// draw makes an expression of the language and parses it in some zone.
func draw(r *rapid.T) schedule.Schedule {
	number := func(low, high int) string {
		item := func() string {
			a, b := rapid.IntRange(low, high).Draw(r, "a"), rapid.IntRange(low, high).Draw(r, "b")
			a, b = min(a, b), max(a, b)
			return rapid.SampledFrom([]string{
				fmt.Sprint(a), fmt.Sprintf("%02d", b), "*", fmt.Sprintf("%d..%d", a, b),
				fmt.Sprintf("*/%d", max(1, b-a)), fmt.Sprintf("%d/%d", a, max(1, b-a)),
			}).Draw(r, "form")
		}
		text := item()
		for range rapid.IntRange(0, 2).Draw(r, "more") {
			text += "," + item()
		}
		return text
	}
	var parts []string
	if rapid.Bool().Draw(r, "weekdays") {
		parts = append(parts, rapid.SampledFrom([]string{"Mon", "Mon..Fri", "Sat,Sun", "Fri..Mon", "Sunday"}).Draw(r, "week"))
	}
	if rapid.Bool().Draw(r, "date") {
		parts = append(parts, "*-"+number(1, 12)+"-"+number(1, 31))
	}
	if len(parts) == 0 || rapid.Bool().Draw(r, "time") {
		parts = append(parts, number(0, 23)+":"+number(0, 59))
	}
	text := strings.Join(parts, " ")
	if rapid.IntRange(0, 9).Draw(r, "every") == 0 {
		text = rapid.SampledFrom([]string{"every 6h", "every 90m", "every 10m", "every 24h"}).Draw(r, "d")
	}
	s, err := schedule.Parse(text, rapid.SampledFrom(zones).Draw(r, "zone"))
	require.NoError(r, err, text)
	return s
}

// Next grows strictly, leaves nothing out, and what it gives fits the fields
// unless clocks were put forward there.
func TestNextProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := draw(r)
		start := time.Unix(rapid.Int64Range(1.2e9, 2.5e9).Draw(r, "start"), rapid.Int64Range(0, 999).Draw(r, "ns"))
		previous := start
		for range 20 {
			due := s.Next(previous)
			if due.IsZero() {
				return
			}
			require.True(r, due.After(previous), "%s: %s after %s", s, due, previous)
			require.Zero(r, due.Nanosecond())
			gap := due.Sub(previous)
			between := previous.Add(time.Duration(rapid.Int64Range(0, int64(gap)-1).Draw(r, "between")))
			require.True(r, s.Next(between).Equal(due), "%s: from %s too", s, between)
			require.True(r, fits(s, due) || forward(due) || forward(due.Add(time.Second)), "%s does not fit %s", due, s)
			previous = due
		}
	})
}

// fits reads the full form again, in the dullest way, and compares.
func fits(s schedule.Schedule, t time.Time) bool {
	text := s.String()
	if d, ok := strings.CutPrefix(text, "every "); ok {
		every, err := time.ParseDuration(d)
		return err == nil && (t.Hour()*3600+t.Minute()*60+t.Second())%int(every.Seconds()) == 0
	}
	parts := strings.Fields(text)
	if len(parts) == 3 {
		if !fitsWeek(parts[0], t.Weekday()) {
			return false
		}
		parts = parts[1:]
	}
	date, clock := strings.Split(parts[0], "-"), strings.Split(parts[1], ":")
	return fitsNumber(date[1], int(t.Month()), 1, 12) && fitsNumber(date[2], t.Day(), 1, 31) &&
		fitsNumber(clock[0], t.Hour(), 0, 23) && fitsNumber(clock[1], t.Minute(), 0, 59) && fitsNumber(clock[2], t.Second(), 0, 59)
}

func fitsWeek(list string, d time.Weekday) bool {
	const order = "MonTueWedThuFriSatSun"
	day := strings.Index(order, d.String()[:3])
	for item := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(item, "..")
		if !ranged {
			high = low
		}
		if day >= strings.Index(order, low) && day <= strings.Index(order, high) {
			return true
		}
	}
	return false
}

func fitsNumber(list string, n, low, high int) bool {
	for item := range strings.SplitSeq(list, ",") {
		body, stepText, stepped := strings.Cut(item, "/")
		step, a, b := 1, low, high
		if stepped {
			_, _ = fmt.Sscan(stepText, &step)
		}
		if body != "*" {
			from, to, ranged := strings.Cut(body, "..")
			_, _ = fmt.Sscanf(from, "%d", &a)
			b = a
			if ranged {
				_, _ = fmt.Sscanf(to, "%d", &b)
			} else if stepped {
				b = high
			}
		}
		for v := a; v <= b; v += step {
			if v == n {
				return true
			}
		}
	}
	return false
}

// forward reports whether clocks were put forward at t.
func forward(t time.Time) bool {
	_, before := t.Add(-time.Second).Zone()
	_, now := t.Zone()
	return now > before
}

// No text makes Parse or Next hang or panic, and what is read is written in a
// form that is read as the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"02:30", "Mon..Fri,Sun *-*~7/1 *:00/15:*", "every 6h", "*-02-30", "2199-12-31 23:59:59", "daily", "~-:", "1/2,3..4/5-*/6-7 8:9", "every 1m", "Fri 2000/400-02-29"} {
		f.Add(s, "Europe/Berlin")
	}
	f.Add("00:00", "../x")
	f.Fuzz(func(t *testing.T, expr, zone string) {
		s, err := schedule.Parse(expr, zone)
		if err != nil {
			return
		}
		again, err := schedule.Parse(s.String(), zone)
		require.NoError(t, err, "%q", s.String())
		require.Equal(t, s.String(), again.String())
		now := time.Unix(1.8e9, 0)
		for range 3 {
			due := s.Next(now)
			require.True(t, due.Equal(again.Next(now)))
			if due.IsZero() {
				return
			}
			require.True(t, due.After(now))
			now = due
		}
		schedule.Due(s, time.Unix(1e9, 0), time.Time{}, time.Unix(2e9, 0))
	})
}
