package ratelimit_test

import (
	"errors"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/ratelimit"
)

func TestEverybodyHasItsOwnMinute(t *testing.T) {
	now, refusal := time.Unix(1000, 0), errors.New("too many")
	l := ratelimit.New(2, func() time.Time { return now }, refusal)
	for range 2 {
		require.NoError(t, l.Allow("a"))
	}
	for range 3 {
		assert.Equal(t, refusal, l.Allow("a"))
	}
	require.NoError(t, l.Allow("b"))
	now = now.Add(59 * time.Second)
	assert.Equal(t, refusal, l.Allow("a"))
	now = now.Add(time.Second)
	require.NoError(t, l.Allow("a"))
	now = now.Add(-time.Hour)
	for range 2 {
		require.NoError(t, l.Allow("a"), "a clock that was set back begins anew")
	}
}

func TestTheTableIsBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	l := ratelimit.New(1, func() time.Time { return now }, errors.New("too many"))
	for i := range 100_000 {
		require.NoError(t, l.Allow(strconv.Itoa(i)))
	}
	require.Error(t, l.Allow("one more"))
	now = now.Add(time.Minute)
	require.NoError(t, l.Allow("one more"))
}

func TestSource(t *testing.T) {
	for given, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1",
		"::ffff:192.0.2.1":     "192.0.2.1",
		"::1":                  "::1",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::",
		"2001:db8:1:3::1":      "2001:db8:1:3::",
		"fe80::1:2:3:4%eth0":   "fe80::",
	} {
		assert.Equal(t, netip.MustParseAddr(want), ratelimit.Source(netip.MustParseAddr(given)), given)
	}
	assert.False(t, ratelimit.Source(netip.Addr{}).IsValid())
}
