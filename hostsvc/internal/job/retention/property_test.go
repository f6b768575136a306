package retention_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/job/retention"
)

func drawRules(r *rapid.T) retention.Rules {
	n := func(what string) int { return rapid.SampledFrom([]int{-1, 0, 0, 1, 2, 3, 10}).Draw(r, what) }
	return retention.Rules{
		Last: n("last"), Hourly: n("hourly"), Daily: n("daily"), Weekly: n("weekly"), Monthly: n("monthly"), Yearly: n("yearly"),
		Within: time.Duration(rapid.SampledFrom([]int{0, 0, 0, 1, 24, 1000}).Draw(r, "within")) * time.Hour,
		Zone:   rapid.SampledFrom([]string{"", "Europe/Berlin", "Pacific/Apia", "Australia/Lord_Howe", "nowhere"}).Draw(r, "zone"),
	}
}

// drawPoints makes some history: near and far, good and damaged, some of it
// at the same moment, some in the future.
func drawPoints(r *rapid.T) (all []retention.Point) {
	for i := range rapid.IntRange(0, 40).Draw(r, "points") {
		scale := rapid.SampledFrom([]int64{60, 3600, 86400, 30 * 86400}).Draw(r, "scale")
		p := retention.Point{
			ID:      fmt.Sprintf("p%02d", i),
			Time:    now.Add(-time.Duration(rapid.Int64Range(-3, 60).Draw(r, "age")*scale) * time.Second),
			Damaged: rapid.IntRange(0, 3).Draw(r, "damaged") == 0,
			Hold:    rapid.IntRange(0, 9).Draw(r, "hold") == 0,
		}
		if rapid.IntRange(0, 9).Draw(r, "immutable") == 0 {
			p.Until = now.Add(time.Duration(rapid.IntRange(-9, 9).Draw(r, "until")) * time.Hour)
		}
		all = append(all, p)
	}
	return all
}

func survivors(points []retention.Point, d []retention.Decision) (left []retention.Point) {
	keep := map[string]bool{}
	for _, x := range d {
		keep[x.ID] = x.Keep
	}
	for _, p := range points {
		if keep[p.ID] {
			left = append(left, p)
		}
	}
	return left
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		points, rules := drawPoints(r), drawRules(r)
		d := retention.Decide(points, rules, now)
		require.Len(r, d, len(points), "one decision for each")
		byID := map[string]retention.Decision{}
		for _, x := range d {
			require.NotEmpty(r, x.Reasons)
			byID[x.ID] = x
		}
		newest, found := retention.Point{}, false
		for _, p := range points {
			if !p.Damaged && !p.Time.After(now) && (!found || p.Time.After(newest.Time)) {
				newest, found = p, true
			}
			if p.Hold || p.Until.After(now) || p.Time.After(now) || rules.IsZero() || rules.Zone == "nowhere" {
				require.True(r, byID[p.ID].Keep, "%+v is never removed", p)
			}
		}
		left := survivors(points, d)
		if found {
			good := 0
			for _, p := range left {
				if !p.Damaged && p.Time.Equal(newest.Time) {
					good++
				}
			}
			require.Positive(r, good, "the newest good point stays")
		} else {
			require.Len(r, left, len(points), "without a good one nothing is removed")
		}

		require.Len(r, survivors(left, retention.Decide(left, rules, now)), len(left), "again removes nothing more")

		mixed := append([]retention.Point{}, points...)
		rand.New(rand.NewPCG(1, uint64(len(points)))).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		require.Equal(r, d, retention.Decide(mixed, rules, now), "the order of the input does not matter")
	})
}

// Bad, future and held-back points push no good one out.
func TestOnlyGoodPointsCount(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		points, rules := drawPoints(r), drawRules(r)
		var good []retention.Point
		for _, p := range points {
			if !p.Damaged && !p.Time.After(now) {
				good = append(good, p)
			}
		}
		alone := map[string]retention.Decision{}
		for _, d := range retention.Decide(good, rules, now) {
			alone[d.ID] = d
		}
		for _, d := range retention.Decide(points, rules, now) {
			if want, ok := alone[d.ID]; ok {
				require.Equal(r, want, d)
			}
		}
	})
}

// A life: a point a day, some of them bad, clocks that jump, retention after
// each. Once there was a good point there always is one.
func TestAGoodPointAlwaysExists(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rules := drawRules(r)
		var points []retention.Point
		clock, ever := now, false
		for i := range 60 {
			clock = clock.Add(time.Duration(rapid.OneOf(rapid.IntRange(1, 30), rapid.IntRange(-2000, 9000)).Draw(r, "hours")) * time.Hour)
			if rapid.Bool().Draw(r, "succeeds") {
				points = append(points, retention.Point{ID: fmt.Sprintf("p%02d", i), Time: clock, Damaged: rapid.IntRange(0, 4).Draw(r, "bad") == 0})
			}
			points = survivors(points, retention.Decide(points, rules, clock))
			good := false
			for _, p := range points {
				good = good || !p.Damaged
			}
			ever = ever || good
			require.Equal(r, ever, good)
		}
	})
}
