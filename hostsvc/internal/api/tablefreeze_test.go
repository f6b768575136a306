package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/freeze"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

func TestFreezeArgumentsReachTheBroker(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerA))
	got := ask(t, socket, "GET", wire.Prefix+"/freezes?wait_ms=1500&after=c.1", "")
	assert.Equal(t, http.StatusOK, got.status, got.body)
	assert.Equal(t, []reached{{"freeze.Next", callerA, []any{"c.1", 1500 * time.Millisecond}}}, g.uses.take())
	got = ask(t, socket, "POST", wire.Prefix+"/freezes/o", `{"state":"frozen","left_ms":9000}`)
	assert.Equal(t, http.StatusOK, got.status, got.body)
	assert.JSONEq(t, `{"done":false}`, got.body)
	assert.Equal(t, []reached{{"freeze.Report", callerA, []any{"o", wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 9000}}}}, g.uses.take())

	p := ask(t, socket, "GET", wire.Prefix+"/freezes?wait_ms=-1", "").problem(t)
	assert.Equal(t, string(errkind.Invalid), p.Kind)
	assert.Empty(t, g.uses.take())
}

// A question that waits does not hold up a stop, and is answered.
func TestWaitingForOrdersEndsWithTheListener(t *testing.T) {
	g := newRig(t)
	waiting := make(chan struct{})
	g.uses.answer(func(ctx context.Context) error {
		close(waiting)
		<-ctx.Done()
		return nil
	})
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.srv.Serve(ctx, l, as(callerA)) }()
	answered := make(chan reply, 1)
	go func() {
		r, err := try(t, path, "GET", wire.Prefix+"/freezes?wait_ms=25000", "")
		assert.NoError(t, err)
		answered <- r
	}()
	<-waiting
	begin := time.Now()
	stop()
	require.NoError(t, <-served)
	assert.Less(t, time.Since(begin), 5*time.Second, "the drain limit was not used")
	assert.Equal(t, http.StatusOK, (<-answered).status)
}

// The client that the plugin has, the server and the broker together: a
// freeze that is held, and one whose guest goes away.
func TestFreezeOverTheWire(t *testing.T) {
	b := freeze.New()
	g := newRig(t, func(o *Options) { o.Freezes = b })
	c := hostclient.New("unix://"+g.channel(as(callerA)), hostclient.Options{})
	defer c.Close()
	after := ""
	order := func() wire.FreezeOrder {
		got, err := c.Freezes(t.Context(), after, 10*time.Second)
		require.NoError(t, err)
		require.Len(t, got.Orders, 1)
		after = got.Next
		return got.Orders[0]
	}
	type outcome struct {
		r   freeze.Result
		err error
	}
	ended := make(chan outcome, 1)
	hold := func(do func(context.Context) error) {
		go func() {
			r, err := b.Hold(t.Context(), freeze.Order{VM: callerA.VM, Volume: "v", Name: "v@ds", Epoch: 3, Lease: 10 * time.Second}, do)
			ended <- outcome{r, err}
		}()
	}

	hold(func(context.Context) error { return nil })
	o := order()
	assert.Equal(t, wire.FreezeOrder{ID: o.ID, Volume: "v", Name: "v@ds", Epoch: 3, LeaseMS: 10000}, o)
	a, err := c.ReportFreeze(t.Context(), o.ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 9000})
	require.NoError(t, err)
	assert.True(t, a.Done)
	_, err = c.ReportFreeze(t.Context(), o.ID, wire.FreezeReport{State: wire.FreezeThawed, Held: true, StallMS: 12})
	require.NoError(t, err)
	assert.Equal(t, outcome{freeze.Result{Held: true, Stall: 12 * time.Millisecond}, nil}, <-ended)

	gone, leave := context.WithCancel(t.Context())
	hold(func(ctx context.Context) error {
		leave()
		<-ctx.Done()
		return ctx.Err()
	})
	begin := time.Now()
	_, err = c.ReportFreeze(gone, order().ID, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 9000})
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	lost := <-ended
	assert.ErrorContains(t, lost.err, "went away or thawed early")
	assert.False(t, lost.r.Held)
	assert.Less(t, time.Since(begin), 8*time.Second, "noticed before the lease was over")
}
