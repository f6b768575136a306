package api

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Of what a tenant asks at the same time a part is worked on; another tenant is
// not kept waiting by it.
func TestATenantWaitsForItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := NewThrottle(Pace{1000, 1000, 1000, 100}, time.Now)
		by.atWork = 2
		ask := func(group string) (time.Duration, func()) {
			begun := time.Now()
			user := asker{t: t, by: by, from: "192.0.2.1:1", proof: group, caller: volspec.Caller{User: volspec.UserID(group), Group: volspec.VMGroupID(group), GroupName: group, Role: volspec.TenantAdmin}}
			end, err := user.ask()
			require.NoError(t, err)
			return time.Since(begun), end
		}
		waited := make(chan time.Duration, 6)
		for range 6 { // each takes a tenth of a second
			go func() {
				d, end := ask("x")
				time.Sleep(100 * time.Millisecond)
				end()
				waited <- d
			}()
		}
		synctest.Wait()
		d, end := ask("y")
		assert.Zero(t, d)
		end()
		by100ms := map[time.Duration]int{}
		for range 6 {
			by100ms[<-waited]++
		}
		assert.Equal(t, map[time.Duration]int{0: 2, 100 * time.Millisecond: 2, 200 * time.Millisecond: 2}, by100ms)
		assert.Empty(t, by.open)
	})
}

// What lasts, like a stream or a disk that is being made, keeps nobody waiting
// for longer than a turn. Who waits too long is told so, and who goes away is
// forgotten.
func TestATurnEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		by := NewThrottle(Pace{1000, 1000, 1000, 100}, time.Now)
		by.atWork = 1
		ask := func(ctx context.Context, n int) (func(), error) {
			user := asker{t: t, by: by, from: "192.0.2.1:1", proof: fmt.Sprint(n), ctx: ctx, caller: volspec.Caller{User: volspec.UserID(fmt.Sprint(n)), Group: "x", GroupName: "x", Role: volspec.TenantAdmin}}
			return user.ask()
		}
		begun := time.Now()
		stream, err := ask(t.Context(), 0)
		require.NoError(t, err)
		next, err := ask(t.Context(), 1)
		require.NoError(t, err)
		assert.Equal(t, longestTurn, time.Since(begun))

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		end, err := ask(gone, 2)
		assert.ErrorIs(t, err, context.Canceled)
		end()
		stream()
		next()
		next() // twice is harmless
		assert.Len(t, by.open, 0)

		by.turn = time.Hour
		stream, err = ask(t.Context(), 3)
		require.NoError(t, err)
		begun = time.Now()
		end, err = ask(t.Context(), 4)
		assert.Equal(t, errkind.Busy, errkind.Of(err), "%v", err)
		assert.Equal(t, longestQueue, time.Since(begun))
		end()
		stream()
		assert.Empty(t, by.open)
	})
}
