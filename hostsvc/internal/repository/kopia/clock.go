package kopia

import (
	"sync/atomic"
	"time"
)

// clock is the time kopia sees. It can be held at a lower limit: kopia decides
// by time which of two manifests is newer, and a machine whose clock was set
// back could otherwise not delete what it made before.
type clock struct {
	real  func() time.Time
	floor atomic.Pointer[time.Time]
}

func (c *clock) now() time.Time {
	now := c.real()
	if f := c.floor.Load(); f != nil && f.After(now) {
		return *f
	}
	return now
}

// after lets the time be later than t.
func (c *clock) after(t time.Time) {
	t = t.Add(time.Second)
	for {
		f := c.floor.Load()
		if f != nil && !t.After(*f) || c.floor.CompareAndSwap(f, &t) {
			return
		}
	}
}
