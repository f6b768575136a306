package freeze_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/freeze"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

func vm(id string) volspec.Caller { return volspec.Caller{VM: volspec.VMID(id), VMName: id} }

func order(vm, volume string) freeze.Order {
	return freeze.Order{VM: volspec.VMID(vm), Volume: volspec.VolumeID(volume), Name: volume + "@ds", Epoch: 3, Lease: 10 * time.Second}
}

// plugin answers the orders of one VM until ctx ends, each by obey.
func plugin(ctx context.Context, b *freeze.Broker, c volspec.Caller, obey func(wire.FreezeOrder)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for after := ""; ctx.Err() == nil; {
		got, err := b.Next(ctx, c, after, time.Minute)
		if err != nil {
			return
		}
		after = got.Next
		for _, o := range got.Orders {
			wg.Go(func() { obey(o) })
		}
	}
}

// good freezes at once and holds until it is told.
func good(ctx context.Context, b *freeze.Broker, c volspec.Caller, detail string) func(wire.FreezeOrder) {
	return func(o wire.FreezeOrder) {
		begin := time.Now()
		a, err := b.Report(ctx, c, o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: o.LeaseMS, Detail: detail})
		held := err == nil && a.Done
		_, _ = b.Report(ctx, c, o.ID, wire.FreezeReport{State: wire.FreezeThawed, Held: held, StallMS: time.Since(begin).Milliseconds()})
	}
}

// in runs fn in a bubble with guests that end before it does.
func in(t *testing.T, fn func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(c volspec.Caller, obey func(wire.FreezeOrder)))) {
	synctest.Test(t, func(t *testing.T) {
		b := freeze.New()
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		fn(t, ctx, b, func(c volspec.Caller, obey func(wire.FreezeOrder)) {
			wg.Go(func() { plugin(ctx, b, c, obey) })
			synctest.Wait() // it asks
		})
		stop()
		wg.Wait()
	})
}

func work(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestAGuestHoldsStillWhileTheWorkIsDone(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		assert.False(t, b.Polling("a"))
		guest(vm("a"), good(ctx, b, vm("a"), ""))
		assert.True(t, b.Polling("a"))
		assert.False(t, b.Polling("b"))
		r, err := b.Hold(ctx, order("a", "v"), work(700*time.Millisecond))
		require.NoError(t, err)
		assert.Equal(t, freeze.Result{Held: true, Stall: 700 * time.Millisecond}, r)

		broken := errors.New("broken")
		r, err = b.Hold(ctx, order("a", "v"), func(context.Context) error { return broken })
		assert.ErrorIs(t, err, broken)
		assert.True(t, r.Held, "the failure was not the guest's")

		held, stall, note, err := b.Freeze(ctx, "a", "v", "v@ds", 3, time.Second, work(time.Millisecond))
		require.NoError(t, err)
		assert.True(t, held)
		assert.Equal(t, time.Millisecond, stall)
		assert.Empty(t, note)
	})
}

func TestNothingToFreezeIsHeldToo(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), good(ctx, b, vm("a"), wire.FreezeNotMounted))
		r, err := b.Hold(ctx, order("a", "v"), work(0))
		require.NoError(t, err)
		assert.Equal(t, freeze.Result{Held: true, Detail: wire.FreezeNotMounted}, r)
	})
}

// never is work that must not be done.
func never(t *testing.T) func(context.Context) error {
	return func(context.Context) error { t.Error("the work was done"); return nil }
}

func TestAGuestThatDoesNotAskIsNotWaitedForLong(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, _ func(volspec.Caller, func(wire.FreezeOrder))) {
		begin := time.Now()
		_, err := b.Hold(ctx, order("a", "v"), never(t))
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.Equal(t, "volume v@ds is not frozen, the plugin in its VM never asked for orders since mooringd was started: is it running, and of a version that can freeze?", err.Error())
		assert.LessOrEqual(t, time.Since(begin), 5*time.Second)

		_, err = b.Next(ctx, vm("a"), "", 0)
		require.NoError(t, err)
		assert.True(t, b.Polling("a"), "it asked a moment ago")
		time.Sleep(time.Minute)
		assert.False(t, b.Polling("a"))
		_, err = b.Hold(ctx, order("a", "v"), never(t))
		assert.ErrorContains(t, err, "has not asked for orders for 1m5s")

		gone, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = b.Hold(gone, order("a", "v"), never(t))
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// A plugin that comes back just then, as after a restart of either side, is
// waited for.
func TestAGuestThatAsksAMomentLater(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		var r freeze.Result
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { r, err = b.Hold(ctx, order("a", "v"), work(time.Second)) })
		time.Sleep(4 * time.Second)
		guest(vm("a"), good(ctx, b, vm("a"), ""))
		wg.Wait()
		require.NoError(t, err)
		assert.True(t, r.Held)
	})
}

func TestAGuestThatTakesTheOrderAndSaysNothing(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		ids := make(chan string, 1)
		guest(vm("a"), func(o wire.FreezeOrder) { ids <- o.ID })
		begin := time.Now()
		_, err := b.Hold(ctx, order("a", "v"), never(t))
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.ErrorContains(t, err, "did not manage in 8s")
		assert.Equal(t, 8*time.Second, time.Since(begin))
		_, err = b.Report(ctx, vm("a"), <-ids, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 1000})
		assert.Equal(t, errkind.NotFound, errkind.Of(err), "it is too late")
	})
}

func TestARefusalIsHeardAtOnce(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), func(o wire.FreezeOrder) {
			_, err := b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeRefused, Detail: "it is being\nunmounted \xff" + strings.Repeat("x", 1000)})
			assert.NoError(t, err)
		})
		begin := time.Now()
		_, err := b.Hold(ctx, order("a", "v"), never(t))
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.ErrorContains(t, err, "volume v@ds is not frozen, its VM refuses: it is being unmounted ?xxx")
		assert.Less(t, len(err.Error()), 400)
		assert.Zero(t, time.Since(begin))
	})
}

// The connection on which the guest waits for its answer breaks: it is dead,
// or thaws.
func TestAGuestThatDiesAfterItFroze(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), func(o wire.FreezeOrder) {
			dying, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := b.Report(dying, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: o.LeaseMS})
			assert.NoError(t, err)
		})
		begin := time.Now()
		r, err := b.Hold(ctx, order("a", "v"), work(6*time.Second))
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.ErrorContains(t, err, "went away or thawed early")
		assert.False(t, r.Held)
		assert.Equal(t, 5*time.Second, time.Since(begin), "the work is stopped at once, the last word waited for a moment")
	})
}

func TestAGuestThatThawsEarly(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), func(o wire.FreezeOrder) {
			var wg sync.WaitGroup
			wg.Go(func() { // the answer tells that nothing was done in time
				a, err := b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: o.LeaseMS})
				assert.NoError(t, err)
				assert.False(t, a.Done)
			})
			time.Sleep(time.Second)
			_, err := b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeThawed, Held: true, StallMS: 1000, Detail: "its guard was killed"})
			assert.NoError(t, err)
			wg.Wait()
		})
		// A clone that is not disturbed by the end of its context.
		r, err := b.Hold(ctx, order("a", "v"), func(context.Context) error { time.Sleep(3 * time.Second); return nil })
		require.NoError(t, err)
		assert.False(t, r.Held, "whatever the guest says")
		assert.Equal(t, time.Second, r.Stall)
		assert.Equal(t, "its guard was killed; the filesystem thawed before the work was done", r.Detail)
	})
}

func TestWorkThatOutlastsTheLease(t *testing.T) {
	for name, obeys := range map[string]bool{"that stops": true, "that does not": false} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
				answered := time.Duration(0)
				guest(vm("a"), func(o wire.FreezeOrder) {
					begin := time.Now()
					a, err := b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: o.LeaseMS - 1000})
					assert.NoError(t, err)
					assert.False(t, a.Done)
					answered = time.Since(begin)
					_, err = b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeThawed, Held: true})
					assert.NoError(t, err)
				})
				r, err := b.Hold(ctx, order("a", "v"), func(ctx context.Context) error {
					if obeys {
						return work(time.Hour)(ctx)
					}
					time.Sleep(20 * time.Second)
					return nil
				})
				if obeys {
					assert.Equal(t, errkind.Unavailable, errkind.Of(err))
					assert.ErrorContains(t, err, "lease on the frozen filesystem is over")
				} else {
					assert.NoError(t, err)
				}
				assert.False(t, r.Held)
				assert.Equal(t, 9*time.Second, answered, "what the guest said was left of the lease")
			})
		})
	}
}

func TestTheLastWordMayBeMissing(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), func(o wire.FreezeOrder) {
			a, err := b.Report(ctx, vm("a"), o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: o.LeaseMS})
			assert.NoError(t, err)
			assert.True(t, a.Done)
		})
		begin := time.Now()
		r, err := b.Hold(ctx, order("a", "v"), work(time.Second))
		require.NoError(t, err)
		assert.Equal(t, freeze.Result{Detail: "the guest did not confirm that it held the freeze"}, r)
		assert.Equal(t, 4*time.Second, time.Since(begin))
	})
}

// Two volumes of one guest and one of another at a time: each order goes to
// its guest, once, and none waits for another.
func TestSeveralAtOnce(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		var mu sync.Mutex
		got := map[string][]string{}
		for _, c := range []volspec.Caller{vm("a"), vm("b")} {
			guest(c, func(o wire.FreezeOrder) {
				mu.Lock()
				got[c.VMName] = append(got[c.VMName], o.Name)
				mu.Unlock()
				good(ctx, b, c, "")(o)
			})
		}
		begin := time.Now()
		var wg sync.WaitGroup
		for _, o := range []freeze.Order{order("a", "v"), order("a", "w"), order("b", "x")} {
			wg.Go(func() {
				r, err := b.Hold(ctx, o, work(3*time.Second))
				assert.NoError(t, err)
				assert.True(t, r.Held)
			})
		}
		synctest.Wait()
		_, err := b.Hold(ctx, order("a", "v"), never(t))
		assert.Equal(t, errkind.InUse, errkind.Of(err), "one at a time of one volume")
		wg.Wait()
		assert.Equal(t, 3*time.Second, time.Since(begin))
		assert.ElementsMatch(t, []string{"v@ds", "w@ds"}, got["a"])
		assert.Equal(t, []string{"x@ds"}, got["b"])
	})
}

// Another VM's orders cannot be told from orders that never were, nor do they
// show in what a VM is told.
func TestOrdersOfOthersAreAbsent(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		before, err := b.Next(ctx, vm("b"), "", 0)
		require.NoError(t, err)
		guest(vm("a"), func(o wire.FreezeOrder) {
			for _, state := range []wire.FreezeState{wire.FreezeFrozen, wire.FreezeRefused, wire.FreezeThawed} {
				_, foreign := b.Report(ctx, vm("b"), o.ID, wire.FreezeReport{State: state, LeftMS: 5})
				_, absent := b.Report(ctx, vm("b"), "never", wire.FreezeReport{State: state, LeftMS: 5})
				assert.Equal(t, errkind.NotFound, errkind.Of(foreign))
				assert.Equal(t, absent, foreign)
			}
			good(ctx, b, vm("a"), "")(o)
		})
		r, err := b.Hold(ctx, order("a", "v"), func(ctx context.Context) error {
			after, err := b.Next(ctx, vm("b"), "", 0)
			assert.Equal(t, before, after)
			return err
		})
		require.NoError(t, err)
		assert.True(t, r.Held)
	})
}

// An answer with orders that did not arrive is given again; one that did is
// not, nor is what was reported on.
func TestTheCursorRepeatsWhatWasLost(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, _ func(volspec.Caller, func(wire.FreezeOrder))) {
		a := vm("a")
		var wg sync.WaitGroup
		wg.Go(func() {
			r, err := b.Hold(ctx, order("a", "v"), work(time.Second))
			assert.NoError(t, err)
			assert.True(t, r.Held)
		})
		synctest.Wait()
		lost, err := b.Next(ctx, a, "", 0)
		require.NoError(t, err)
		require.Len(t, lost.Orders, 1)
		again, err := b.Next(ctx, a, "of another life.7", time.Second)
		require.NoError(t, err)
		assert.Equal(t, lost, again)
		begin := time.Now()
		none, err := b.Next(ctx, a, again.Next, time.Second)
		require.NoError(t, err)
		assert.Empty(t, none.Orders)
		assert.Equal(t, time.Second, time.Since(begin))
		wg.Go(func() { good(ctx, b, a, "")(again.Orders[0]) })
		synctest.Wait()
		none, err = b.Next(ctx, a, "", 0)
		require.NoError(t, err)
		assert.Empty(t, none.Orders, "it is frozen already")
		_, err = b.Report(ctx, a, again.Orders[0].ID, wire.FreezeReport{State: wire.FreezeRefused})
		assert.Equal(t, errkind.InUse, errkind.Of(err))
		_, err = b.Report(ctx, a, again.Orders[0].ID, wire.FreezeReport{State: "odd"})
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		wg.Wait()
	})
}

// No question holds its connection for long, and none outlives its caller.
func TestQuestionsEnd(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, _ func(volspec.Caller, func(wire.FreezeOrder))) {
		begin := time.Now()
		_, err := b.Next(ctx, vm("a"), "", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, wire.MaxFreezeWait, time.Since(begin))
		begin = time.Now()
		gone, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err = b.Next(gone, vm("a"), "", time.Hour)
		require.NoError(t, err)
		assert.Equal(t, time.Second, time.Since(begin))
	})
}

// A panic in the work lets the guest go.
func TestAPanicThaws(t *testing.T) {
	in(t, func(t *testing.T, ctx context.Context, b *freeze.Broker, guest func(volspec.Caller, func(wire.FreezeOrder))) {
		guest(vm("a"), good(ctx, b, vm("a"), ""))
		begin := time.Now()
		assert.Panics(t, func() { _, _ = b.Hold(ctx, order("a", "v"), func(context.Context) error { panic("bug") }) })
		synctest.Wait()
		r, err := b.Hold(ctx, order("a", "v"), work(0))
		require.NoError(t, err)
		assert.True(t, r.Held)
		assert.Zero(t, time.Since(begin))
	})
}

func TestLeasesHaveALimit(t *testing.T) {
	for _, lease := range []time.Duration{0, -1, wire.MaxFreezeLease + 1} {
		o := order("a", "v")
		o.Lease = lease
		_, err := freeze.New().Hold(t.Context(), o, never(t))
		assert.Equal(t, errkind.Internal, errkind.Of(err))
	}
}
