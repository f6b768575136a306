package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
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
