package kopia

import (
	"sync"
	"sync/atomic"
	"time"
)

// clock is the time kopia sees. It can be held at a lower limit for a while:
// kopia decides by time which of two manifests is newer, and a machine whose
// clock was set back could otherwise not delete what it made before.
type clock struct {
	real  func() time.Time
	floor atomic.Pointer[time.Time]
	held  sync.Mutex // while there is a floor
}

func (c *clock) now() time.Time {
	now := c.real()
	if f := c.floor.Load(); f != nil && f.After(now) {
		return *f
	}
	return now
}

// after lets the time be later than t until done is called.
func (c *clock) after(t time.Time) (done func()) {
	c.held.Lock()
	t = t.Add(time.Second)
	c.floor.Store(&t)
	return func() {
		c.floor.Store(nil)
		c.held.Unlock()
	}
}
