package hostclient

import (
	"context"
	"iter"
	"net/url"

	"mooring.dev/mooring/pkg/wire"
)

// Dashboard tells how things are in a vmgroup, or with "" in the caller's whole
// view. zone is the time zone of days.
func (a *Admin) Dashboard(ctx context.Context, vmgroup, zone string) (wire.Dashboard, error) {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	set(q, "zone", zone)
	return get[wire.Dashboard](ctx, a, q, "dashboard")
}

// CalendarQuery selects entries of the calendar. From and To are dates in Zone,
// or RFC 3339; "" is the present month. Policy needs a vmgroup.
type CalendarQuery struct {
	VMGroup        string
	From, To, Zone string
	Policy         string
	Limit          int
}

// Calendar tells what ran and what will run.
func (a *Admin) Calendar(ctx context.Context, r CalendarQuery) (wire.Calendar, error) {
	q := url.Values{}
	set(q, "vmgroup", r.VMGroup)
	set(q, "from", r.From)
	set(q, "to", r.To)
	set(q, "zone", r.Zone)
	set(q, "policy", r.Policy)
	setInt(q, "limit", r.Limit)
	return get[wire.Calendar](ctx, a, q, "calendar")
}

// Search finds things by a part of their name, in a vmgroup or with "" in the
// caller's whole view.
func (a *Admin) Search(ctx context.Context, vmgroup, text string) ([]wire.Found, error) {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	set(q, "q", text)
	return get[[]wire.Found](ctx, a, q, "search")
}

// Events yields the open jobs and standing alarms, and then what changes among
// them, until ctx ends or the answer is cut off: then ask again.
func (a *Admin) Events(ctx context.Context, vmgroup string) iter.Seq2[wire.Event, error] {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	return events[wire.Event](ctx, a, q, "events")
}
