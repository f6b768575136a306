package overview

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// How much of a dashboard there is.
const (
	shownDays    = 14
	shownRunning = 20
	shownNext    = 10
	shownAlarms  = 100
)

// Dashboard is the state of one vmgroup, or of the service. Days are those of
// the zone.
func (s *Service) Dashboard(ctx context.Context, group, zone string) (wire.Dashboard, error) {
	loc, err := zoneOf(zone)
	if err != nil {
		return wire.Dashboard{}, err
	}
	now := time.Now()
	days := daysBefore(now, loc, shownDays)
	out := wire.Dashboard{Days: make([]wire.DayOfRuns, shownDays)}
	var things Things
	var counts []Count
	err = s.view(ctx, group, func(tx Tx, g volspec.VMGroupID) (err error) {
		if things, err = tx.Things(g); err != nil {
			return err
		}
		if group == "" {
			if out.Tenants, err = tenants(tx); err != nil {
				return err
			}
		}
		counts, err = tx.Counts(g, days[0])
		return err
	})
	if err != nil {
		return out, err
	}
	out.Volumes, out.VMs, out.Points = things.Volumes, things.VMs, things.Points
	addRuns(&out, counts, days, now)
	if err := s.addStorage(ctx, group, &out); err != nil {
		return out, err
	}
	states, err := s.o.Backups.Protected(ctx, group)
	if err != nil {
		return out, err
	}
	out.Protected, out.Unprotected, out.Late, out.Failed, out.Pending = states["ok"], states["unprotected"], states["late"], states["failed"], states["pending"]
	if out.Running, err = s.o.Backups.Working(ctx, group, shownRunning); err != nil {
		return out, err
	}
	if out.Alarms, err = s.o.Backups.Alarms(ctx, group); err != nil {
		return out, err
	}
	out.AlarmCount = len(out.Alarms)
	out.Alarms = out.Alarms[max(0, len(out.Alarms)-shownAlarms):] // the newest are last
	plans, err := s.o.Backups.Plans(ctx, group)
	if err != nil {
		return out, err
	}
	out.Next = s.coming(group, plans, now, now.Add(366*24*time.Hour), shownNext)
	return out, nil
}

// tenants counts tenants by health, those that are disabled, and all but the one
// that the service made itself.
func tenants(tx Tx) (map[string]int, error) {
	h, err := tx.TenantHealth()
	good, notices, alarms := h.ByRank[0], h.ByRank[1], h.ByRank[2]
	return map[string]int{
		wire.HealthGood: good, wire.HealthNotices: notices, wire.HealthAlarms: alarms,
		wire.TenantDisabled: h.Disabled, wire.TenantsAll: good + notices + alarms - h.Own,
	}, err
}

// addStorage tells what of the vmgroup's allowance is used, or of the pool.
func (s *Service) addStorage(ctx context.Context, group string, out *wire.Dashboard) error {
	if group != "" {
		a, err := s.o.Shares.Allowance(ctx, group)
		out.Storage = a.Storage
		return err
	}
	p, err := s.o.Shares.Pool(ctx)
	out.Pool = &p
	out.Storage = wire.Share{Used: p.Storage.Used, Bounded: p.Storage.Bounded, Desired: p.Storage.Size, Effective: p.Storage.Size}
	return err
}

// daysBefore are the first moments of the last n days in a zone, the oldest
// first; the last is that of today.
func daysBefore(now time.Time, loc *time.Location, n int) []time.Time {
	y, m, d := now.In(loc).Date()
	days := make([]time.Time, n)
	for i := range days {
		days[i] = dayStart(y, m, d-n+1+i, loc)
	}
	return days
}

// dayStart is the first moment of a day: not midnight where clocks skip that,
// and the first of two.
func dayStart(y int, m time.Month, d int, loc *time.Location) time.Time {
	day := time.Date(y, m, d, 12, 0, 0, 0, loc).Day()
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	start, end := t.ZoneBounds()
	switch {
	case t.Day() != day:
		t = end
	case t.Hour() != 0 || t.Minute() != 0:
		t = start
	}
	const step = 30 * time.Minute // clocks are put back by multiples of it
	for t.Add(-step).Day() == day {
		t = t.Add(-step)
	}
	return t
}

// counted tells whether jobs of a kind are counted: a run of a policy is told
// by its parts, and maintenance is the service's own.
func counted(kind string) bool { return kind != "policy" && kind != "maintain" }

// addRuns adds up counts. They are of quarters of an hour: what ended up to one
// quarter before a day or week began counts in it.
func addRuns(out *wire.Dashboard, counts []Count, days []time.Time, now time.Time) {
	for i, d := range days {
		out.Days[i].Date = d.Format(time.DateOnly)
	}
	for _, c := range counts {
		if !counted(c.Kind) {
			continue
		}
		i, _ := slices.BinarySearchFunc(days, c.At, func(day, at time.Time) int { return cmp.Or(day.Compare(at), -1) })
		if i > 0 {
			addCount(&out.Days[i-1].Runs, c)
		}
		end := c.At.Add(quarter)
		if end.After(now.AddDate(0, 0, -1)) {
			addCount(&out.Day, c)
		}
		if end.After(now.AddDate(0, 0, -7)) {
			addCount(&out.Week, c)
		}
	}
}

const quarter = 15 * time.Minute

func addCount(r *wire.Runs, c Count) {
	switch c.State {
	case "done":
		r.Done += c.Jobs
	case "partial":
		r.Partial += c.Jobs
	case "failed":
		r.Failed += c.Jobs
	case "canceled":
		r.Canceled += c.Jobs
	}
	r.Bytes += c.Bytes
	r.Stored += c.Stored
}
