package overview_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func runOf(at time.Time, group, policy string) overview.Ran {
	return overview.Ran{
		Run:    wire.Run{Time: at.Add(3 * time.Second), VMGroup: group, Policy: policy, Task: "backup", State: "done", Job: "job"},
		Policy: volspec.PolicyID("id of " + policy), Due: at,
	}
}

// said is a calendar in words, in the zone.
func said(t *testing.T, c wire.Calendar, zone string) (out []string) {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	require.NoError(t, err)
	for _, r := range c.Runs {
		out = append(out, r.Time.In(loc).Format("02T15:04 ")+r.Policy+" "+r.State)
	}
	return out
}

// Past runs, missed ones and coming ones are one list, in which a daily run is
// there once each day, also when clocks change.
func TestCalendarAcrossAChangeOfClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until(t, "2026-03-28T12:00:00Z")
		berlin, err := time.LoadLocation("Europe/Berlin")
		require.NoError(t, err)
		day := func(d int) time.Time { return time.Date(2026, 3, d, 2, 30, 0, 0, berlin) }
		w := &world{
			plans: []overview.Plan{plan(t, "a", "nightly", "backup", "02:30", "Europe/Berlin", day(24)), plan(t, "b", "other", "backup", "02:30", "UTC", day(1))},
			ran:   []overview.Ran{runOf(day(25), "a", "nightly"), runOf(day(25), "b", "other"), runOf(day(28), "a", "nightly")},
		}
		c, err := w.service().Calendar(t.Context(), "a", overview.Request{From: "2026-03-23", To: "2026-04-01", Zone: "Europe/Berlin"})
		require.NoError(t, err)
		assert.Equal(t, []string{
			"25T02:30 nightly done", "26T02:30 nightly missed", "27T02:30 nightly missed", "28T02:30 nightly done",
			"29T03:00 nightly due", "30T02:30 nightly due", "31T02:30 nightly due",
		}, said(t, c, "Europe/Berlin"))
		assert.False(t, c.More)
		assert.Equal(t, "2026-03-22T23:00:00Z", c.From.Format(time.RFC3339))
		assert.Equal(t, "2026-03-31T22:00:00Z", c.To.Format(time.RFC3339), "an hour earlier in UTC than it would have been")
	})
}

// A run that is due this moment is not missed yet, and one from before jobs
// were kept is not known.
func TestMissedOnlyWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := until(t, "2026-03-28T12:00:30Z")
		w := &world{plans: []overview.Plan{plan(t, "a", "p", "backup", "12:00", "UTC", now.AddDate(-1, 0, 0))}}
		s := w.service()
		c, err := s.Calendar(t.Context(), "a", overview.Request{From: "2026-03-27", To: "2026-03-29"})
		require.NoError(t, err)
		assert.Equal(t, []string{"27T12:00 p missed"}, said(t, c, "UTC"))
		c, err = s.Calendar(t.Context(), "a", overview.Request{From: "2025-12-01", To: "2026-01-01"})
		require.NoError(t, err)
		assert.Equal(t, []string{"29T12:00 p missed", "30T12:00 p missed", "31T12:00 p missed"}, said(t, c, "UTC"), "jobs are kept for 90 days")
	})
}

// A calendar that is too long is cut off at its end, wherever that is.
func TestCalendarIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := until(t, "2026-03-28T00:00:30Z").Add(-30 * time.Second)
		w := &world{plans: []overview.Plan{plan(t, "a", "p", "backup", "minutely", "UTC", now.AddDate(0, -1, 0)), plan(t, "a", "q", "drill", "hourly", "UTC", now)}}
		for m := range 1000 {
			w.ran = append(w.ran, runOf(now.Add(-1000*time.Minute+time.Duration(m)*time.Minute), "a", "p"))
		}
		s := w.service()
		from := now.Add(-1000 * time.Minute)
		seen := 0
		at, last := from.Format(time.RFC3339), from
		for {
			c, err := s.Calendar(t.Context(), "a", overview.Request{From: at, To: now.Add(100 * time.Minute).Format(time.RFC3339), Limit: 300})
			require.NoError(t, err)
			require.LessOrEqual(t, len(c.Runs), 300)
			for _, r := range c.Runs {
				require.False(t, r.Time.Before(last))
				require.NotEqual(t, "missed", r.State, r.Time)
				last = r.Time
			}
			seen += len(c.Runs)
			if !c.More {
				break
			}
			at = last.Add(time.Second).Format(time.RFC3339)
		}
		assert.Equal(t, 1000+99+1, seen)
		c, err := s.Calendar(t.Context(), "a", overview.Request{Policy: "q"})
		require.NoError(t, err)
		for _, r := range c.Runs {
			assert.Equal(t, "q", r.Policy)
		}
		assert.NotEmpty(t, c.Runs)
	})
}

func TestCalendarRefuses(t *testing.T) {
	s := (&world{}).service()
	for _, r := range []overview.Request{
		{From: "yesterday"}, {To: "2026-13-01"}, {From: "2026-03-02", To: "2026-03-01"}, {From: "2026-03-02", To: "2026-03-02"},
		{From: "2020-01-01", To: "2026-01-01"}, {Zone: "Mars/Base"}, {Policy: "p"},
	} {
		_, err := s.Calendar(t.Context(), "", r)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%+v", r)
	}
}

// Without a span it is the present month of the zone.
func TestCalendarOfThisMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until(t, "2026-03-31T23:30:00Z") // April in Berlin
		c, err := (&world{}).service().Calendar(t.Context(), "a", overview.Request{Zone: "Europe/Berlin"})
		require.NoError(t, err)
		assert.Equal(t, "2026-03-31T22:00:00Z", c.From.Format(time.RFC3339))
		assert.Equal(t, "2026-04-30T22:00:00Z", c.To.Format(time.RFC3339))
		assert.Equal(t, []wire.Run{}, c.Runs)
	})
}
