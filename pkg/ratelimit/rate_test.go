package ratelimit

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestRateIsAnAverageForEachAlone(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewRate(5, func() time.Time { return now })
	for range 50 {
		assert.Zero(t, r.Take("a"), "ten seconds' worth at once")
	}
	assert.Equal(t, 200*time.Millisecond, r.Take("a"))
	assert.Equal(t, 200*time.Millisecond, r.Take("a"), "what is refused does not count")
	assert.Zero(t, r.Take("b"), "another is not concerned")
	now = now.Add(200 * time.Millisecond)
	assert.Zero(t, r.Take("a"))
	assert.NotZero(t, r.Take("a"))
	now = now.Add(time.Second)
	got := 0
	for range 100 {
		if r.Take("a") == 0 {
			got++
		}
	}
	assert.Equal(t, 5, got)
}

func TestRateForgetsTheIdle(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewRate(1, func() time.Time { return now })
	for i := range 50_000 {
		assert.Zero(t, r.Take(strconv.Itoa(i)))
		now = now.Add(time.Millisecond)
	}
	assert.Less(t, len(r.done), 5000, "about a thousand are not idle")
	for range 9 {
		assert.Zero(t, r.Take("49999"), "who is forgotten has all of it again, who is not has the rest")
	}
	assert.NotZero(t, r.Take("49999"))
}

func TestRateIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	r := NewRate(1, func() time.Time { return now })
	for i := range maxSeen + 10 {
		r.Take(strconv.Itoa(i))
	}
	assert.LessOrEqual(t, len(r.done), maxSeen)
	assert.NotZero(t, r.Take("new"), "there is no room")
	assert.Zero(t, r.Take("7"), "who is known goes on")
	now = now.Add(time.Minute)
	assert.Zero(t, r.Take("new"))
	assert.Less(t, len(r.done), minSweep)
}
