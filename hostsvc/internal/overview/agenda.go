package overview

import (
	"cmp"
	"container/heap"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// agenda remembers when each of many plans is due next, for as long as they are
// the same list: what is due in them is found without asking each.
type agenda struct {
	mu    sync.Mutex
	plans []Plan
	since time.Time // what is due earlier is not in first
	first queue     // ordered; never changed, only replaced
}

// agendaLasts is how long the past of an agenda may become.
const agendaLasts = time.Hour

// queue has what is due after from and not after to.
func (a *agenda) queue(plans []Plan, from, to time.Time) queue {
	if len(plans) == 0 {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	same := len(a.plans) == len(plans) && &a.plans[0] == &plans[0]
	if !same || from.Before(a.since) || from.Sub(a.since) > agendaLasts {
		if time.Until(from) > agendaLasts { // somebody looks far ahead
			return queueOf(plans, from, to)
		}
		a.plans, a.since, a.first = plans, from, queueOf(plans, from, farAhead)
		slices.SortFunc(a.first, due.compare)
	}
	q := slices.Clone(a.first)
	for len(q) > 0 && !q[0].at.After(from) {
		q.advance(from, to)
	}
	return q
}

// farAhead is later than anything that is asked for.
var farAhead = time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC)

// queue has the next due time of each plan, the soonest at its top; those of one
// moment by name.
type queue []due

type due struct {
	at   time.Time
	plan *Plan
}

// queueOf has what is due after from and not after to.
func queueOf(plans []Plan, from, to time.Time) (q queue) {
	for i := range plans {
		p := &plans[i]
		if at := p.Schedule.Next(later(from, p.Since)); !at.IsZero() && !at.After(to) {
			q = append(q, due{at, p})
		}
	}
	heap.Init(&q)
	return q
}

// dues yields what is due and not after to, by time. It uses up q.
func (q queue) dues(to time.Time) iter.Seq2[time.Time, *Plan] {
	return func(yield func(time.Time, *Plan) bool) {
		for len(q) > 0 && !q[0].at.After(to) && yield(q[0].at, q[0].plan) {
			q.advance(q[0].at, to)
		}
	}
}

// advance puts the next time of the first plan after from in its place.
func (q *queue) advance(from, to time.Time) {
	first := (*q)[0]
	if first.at = first.plan.Schedule.Next(from); first.at.IsZero() || first.at.After(to) {
		heap.Pop(q)
		return
	}
	(*q)[0] = first
	heap.Fix(q, 0)
}

func (d due) compare(o due) int {
	if c := d.at.Compare(o.at); c != 0 {
		return c
	}
	return cmp.Or(strings.Compare(d.plan.VMGroup, o.plan.VMGroup), strings.Compare(d.plan.Name, o.plan.Name), strings.Compare(d.plan.Task, o.plan.Task))
}

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].compare(q[j]) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(due)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}
