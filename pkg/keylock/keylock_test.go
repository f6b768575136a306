package keylock

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestExcludesSameKeyOnly(t *testing.T) {
	var m Map[string]
	unlockA, err := m.Lock(t.Context(), "a")
	require.NoError(t, err)
	unlockB, err := m.Lock(t.Context(), "b")
	require.NoError(t, err, "another key does not wait")
	unlockB()

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err = m.Lock(ctx, "a")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	unlockA()
	assert.Empty(t, m.locks, "nothing is kept for free keys")
}

func TestManyWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[int]
		var wg sync.WaitGroup
		inside, total := 0, 0
		for range 50 {
			wg.Go(func() {
				unlock, err := m.Lock(t.Context(), 1)
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				inside++
				assert.Equal(t, 1, inside)
				time.Sleep(time.Second)
				inside--
				total++
			})
		}
		wg.Wait()
		assert.Equal(t, 50, total)
		assert.Empty(t, m.locks)
	})
}

func TestTryLock(t *testing.T) {
	var m Map[string]
	unlock, ok := m.TryLock("a")
	require.True(t, ok)
	_, ok = m.TryLock("a")
	assert.False(t, ok)
	got := make(chan func())
	go func() {
		u, err := m.Lock(t.Context(), "a")
		assert.NoError(t, err)
		got <- u
	}()
	unlock()
	(<-got)()
	unlock, ok = m.TryLock("a")
	require.True(t, ok)
	unlock()
	assert.Empty(t, m.locks)
}
