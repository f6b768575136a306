package overview

import (
	"context"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Bounds of one calendar.
const (
	calendarDefault = 500
	calendarMost    = 2000
	calendarSpan    = 400 * 24 * time.Hour
)

// States of entries that no job made.
const (
	stateDue    = "due"
	stateMissed = "missed"
)

// Request asks for a calendar. From and To are dates in the zone, of which To is
// not part, or moments in RFC 3339; "" is the present month.
type Request struct {
	From, To, Zone string
	Policy         string // name; "" all
	Limit          int    // 0: 500
}

// Calendar is what ran and what will run between two moments, by time. When
// there is more than the limit the end is cut off: ask again from the time of
// the last entry.
func (s *Service) Calendar(ctx context.Context, group string, r Request) (wire.Calendar, error) {
	from, to, err := r.span(time.Now())
	if err != nil {
		return wire.Calendar{}, err
	}
	if r.Policy != "" && group == "" {
		return wire.Calendar{}, errkind.New(errkind.Invalid, "policy %s can be one of many vmgroups: name the vmgroup, too", r.Policy)
	}
	limit := min(r.Limit, calendarMost)
	if limit == 0 {
		limit = calendarDefault
	}
	out := wire.Calendar{From: from.UTC(), To: to.UTC(), Runs: []wire.Run{}}
	ran, err := s.o.Backups.Ran(ctx, Window{VMGroup: group, Policy: r.Policy, From: from, To: to, Limit: limit + 1})
	if err != nil {
		return out, err
	}
	plans, err := s.o.Backups.Plans(ctx, group)
	if err != nil {
		return out, err
	}
	if r.Policy != "" {
		plans = slices.DeleteFunc(slices.Clone(plans), func(p Plan) bool { return p.Name != r.Policy })
	}
	for _, x := range ran {
		out.Runs = append(out.Runs, x.Run)
	}
	out.Runs = append(out.Runs, s.missed(group, plans, ran, from, to, limit+1)...)
	out.Runs = append(out.Runs, s.coming(group, plans, later(from, time.Now()), to.Add(-time.Nanosecond), limit+1)...)
	slices.SortStableFunc(out.Runs, func(a, b wire.Run) int { return a.Time.Compare(b.Time) })
	if len(out.Runs) > limit {
		out.Runs, out.More = out.Runs[:limit], true
	}
	return out, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// span reads the bounds of a calendar.
func (r Request) span(now time.Time) (from, to time.Time, err error) {
	loc, err := zoneOf(r.Zone)
	if err != nil {
		return from, to, err
	}
	y, m, _ := now.In(loc).Date()
	if from, err = moment("from", r.From, loc, dayStart(y, m, 1, loc)); err != nil {
		return from, to, err
	}
	y, m, _ = from.In(loc).Date()
	if to, err = moment("to", r.To, loc, dayStart(y, m+1, 1, loc)); err != nil {
		return from, to, err
	}
	switch {
	case !to.After(from):
		err = errkind.New(errkind.Invalid, "a calendar from %s to %s has no time in it: let it end later", r.From, r.To)
	case to.Sub(from) > calendarSpan:
		err = errkind.New(errkind.Invalid, "a calendar of more than 400 days is not made: ask for parts of it")
	}
	return from, to, err
}

func moment(what, text string, loc *time.Location, def time.Time) (time.Time, error) {
	if text == "" {
		return def, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return t, errkind.New(errkind.Invalid, "%s=%q is not a time: write a date such as 2026-03-29, or RFC 3339", what, text)
	}
	return dayStart(t.Year(), t.Month(), t.Day(), loc), nil
}

// lateness is how long a run may be due before it counts as missed: the service
// looks at schedules every few seconds.
const lateness = 2 * time.Minute

// missed are the times at which a schedule was due and no run was made, the
// oldest first: the service did not run, or one later run caught up for them.
func (s *Service) missed(group string, plans []Plan, ran []Ran, from, to time.Time, limit int) (out []wire.Run) {
	type key struct {
		policy volspec.PolicyID
		task   string
		due    int64
	}
	made := map[key]bool{}
	for _, x := range ran {
		made[key{x.Policy, x.Task, x.Due.Unix()}] = true
	}
	now := time.Now()
	until := now.Add(-lateness)
	if to.Before(until) {
		until = to.Add(-time.Nanosecond)
	}
	if len(ran) == limit { // what is beyond is not known, and not shown either
		until = ran[limit-1].Time
	}
	from = later(from, now.Add(-s.o.Keep))
	for at, p := range s.queue(&s.past, group, plans, from.Add(-time.Second), until).dues(until) {
		if !made[key{p.Policy, p.Task, at.Unix()}] {
			out = append(out, entry(*p, at, stateMissed))
		}
		if len(out) == limit {
			break
		}
	}
	return out
}

// coming are the runs of a vmgroup's plans that are due after from and not after
// to, the soonest first.
func (s *Service) coming(group string, plans []Plan, from, to time.Time, limit int) []wire.Run {
	out := []wire.Run{}
	for at, p := range s.queue(&s.next, group, plans, from, to).dues(to) {
		if len(out) == limit {
			break
		}
		out = append(out, entry(*p, at, stateDue))
	}
	return out
}

// queue has what is due after from and not after to. For the plans of all
// vmgroups it is remembered.
func (s *Service) queue(of *agenda, group string, plans []Plan, from, to time.Time) queue {
	if group == "" {
		return of.queue(plans, from, to)
	}
	return queueOf(plans, from, to)
}

func entry(p Plan, at time.Time, state string) wire.Run {
	return wire.Run{Time: at.UTC(), VMGroup: p.VMGroup, Policy: p.Name, Task: p.Task, State: state}
}
