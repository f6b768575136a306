package account

import (
	"net/netip"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/ratelimit"
)

var tooMany = errkind.New(errkind.Busy, "too many log-ins from this address: wait a minute and try again")

// Attempt counts a log-in, or another guess at a secret, from an address, and
// refuses it when there are too many.
func (s *Service) Attempt(from string) error {
	if a, err := netip.ParseAddr(from); err == nil {
		from = ratelimit.Source(a).String()
	}
	return s.limiter.Allow(from)
}

// The lock of an account grows with the refusals since the last good log-in.
const (
	lockAfter = 5
	lockFirst = 30 * time.Second
	lockMost  = time.Hour
)

func lockFor(failures int) time.Duration {
	if failures < lockAfter {
		return 0
	}
	return min(lockFirst<<min(failures-lockAfter, 16), lockMost)
}
