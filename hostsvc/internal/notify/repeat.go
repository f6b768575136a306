package notify

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/log"
)

// repeat tells again what still stands and was told long ago.
func (n *Notifier) repeat(ctx context.Context) {
	begun := time.Now()
	var raised []Raised
	if n.o.Alarms != nil {
		var err error
		if raised, err = n.o.Alarms.Standing(ctx); err != nil {
			if ctx.Err() == nil {
				log.G(ctx).WithField(log.Err, err.Error()).Warn("standing alarms could not be read, none is told again")
			}
			return
		}
	}
	for _, e := range n.due(raised, begun) {
		n.enqueue(ctx, e)
	}
}

// due are the alarms to be told again. With a list of those that stand, the
// memory follows it; what came after the list was made is left alone.
func (n *Notifier) due(raised []Raised, begun time.Time) (out []Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	stands := map[key]bool{}
	for _, r := range raised {
		k := r.key()
		stands[k] = true
		have := n.state[k]
		switch {
		case have == nil || have.cleared && have.told.Before(begun):
			n.state[k] = &standing{event: r.Event, told: r.Told}
		case !have.cleared:
			have.event.Sentence, have.event.Time = r.Sentence, r.Time
			if r.Told.After(have.told) {
				have.told = r.Told
			}
		}
	}
	now := time.Now()
	for k, s := range n.state {
		switch old := now.Sub(s.told) >= n.o.Repeat; {
		case n.o.Alarms != nil && raises[k.kind] && !s.cleared && !stands[k] && s.told.Before(begun):
			delete(n.state, k)
		case (s.cleared || !raises[k.kind]) && old:
			delete(n.state, k) // a memory against repetitions only
		case !s.cleared && raises[k.kind] && old:
			e := s.event
			e.ID, e.Again, e.Time = "", e.Time, now
			s.told = now
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Event) int {
		return cmp.Or(a.Again.Compare(b.Again), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Object, b.Object), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// told records that events were delivered.
func (n *Notifier) told(ctx context.Context, events []Event) {
	if n.o.Alarms == nil {
		return
	}
	var alarms []Event
	for _, e := range events {
		if raises[e.Kind] {
			alarms = append(alarms, e)
		}
	}
	if len(alarms) == 0 {
		return
	}
	if err := n.o.Alarms.Told(ctx, alarms, time.Now()); err != nil && ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("told alarms could not be recorded, they may be told again")
	}
}
