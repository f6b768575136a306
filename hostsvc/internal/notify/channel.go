package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/log"
)

// lastWords is how long a stopping channel tries to deliver what waits.
const lastWords = 5 * time.Second

// channel is the queue in front of one sender. Channels do not wait for each
// other.
type channel struct {
	sender Sender
	n      *Notifier
	wake   chan struct{} // holds one signal that something waits

	mu      sync.Mutex // guards the rest
	waiting []Event    // only run takes from it
	lost    int
	gone    bool // the receiver wants nothing any more
	end     context.CancelFunc
}

func newChannel(s Sender, n *Notifier) *channel {
	return &channel{sender: s, n: n, wake: make(chan struct{}, 1)}
}

// put queues e, or reports that there is no room.
func (c *channel) put(e Event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return true
	}
	if len(c.waiting) >= c.n.o.Queue {
		c.lost++
		return false
	}
	c.waiting = append(c.waiting, e)
	select {
	case c.wake <- struct{}{}:
	default:
	}
	return true
}

// next are the oldest events, up to a batch. They stay in the queue.
func (c *channel) next() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Event(nil), c.waiting[:min(len(c.waiting), c.n.o.Batch)]...)
}

// done takes the n oldest events out. When there is room again, what was lost
// is told.
func (c *channel) done(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append([]Event(nil), c.waiting[min(n, len(c.waiting)):]...) // stop may have been quicker
	if n > 0 && c.lost > 0 && !c.gone {
		c.waiting = append(c.waiting, Event{ID: newID(), Time: time.Now(), Kind: Lost, Severity: Warning,
			Sentence: fmt.Sprintf("%d notifications were dropped because %s could not take them in time: look at the alarms that stand", c.lost, c.sender.Name())})
		c.lost = 0
	}
}

// run delivers what is queued until ctx ends.
func (c *channel) run(ctx context.Context) {
	for c.woken(ctx) && rest(ctx, c.n.o.Gather) {
		for failures := 0; ; {
			batch := c.next()
			if len(batch) == 0 {
				break
			}
			pause, retry := c.attempt(ctx, batch, failures)
			if !retry {
				failures = 0
				continue
			}
			failures++
			if !rest(ctx, pause) {
				break
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if batch := c.next(); len(batch) > 0 {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		c.attempt(last, batch, len(c.n.o.Pauses))
	}
}

// attempt sends a batch once and takes out of the queue what was delivered or
// given up. The rest is to be tried again after the pause.
func (c *channel) attempt(ctx context.Context, batch []Event, failures int) (pause time.Duration, retry bool) {
	n, err := c.sender.Send(ctx, batch)
	if n > 0 {
		c.n.told(ctx, batch[:n])
		failures = 0
	}
	c.done(n)
	entry := log.G(ctx).WithField("channel", c.sender.Name())
	left := len(batch) - n
	if err == nil && left == 0 {
		entry.WithField("events", n).Debug("notifications delivered")
		return 0, false
	}
	if err == nil {
		err = errors.New("the sender took only a part")
	}
	entry = entry.WithField(log.Err, err.Error()).WithField("events", left)
	permanent, isPermanent := errors.AsType[*PermanentError](err)
	switch {
	case left == 0:
		entry.Warn("notifications delivered, but not as they should be")
		return 0, false
	case isPermanent && permanent.Gone:
		c.stop()
		entry.Error("notifications stopped, the receiver wants none; correct the configuration and restart mooringd")
		return 0, false
	case isPermanent || failures >= len(c.n.o.Pauses):
		// A standing alarm among them is told again when its time comes.
		c.done(left)
		entry.Error("notifications given up")
		return 0, false
	}
	pause = c.n.o.Pauses[failures]
	if later, ok := errors.AsType[*LaterError](err); ok && later.After > pause {
		pause = min(later.After, time.Hour)
	}
	entry.WithField("pause_s", int(pause.Seconds())).Warn("notifications not delivered, trying again")
	return pause, true
}

// stop empties the queue for good, and ends run if it was told how.
func (c *channel) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone, c.waiting, c.lost = true, nil, 0
	if c.end != nil {
		c.end()
	}
}

// onEnd says how run is ended.
func (c *channel) onEnd(end context.CancelFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	if c.gone {
		end()
	}
}

// woken waits until something is queued, and reports whether that came before
// ctx ended.
func (c *channel) woken(ctx context.Context) bool {
	select {
	case <-c.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// rest waits for d, and reports whether ctx lasted that long.
func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
