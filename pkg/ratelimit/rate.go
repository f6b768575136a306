package ratelimit

import (
	"sync"
	"time"
)

// Rate bounds how many deeds a second somebody may do on average. It is safe
// for concurrent use, and forgets who does nothing any more.
type Rate struct {
	each  time.Duration // of one deed
	ahead time.Duration // how much of that may be done at once
	now   func() time.Time

	mu    sync.Mutex           // guards what follows
	done  map[string]time.Time // when all deeds of somebody would be done at an even pace
	sweep int                  // the number of people at which the idle are forgotten
}

// worth is how many seconds' deeds may be done at once.
const worth = 10

// minSweep keeps small tables from being looked through all the time.
const minSweep = 1024

// NewRate makes a Rate of perSecond, of which ten seconds' worth may come at
// once.
func NewRate(perSecond int, now func() time.Time) *Rate {
	return &Rate{each: time.Second / time.Duration(perSecond), ahead: worth * time.Second, now: now, done: map[string]time.Time{}, sweep: minSweep}
}

// Take counts one deed of who. If there were too many it is not counted, and
// wait is how long until the next one is possible.
func (r *Rate) Take(who string) (wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	done, known := r.done[who]
	if done.Before(now) {
		done = now
	}
	done = done.Add(r.each)
	if wait = done.Sub(now) - r.ahead; wait > 0 {
		return wait
	}
	if !known && !r.room(now) {
		return r.ahead
	}
	r.done[who] = done
	return 0
}

// room tells whether the table can take one more.
func (r *Rate) room(now time.Time) bool {
	if len(r.done) < r.sweep {
		return true
	}
	for who, done := range r.done {
		if !done.After(now) { // as if it had never been here
			delete(r.done, who)
		}
	}
	r.sweep = min(max(minSweep, 2*len(r.done)), maxSeen)
	return len(r.done) < maxSeen
}
