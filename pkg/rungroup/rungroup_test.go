package rungroup_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/rungroup"
)

type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) add(s string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, s)
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// part stops after d and notes both ends.
func part(r *record, name string, d, within time.Duration) rungroup.Component {
	return rungroup.Component{Name: name, Within: within, Run: func(ctx context.Context) error {
		<-ctx.Done()
		r.add("stop " + name)
		time.Sleep(d)
		r.add("gone " + name)
		return nil
	}}
}

func TestStopsInReverseOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		start := time.Now()
		err := rungroup.Run(ctx, part(r, "a", time.Second, time.Minute), part(r, "b", 2*time.Second, time.Minute), part(r, "c", 0, time.Minute))
		require.NoError(t, err)
		assert.Equal(t, []string{"stop c", "gone c", "stop b", "gone b", "stop a", "gone a"}, r.all())
		assert.Equal(t, time.Hour+3*time.Second, time.Since(start))
	})
}

func TestAFailureStopsAllAndIsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var cause error
		err := rungroup.Run(t.Context(),
			rungroup.Component{Name: "a", Within: time.Second, Run: func(ctx context.Context) error {
				<-ctx.Done()
				cause = context.Cause(ctx)
				return ctx.Err()
			}},
			rungroup.Component{Name: "b", Within: time.Second, Run: func(context.Context) error {
				time.Sleep(time.Minute)
				return broken
			}})
		require.ErrorIs(t, err, broken)
		assert.Equal(t, "b: broken", err.Error())
		assert.ErrorIs(t, cause, broken)
	})
}

func TestErrorsWhileStoppingAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := errors.New("one"), errors.New("two")
		fail := func(name string, err error) rungroup.Component {
			return rungroup.Component{Name: name, Within: time.Second, Run: func(ctx context.Context) error {
				<-ctx.Done()
				return err
			}}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := rungroup.Run(ctx, fail("a", one), fail("b", two))
		assert.ErrorIs(t, err, one)
		assert.ErrorIs(t, err, two)
	})
}

func TestSlowOnesAreNamedAndDoNotKeepOthersRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		start := time.Now()
		err := rungroup.Run(ctx, part(r, "quick", 0, time.Second), part(r, "slow", time.Hour, 20*time.Second), part(r, "slower", 2*time.Hour, 5*time.Second))
		stop, ok := errors.AsType[*rungroup.StopError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, []string{"slower", "slow"}, stop.Slow)
		assert.Equal(t, 25*time.Second, time.Since(start))
		assert.Contains(t, r.all(), "gone quick")
		time.Sleep(3 * time.Hour) // let them end before the bubble does
	})
}

// A component that ends by itself, without an error, stops the group too.
func TestAnEarlyEndStopsTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		err := rungroup.Run(t.Context(), part(r, "a", 0, time.Second), rungroup.Component{Name: "b", Run: func(context.Context) error { return nil }})
		require.NoError(t, err)
		assert.Equal(t, []string{"stop a", "gone a"}, r.all())
	})
}
