package retention_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job/retention"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) // a Tuesday

func point(t *testing.T, id, at string) retention.Point {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04", at)
	require.NoError(t, err)
	return retention.Point{ID: id, Time: when}
}

// table prints decisions as "id keep reasons".
func table(d []retention.Decision) []string {
	var lines []string
	for _, x := range d {
		verb := "remove"
		if x.Keep {
			verb = "keep"
		}
		lines = append(lines, fmt.Sprintf("%s %s: %s", x.ID, verb, strings.Join(x.Reasons, "; ")))
	}
	return lines
}

func TestEachRule(t *testing.T) {
	points := []retention.Point{
		point(t, "a", "2026-11-24 10:30"), point(t, "b", "2026-11-24 10:10"), point(t, "c", "2026-11-24 09:00"),
		point(t, "d", "2026-11-23 09:00"), point(t, "e", "2026-11-22 09:00"), point(t, "f", "2026-11-15 09:00"),
		point(t, "g", "2026-10-31 09:00"), point(t, "h", "2026-10-01 09:00"), point(t, "i", "2025-12-31 09:00"), point(t, "j", "2024-12-30 09:00"),
	}
	const none = "no rule keeps it"
	for _, c := range []struct {
		rules retention.Rules
		kept  map[string]string
	}{
		{retention.Rules{Last: 2}, map[string]string{"a": "newest good point; last 1 of 2", "b": "last 2 of 2"}},
		{retention.Rules{Hourly: 3}, map[string]string{
			"a": "newest good point; hourly 2026-11-24 10:00 +0000 (1 of 3)",
			"c": "hourly 2026-11-24 09:00 +0000 (2 of 3)", "d": "hourly 2026-11-23 09:00 +0000 (3 of 3)"}},
		{retention.Rules{Daily: 2}, map[string]string{
			"a": "newest good point; daily 2026-11-24 (1 of 2)", "d": "daily 2026-11-23 (2 of 2)"}},
		{retention.Rules{Weekly: 3}, map[string]string{
			"a": "newest good point; weekly 2026-W48 (1 of 3)", "e": "weekly 2026-W47 (2 of 3)", "f": "weekly 2026-W46 (3 of 3)"}},
		{retention.Rules{Monthly: 3}, map[string]string{
			"a": "newest good point; monthly 2026-11 (1 of 3)", "g": "monthly 2026-10 (2 of 3)", "i": "monthly 2025-12 (3 of 3)"}},
		{retention.Rules{Yearly: 9}, map[string]string{
			"a": "newest good point; yearly 2026 (1 of 9)", "i": "yearly 2025 (2 of 9)", "j": "yearly 2024 (3 of 9)"}},
		{retention.Rules{Within: 50 * time.Hour}, map[string]string{
			"a": "newest good point; within 50h0m0s of the newest good point", "b": "within 50h0m0s of the newest good point",
			"c": "within 50h0m0s of the newest good point", "d": "within 50h0m0s of the newest good point", "e": "within 50h0m0s of the newest good point"}},
		{retention.Rules{Last: 1, Monthly: 2}, map[string]string{
			"a": "newest good point; last 1 of 1; monthly 2026-11 (1 of 2)", "g": "monthly 2026-10 (2 of 2)"}},
	} {
		for _, d := range retention.Decide(points, c.rules, now) {
			want, keep := c.kept[d.ID]
			if !keep {
				want = none
			}
			assert.Equal(t, keep, d.Keep, "%s %+v", d.ID, c.rules)
			assert.Equal(t, want, strings.Join(d.Reasons, "; "), "%s %+v", d.ID, c.rules)
		}
	}
}

func TestWeeksAreISO(t *testing.T) {
	points := []retention.Point{
		point(t, "fri", "2027-01-01 09:00"), // 2026-W53
		point(t, "thu", "2026-12-31 09:00"),
		point(t, "mon", "2026-12-28 09:00"),
		point(t, "sun", "2026-12-27 09:00"), // 2026-W52
	}
	assert.Equal(t, []string{
		"fri keep: newest good point; weekly 2026-W53 (1 of 2)", "thu remove: no rule keeps it",
		"mon remove: no rule keeps it", "sun keep: weekly 2026-W52 (2 of 2)",
	}, table(retention.Decide(points, retention.Rules{Weekly: 2}, now.AddDate(1, 0, 0))))
}

func TestZoneOfDays(t *testing.T) {
	points := []retention.Point{point(t, "late", "2026-11-23 23:30"), point(t, "noon", "2026-11-23 12:00")}
	daily := retention.Rules{Daily: 9}
	assert.Len(t, kept(retention.Decide(points, daily, now)), 1)
	daily.Zone = "Europe/Berlin" // half past midnight there
	assert.Len(t, kept(retention.Decide(points, daily, now)), 2)
	daily.Zone = "Europe/Atlantis"
	assert.Equal(t, []string{
		"late keep: newest good point; time zone Europe/Atlantis is not known: nothing is removed",
		"noon keep: time zone Europe/Atlantis is not known: nothing is removed",
	}, table(retention.Decide(points, daily, now)))

	// 02:30 twice in the night in which clocks are put back.
	points = []retention.Point{point(t, "second", "2026-10-25 01:30"), point(t, "first", "2026-10-25 00:30")}
	assert.Len(t, kept(retention.Decide(points, retention.Rules{Hourly: 9, Zone: "Europe/Berlin"}, now)), 2)
	assert.Len(t, kept(retention.Decide(points, retention.Rules{Daily: 9, Zone: "Europe/Berlin"}, now)), 1)
}

func kept(all []retention.Decision) (ids []string) {
	for _, d := range all {
		if d.Keep {
			ids = append(ids, d.ID)
		}
	}
	return ids
}

func TestWhatIsNeverRemoved(t *testing.T) {
	held, immutable := point(t, "held", "2020-01-01 00:00"), point(t, "immutable", "2020-01-02 00:00")
	held.Hold, immutable.Until = true, now.Add(time.Hour)
	expired := point(t, "expired", "2020-01-03 00:00")
	expired.Until = now.Add(-time.Hour)
	future := point(t, "future", "2040-01-01 00:00")
	points := []retention.Point{held, immutable, expired, future, point(t, "new", "2021-01-01 00:00")}
	assert.Equal(t, []string{
		"future keep: dated in the future: nothing is decided about it",
		"new keep: newest good point; last 1 of 1",
		"expired remove: no rule keeps it",
		"immutable keep: immutable until 2026-11-24T13:00:00Z",
		"held keep: held",
	}, table(retention.Decide(points, retention.Rules{Last: 1}, now)))
	assert.Equal(t, []string{
		"future keep: dated in the future: nothing is decided about it; there is no rule: everything is kept",
		"new keep: newest good point; there is no rule: everything is kept",
		"expired keep: there is no rule: everything is kept",
		"immutable keep: immutable until 2026-11-24T13:00:00Z; there is no rule: everything is kept",
		"held keep: held; there is no rule: everything is kept",
	}, table(retention.Decide(points, retention.Rules{Zone: "Europe/Berlin"}, now)))
	assert.Empty(t, retention.Decide(nil, retention.Rules{Last: 1}, now))
}

func TestDamaged(t *testing.T) {
	damaged := func(id, at string) retention.Point {
		p := point(t, id, at)
		p.Damaged = true
		return p
	}
	points := []retention.Point{
		damaged("d1", "2026-11-24 10:00"), point(t, "g1", "2026-11-23 10:00"), damaged("d2", "2026-11-22 10:00"),
		point(t, "g2", "2026-11-21 10:00"), point(t, "g3", "2026-11-20 10:00"), damaged("d3", "2026-11-19 10:00"),
	}
	assert.Equal(t, []string{
		"d1 keep: damaged, kept for healing: last 1 of 2",
		"g1 keep: newest good point; last 1 of 2",
		"d2 keep: damaged, kept for healing: last 2 of 2",
		"g2 keep: last 2 of 2",
		"g3 remove: no rule keeps it",
		"d3 remove: it is damaged, and no rule would keep it",
	}, table(retention.Decide(points, retention.Rules{Last: 2}, now)))

	for _, d := range retention.Decide([]retention.Point{points[0], points[2], points[5]}, retention.Rules{Last: 1}, now) {
		assert.True(t, d.Keep)
		assert.Contains(t, d.Reasons, "there is no good point: nothing is removed")
	}
}

// Backups that stopped long ago are not lost by getting older.
func TestAgeAloneRemovesNothing(t *testing.T) {
	points := []retention.Point{point(t, "a", "2026-01-02 00:00"), point(t, "b", "2026-01-01 00:00")}
	for _, r := range []retention.Rules{{Within: 48 * time.Hour}, {Daily: 7}, {Last: 2}} {
		assert.Len(t, kept(retention.Decide(points, r, now.AddDate(20, 0, 0))), 2)
	}
}
