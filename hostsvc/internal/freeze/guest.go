package freeze

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// guest finds or makes the record of a VM; the caller holds the lock.
func (b *Broker) guest(vm volspec.VMID) *guest {
	g := b.guests[vm]
	if g == nil {
		g = &guest{news: make(chan struct{})}
		b.guests[vm] = g
	}
	return g
}

// Next is the question of a guest for orders: those that came after the
// cursor and have not been reported on. It waits for one, at most
// wire.MaxFreezeWait; no orders, and a caller that has gone, are no error. A
// cursor of an earlier life of the service is none.
func (b *Broker) Next(ctx context.Context, c volspec.Caller, after string, wait time.Duration) (wire.FreezeOrders, error) {
	wait = min(max(0, wait), wire.MaxFreezeWait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.guest(c.VM)
	g.polls++
	defer func() { g.polls--; g.last = time.Now() }()
	for {
		out, news := b.take(g, c.VM, after), g.news
		if len(out.Orders) > 0 || wait == 0 {
			return out, nil
		}
		b.mu.Unlock()
		over := false
		select {
		case <-news:
		case <-timer.C:
			over = true
		case <-ctx.Done():
			over = true
		}
		b.mu.Lock()
		if over {
			return out, nil
		}
	}
}

// take hands out the orders of a VM; the caller holds the lock.
func (b *Broker) take(g *guest, vm volspec.VMID, after string) wire.FreezeOrders {
	from := b.position(after)
	out := wire.FreezeOrders{Orders: []wire.FreezeOrder{}}
	var mine []*order
	for _, k := range b.orders {
		if k.VM == vm && k.seq > from && k.state == "" && !k.answered {
			mine = append(mine, k)
		}
	}
	slices.SortFunc(mine, func(x, y *order) int { return cmp.Compare(x.seq, y.seq) })
	for _, k := range mine {
		if !k.handed {
			k.handed = true
			close(k.picked)
		}
		out.Orders = append(out.Orders, wire.FreezeOrder{
			ID: k.id, Volume: k.Volume, Name: k.Name, Epoch: k.Epoch, LeaseMS: k.Lease.Milliseconds(),
		})
	}
	out.Next = b.instance + "." + strconv.FormatInt(g.seq, 10)
	return out
}

// position reads a cursor.
func (b *Broker) position(after string) int64 {
	life, n, _ := strings.Cut(after, ".")
	seq, err := strconv.ParseInt(n, 10, 64)
	if life != b.instance || err != nil {
		return 0
	}
	return seq
}

// Report is what a guest says of an order. For frozen it returns when do has
// ended or the lease is over; a caller that goes away before is a guest that
// holds nothing any more. Each may be repeated. An order of another VM is as
// absent as one that never was: not-found.
func (b *Broker) Report(ctx context.Context, c volspec.Caller, id string, r wire.FreezeReport) (wire.FreezeAnswer, error) {
	switch r.State {
	case wire.FreezeFrozen, wire.FreezeRefused, wire.FreezeThawed:
	default:
		return wire.FreezeAnswer{}, errkind.New(errkind.Invalid, "a freeze cannot be %q: report frozen, refused or thawed", string(r.State))
	}
	b.mu.Lock()
	k := b.orders[id]
	if k == nil || k.VM != c.VM {
		b.mu.Unlock()
		return wire.FreezeAnswer{}, errkind.New(errkind.NotFound, "there is no such order to freeze a volume: it is over, or never was")
	}
	err := k.note(r)
	b.mu.Unlock()
	if err != nil || r.State != wire.FreezeFrozen {
		return wire.FreezeAnswer{}, err
	}
	lease := time.NewTimer(min(k.Lease, left(r)))
	defer lease.Stop()
	why := errLost
	select {
	case <-k.answer:
	case <-lease.C:
		why = errLease
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k.lose(why) // not after an answer
	return wire.FreezeAnswer{Done: k.done}, nil
}

// note takes a report down; the caller holds the broker's lock.
func (k *order) note(r wire.FreezeReport) error {
	was := k.state
	switch {
	case was == r.State:
		return nil // repeated
	case r.State == wire.FreezeThawed && was == wire.FreezeFrozen:
		k.lose(errLost) // not after an answer
		k.last <- r
	case r.State != wire.FreezeThawed && was == "":
		k.first <- r
	default:
		return errkind.New(errkind.InUse, "the order to freeze volume %s cannot become %s: it is %s", k.Name, r.State, cmp.Or(string(was), "not reported on"))
	}
	k.state = r.State
	return nil
}
