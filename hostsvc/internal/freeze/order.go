package freeze

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// order is an Order on its way. Its fields below Order belong to the broker's
// lock, the channels are for whoever waits.
type order struct {
	Order
	id  string
	seq int64 // among those of its VM

	handed   bool                    // given out once
	state    wire.FreezeState        // as reported, "" at first
	lost     bool                    // the guest went away or thawed while do ran
	answered bool                    // the guest may thaw
	done     bool                    // do has returned within the lease
	cancel   context.CancelCauseFunc // ends do; nil while it does not run

	picked chan struct{}          // closed when handed out
	first  chan wire.FreezeReport // capacity one: frozen or refused
	answer chan struct{}          // closed when answered
	last   chan wire.FreezeReport // capacity one: thawed
}

// place makes an order and tells the guest that waits.
func (b *Broker) place(o Order) (*order, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, other := range b.orders {
		if other.VM == o.VM && other.Volume == o.Volume {
			return nil, errkind.New(errkind.InUse, "volume %s is being frozen by other work already: repeat it in a moment", o.Name)
		}
	}
	g := b.guest(o.VM)
	g.seq++
	k := &order{
		Order: o, id: uuid.NewString(), seq: g.seq,
		picked: make(chan struct{}), first: make(chan wire.FreezeReport, 1),
		answer: make(chan struct{}), last: make(chan wire.FreezeReport, 1),
	}
	b.orders[k.id] = k
	close(g.news)
	g.news = make(chan struct{})
	return k, nil
}

// drop ends an order: to its guest it is as one that never was.
func (b *Broker) drop(k *order) {
	b.answer(k, false)
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.orders, k.id)
}

// answer lets the guest thaw. Repeated: nothing.
func (b *Broker) answer(k *order, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !k.answered {
		k.answered, k.done, k.cancel = true, done && !k.lost, nil
		close(k.answer)
	}
}

// lose ends do of an order whose guest does not hold it any more; the caller
// holds the broker's lock.
func (k *order) lose(why error) {
	if k.answered {
		return
	}
	k.lost = true
	if k.cancel != nil {
		k.cancel(why)
	}
}

func (b *Broker) isLost(k *order) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return k.lost
}

// run runs do for as long as the guest holds still.
func (b *Broker) run(ctx context.Context, k *order, limit time.Duration, do func(context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	ctx, cancel := context.WithTimeoutCause(ctx, min(limit, k.Lease), errLease)
	defer cancel()
	b.mu.Lock()
	if k.cancel = stop; k.lost { // before it began
		stop(errLost)
	}
	b.mu.Unlock()
	err := do(ctx)
	cause := context.Cause(ctx)
	if cause != nil {
		b.mu.Lock()
		k.lost = true // whatever do made of it, the guest may have gone on
		b.mu.Unlock()
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		if _, worded := errors.AsType[*errkind.Error](err); !worded && cause != nil {
			return cause
		}
	}
	return err
}

// end waits for the guest's last word.
func (k *order) end() (wire.FreezeReport, bool) {
	timer := time.NewTimer(thawTime)
	defer timer.Stop()
	select {
	case r := <-k.last:
		return r, true
	case <-timer.C:
		return wire.FreezeReport{}, false
	}
}
