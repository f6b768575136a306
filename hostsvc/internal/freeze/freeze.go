// Package freeze has guests hold their filesystems still while the host takes
// snapshots. The guest asks for orders by long poll, freezes by a lease and
// thaws by itself when that is over: nothing here can keep a guest's writers
// waiting for longer. What the guest says at the end decides whether the
// filesystem was still all the time.
//
// Nothing is stored: an order lives as long as the call that gave it.
package freeze

import (
	"context"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// How long a guest may take.
const (
	pickupTime = 5 * time.Second // to ask for orders
	settleTime = 8 * time.Second // from having an order to frozen or refused
	thawTime   = 3 * time.Second // from the answer to thawed
	// recent is how long after a poll the next one is expected.
	recent = 5 * time.Second
)

// Order says what to freeze: a volume, by the attachment Epoch, in a VM, for
// Lease at most. Name is for messages.
type Order struct {
	VM     volspec.VMID
	Volume volspec.VolumeID
	Name   string
	Epoch  int64
	Lease  time.Duration // up to wire.MaxFreezeLease
}

// Result tells how it went. Held: nothing was written while do ran; without
// it the content is that of one moment only as far as do made it so. Stall is
// how long writers waited. Detail is the guest's remark: wire.FreezeNotMounted
// or wire.FreezeReadOnly when there was nothing to freeze, which is held too.
type Result struct {
	Held   bool
	Stall  time.Duration
	Detail string
}

// Broker brings orders to guests and their reports back. It is safe for
// concurrent use and starts nothing.
type Broker struct {
	instance string // tells cursors of an earlier life

	mu     sync.Mutex // guards what follows
	guests map[volspec.VMID]*guest
	orders map[string]*order // by id
}

// guest is one VM as far as it asked or was asked for.
type guest struct {
	polls int           // questions waiting now
	last  time.Time     // end of the last one
	seq   int64         // of the newest order
	news  chan struct{} // closed, and replaced, when there is a new order
}

// New makes a broker.
func New() *Broker {
	return &Broker{instance: uuid.NewString()[:8], guests: map[volspec.VMID]*guest{}, orders: map[string]*order{}}
}

// Why the context of do ends before its time.
var (
	errLease = errkind.New(errkind.Unavailable, "the guest's lease on the frozen filesystem is over")
	errLost  = errkind.New(errkind.Unavailable, "the guest that froze the filesystem went away or thawed early")
)

// Freeze is Hold in the words of the volume service.
func (b *Broker) Freeze(ctx context.Context, vm volspec.VMID, v volspec.VolumeID, name string, epoch int64, lease time.Duration, do func(context.Context) error) (held bool, stall time.Duration, note string, err error) {
	r, err := b.Hold(ctx, Order{VM: vm, Volume: v, Name: name, Epoch: epoch, Lease: lease}, do)
	return r.Held, r.Stall, r.Detail, err
}

// Hold has the guest freeze, runs do once and has it thaw. do's context ends
// with the lease, and when the guest is lost. do's error is returned. When the
// guest does not ask for orders or does not freeze in time, or refuses, the
// error is unavailable and do has not run. A volume that is being frozen
// already: in-use.
func (b *Broker) Hold(ctx context.Context, o Order, do func(context.Context) error) (r Result, err error) {
	if o.Lease <= 0 || o.Lease > wire.MaxFreezeLease {
		return r, errkind.New(errkind.Internal, "freeze for %s: a lease is longer than nothing and at most %s", o.Lease, wire.MaxFreezeLease)
	}
	k, err := b.place(o)
	if err != nil {
		return r, err
	}
	defer b.drop(k) // a guest that still waits is answered, also when do panics
	first, err := b.frozen(ctx, k)
	if err != nil {
		return r, err
	}
	r.Detail = said(first.Detail)
	err = b.run(ctx, k, left(first), do)
	b.answer(k, true)
	last, ok := k.end()
	r.Stall = time.Duration(max(0, last.StallMS)) * time.Millisecond
	r.Held = ok && last.Held && !b.isLost(k)
	switch {
	case !ok:
		r.Detail = joined(r.Detail, "the guest did not confirm that it held the freeze")
	case !r.Held:
		r.Detail = joined(r.Detail, said(last.Detail), "the filesystem thawed before the work was done")
	}
	log.G(ctx).WithField(log.Volume, o.Name).WithField(log.VM, o.VM).WithField("held", r.Held).
		WithField("stall_ms", r.Stall.Milliseconds()).WithField("detail", r.Detail).Debug("guest was frozen")
	return r, err
}

// Polling reports whether a VM asks for orders now or did a moment ago.
func (b *Broker) Polling(vm volspec.VMID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.guests[vm]
	return g != nil && (g.polls > 0 || !g.last.IsZero() && time.Since(g.last) < recent)
}

// frozen waits until the guest has frozen.
func (b *Broker) frozen(ctx context.Context, k *order) (wire.FreezeReport, error) {
	timer := time.NewTimer(pickupTime)
	defer timer.Stop()
	picked := k.picked
	for {
		select {
		case <-picked:
			picked = nil // once
			timer.Reset(settleTime)
		case r := <-k.first:
			if r.State == wire.FreezeRefused {
				return r, errkind.New(errkind.Unavailable, "volume %s is not frozen, its VM refuses: %s", k.Name, said(r.Detail))
			}
			return r, nil
		case <-timer.C:
			if picked == nil {
				return wire.FreezeReport{}, errkind.New(errkind.Unavailable, "volume %s is not frozen, its VM did not manage in %s: look at the load of its disks and at the plugin's log", k.Name, settleTime)
			}
			return wire.FreezeReport{}, errkind.New(errkind.Unavailable, "volume %s is not frozen, the plugin in its VM %s: is it running, and of a version that can freeze?", k.Name, b.silence(k.VM))
		case <-ctx.Done():
			return wire.FreezeReport{}, errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "wait for the VM of volume %s to freeze it", k.Name)
		}
	}
}

// left is how long a guest says it holds still.
func left(r wire.FreezeReport) time.Duration { return time.Duration(r.LeftMS) * time.Millisecond }

// silence says since when a VM asks for nothing.
func (b *Broker) silence(vm volspec.VMID) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if g := b.guests[vm]; g != nil && !g.last.IsZero() {
		return "has not asked for orders for " + time.Since(g.last).Round(time.Second).String()
	}
	return "never asked for orders since mooringd was started"
}

// said makes a guest's words fit for our own sentences.
func said(s string) string {
	const limit = 300
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit]) + "…"
	}
	return strings.TrimSpace(s)
}

func joined(parts ...string) string {
	var have []string
	for _, p := range parts {
		if p != "" {
			have = append(have, p)
		}
	}
	return strings.Join(have, "; ")
}
