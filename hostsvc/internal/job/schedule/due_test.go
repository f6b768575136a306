package schedule_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
)

func TestDue(t *testing.T) {
	daily := parse(t, "02:30", "UTC")
	busy := parse(t, "2026-01-01 *:*:*", "UTC")
	const never = ""
	for _, c := range []struct {
		why              string
		s                schedule.Schedule
		since, last, now string
		due              string
		missed           int
	}{
		{"not yet", daily, "2026-01-01T00:00:00Z", never, "2026-01-01T02:29:59Z", never, 0},
		{"now", daily, "2026-01-01T00:00:00Z", never, "2026-01-01T02:30:00Z", "2026-01-01T02:30:00Z", 0},
		{"late", daily, "2026-01-01T00:00:00Z", never, "2026-01-01T09:00:00Z", "2026-01-01T02:30:00Z", 0},
		{"done", daily, "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z", "2026-01-01T09:00:00Z", never, 0},
		{"made after today's time", daily, "2026-01-01T03:00:00Z", never, "2026-01-01T09:00:00Z", never, 0},
		{"changed after a run", daily, "2026-01-03T03:00:00Z", "2026-01-01T02:30:00Z", "2026-01-03T09:00:00Z", never, 0},
		{"down for three days", daily, "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z", "2026-01-04T09:00:00Z", "2026-01-04T02:30:00Z", 2},
		{"clock put back", daily, "2026-01-01T00:00:00Z", "2026-01-04T02:30:00Z", "2026-01-03T09:00:00Z", never, 0},
		{"and on again", daily, "2026-01-01T00:00:00Z", "2026-01-04T02:30:00Z", "2026-01-04T03:00:00Z", never, 0},
		{"years ahead", daily, "2026-01-01T00:00:00Z", "2026-01-01T02:30:00Z", "2066-01-01T00:00:00Z", "2065-12-31T02:30:00Z", schedule.MaxMissed},
		{"began in the future", daily, "2030-01-01T00:00:00Z", never, "2026-01-01T02:30:00Z", never, 0},
		{"very many missed", busy, "2025-01-01T00:00:00Z", never, "2027-01-01T00:00:00Z", "2026-01-01T23:59:59Z", schedule.MaxMissed},
		{"ended for good", busy, "2025-01-01T00:00:00Z", "2026-01-01T23:59:59Z", "2027-01-01T00:00:00Z", never, 0},
	} {
		var last time.Time
		if c.last != never {
			last = at(t, c.last)
		}
		due, missed, ok := schedule.Due(c.s, at(t, c.since), last, at(t, c.now))
		assert.Equal(t, c.due != never, ok, c.why)
		if c.due != never {
			assert.Equal(t, c.due, due.UTC().Format(time.RFC3339), c.why)
		}
		assert.Equal(t, c.missed, missed, c.why)
	}
	due, _, ok := schedule.Due(daily, time.Time{}, time.Time{}, at(t, "2026-01-01T09:00:00Z"))
	assert.True(t, ok && due.Equal(at(t, "2026-01-01T02:30:00Z")), "without a beginning")
}

// Whatever the clock does, no due time comes twice, and what comes is due.
func TestDueWithAMadClock(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := draw(r)
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		since := now
		var last time.Time
		for range 30 {
			step := rapid.OneOf(rapid.Int64Range(0, 7200), rapid.Int64Range(-7200, 7200), rapid.Int64Range(-1e8, 3e8)).Draw(r, "step")
			now = now.Add(time.Duration(step) * time.Second)
			due, missed, ok := schedule.Due(s, since, last, now)
			if !ok {
				first := s.Next(latest(since, last))
				require.True(r, first.IsZero() || first.After(now), "%s: %s was due", s, first)
				continue
			}
			require.True(r, due.After(last) && due.After(since) && !due.After(now))
			following := s.Next(due)
			require.True(r, following.IsZero() || following.After(now), "the newest is taken")
			require.True(r, s.Next(due.Add(-time.Second)).Equal(due))
			n := 0
			for d := range s.Between(latest(since, last), due.Add(-time.Second)) {
				if n++; n == schedule.MaxMissed || d.After(due) {
					break
				}
			}
			require.Equal(r, n, missed)
			last = due
		}
	})
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
