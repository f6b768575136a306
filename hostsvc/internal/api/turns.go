package api

import (
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

const (
	// longestTurn is how long a request keeps its turn: what takes longer waits
	// for something else than a processor, or is a stream.
	longestTurn = 250 * time.Millisecond
	// longestQueue is how long a request waits for its turn.
	longestQueue = 10 * time.Second
)

// waitingRoom is where the requests of a crowd are while they are answered. Only some
// are worked on at a time, the others wait in the order in which they came: a
// crowd that asks a lot waits for itself, and leaves processors to all others.
type waitingRoom struct {
	requests int           // guarded by Throttle.mu
	atWork   chan struct{} // has one value for each turn that is taken
}

// hold counts the request until it leaves, and waits for its turn.
func (k *ticket) hold(ctx context.Context, h crowd, whose string) error {
	t := k.throttle
	at := t.join(h)
	if at == nil {
		k.answer.Set("Retry-After", "1")
		return errkind.New(errkind.Busy, "%d requests %s are being answered already: wait until one has ended", t.atOnce, whose)
	}
	k.held = &h
	patience := time.NewTimer(t.patience)
	defer patience.Stop()
	select {
	case at.atWork <- struct{}{}:
	case <-patience.C:
		k.leave()
		k.answer.Set("Retry-After", "1")
		return errkind.New(errkind.Busy, "requests %s take longer than there is time for: wait until some of them have ended", whose)
	case <-ctx.Done():
		k.leave()
		return ctx.Err()
	}
	end := sync.OnceFunc(func() { <-at.atWork })
	clock := time.AfterFunc(t.turn, end)
	k.endTurn, k.admitted = func() { clock.Stop(); end() }, true
	return nil
}

// join counts a request of h; nil if that is one too many.
func (t *Throttle) join(h crowd) *waitingRoom {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.open[h]
	switch {
	case at == nil:
		at = &waitingRoom{atWork: make(chan struct{}, t.atWork)}
		t.open[h] = at
	case at.requests >= t.atOnce:
		return nil
	}
	at.requests++
	return at
}

// leave ends what hold began. Twice is harmless.
func (k *ticket) leave() {
	if k.endTurn != nil {
		k.endTurn()
	}
	if k.held == nil {
		return
	}
	t := k.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.open[*k.held]
	if at.requests--; at.requests == 0 {
		delete(t.open, *k.held)
	}
	k.held, k.endTurn = nil, nil
}
