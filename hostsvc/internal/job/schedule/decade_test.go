package schedule_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
)

// zones are those that do odd things to their clocks, and some that do not.
var zones = []string{
	"UTC", "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/Sao_Paulo", "America/Santiago",
	"America/Havana", "America/Nuuk", "America/Scoresbysund", "America/St_Johns", "America/Asuncion", "Africa/Casablanca",
	"Africa/Cairo", "Asia/Beirut", "Asia/Tehran", "Asia/Kolkata", "Asia/Gaza", "Asia/Pyongyang", "Atlantic/Azores",
	"Australia/Lord_Howe", "Pacific/Apia", "Pacific/Chatham", "Pacific/Kiritimati", "Antarctica/Troll", "America/Caracas",
}

// localDays lists the dates that a zone has from one moment to another.
func localDays(loc *time.Location, from, to time.Time) []string {
	var all []string
	last := ""
	for t := from; t.Before(to); t = t.Add(30 * time.Minute) {
		if d := t.In(loc).Format(time.DateOnly); d != last && (len(all) == 0 || d > all[len(all)-1]) {
			all, last = append(all, d), d
		}
	}
	return all
}

// A daily schedule is due exactly once each local day, whatever its time, in
// every zone, for two decades.
func TestEachDayOnce(t *testing.T) {
	for _, zone := range zones {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		for _, year := range []int{2008, 2026} {
			from := time.Date(year, 1, 1, 0, 0, 0, 0, loc)
			to := time.Date(year+10, 1, 1, 0, 0, 0, 0, loc)
			days := localDays(loc, from, to)
			for _, clock := range []string{"00:00", "00:00:30", "00:30", "01:45", "02:30", "03:00", "23:15", "23:59:59"} {
				s := parse(t, clock, zone)
				i := 0
				for due := range s.Between(from.Add(-time.Second), to.Add(-time.Second)) {
					if i >= len(days) || due.Format(time.DateOnly) != days[i] {
						require.FailNow(t, "not once a day", "%s %s: %s instead of %s", clock, zone, due, days[min(i, len(days)-1)])
					}
					i++
				}
				require.Len(t, days, i, "%s %s", clock, zone)
			}
		}
	}
}

// The same with a clock that is looked at once in a while, as the scheduler
// does, and stops for hours at a time.
func TestSimulatedClock(t *testing.T) {
	for n, zone := range zones[:20] {
		loc, err := time.LoadLocation(zone)
		require.NoError(t, err)
		s := parse(t, fmt.Sprintf("%02d:%02d", n, n*7%60), zone)
		since := time.Date(2026, 1, 1, 0, 0, 0, 0, loc).Add(-time.Second)
		end := time.Date(2036, 1, 1, 0, 0, 0, 0, loc)
		var last time.Time
		runs := map[string]int{}
		for now := since; now.Before(end); now = now.Add(time.Duration(37+now.Unix()%311) * time.Minute) {
			due, missed, ok := schedule.Due(s, since, last, now)
			if !ok {
				continue
			}
			require.Zero(t, missed)
			require.True(t, due.After(last))
			runs[due.Format(time.DateOnly)]++
			last = due
		}
		for _, day := range localDays(loc, since.Add(time.Second), end.Add(-24*time.Hour)) {
			require.Equal(t, 1, runs[day], "%s on %s", zone, day)
		}
	}
}

// Schedules of every hour follow the time that passes.
func TestEveryHourFollowsTime(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "America/Nuuk", "Africa/Casablanca", "America/Sao_Paulo"} {
		for _, expr := range []string{"hourly", "*:30", "every 15m", "*:00/20:30"} {
			s := parse(t, expr, zone)
			from := time.Date(2016, 1, 1, 0, 0, 0, 0, time.UTC)
			first := s.Next(from)
			second := s.Next(first)
			previous := first
			for due := range s.Between(first, from.AddDate(4, 0, 0)) {
				require.Equal(t, second.Sub(first), due.Sub(previous), "%s %s at %s", expr, zone, due)
				previous = due
			}
		}
	}
}
