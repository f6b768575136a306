package driver

import (
	"context"
	"sync"

	"mooring.dev/mooring/pkg/errkind"
)

// maxLookups is how many volumes are asked for one by one at a time. A
// starting engine asks for all it knows at once: what exceeds this shares one
// listing.
const maxLookups = 8

// lookups bounds and joins questions to the host service.
type lookups struct {
	slots chan struct{} // one element per question in flight

	mu            sync.Mutex // guards what follows
	current, next *listing
}

type listing struct {
	done chan struct{} // closed after err is set; the volumes are in the cache
	err  error
}

func (l *listing) wait(ctx context.Context) error {
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "list volumes")
	}
}

// list has fetch run after the call began: a caller joins a listing that
// waits for its turn, never one that may have been answered before a change
// the caller knows of.
func (l *lookups) list(ctx context.Context, fetch func(context.Context) error) error {
	l.mu.Lock()
	if k := l.next; k != nil {
		l.mu.Unlock()
		return k.wait(ctx)
	}
	k := &listing{done: make(chan struct{})}
	before := l.current
	if before == nil {
		l.current = k
	} else {
		l.next = k
	}
	l.mu.Unlock()
	if before == nil {
		return l.lead(ctx, k, fetch)
	}
	select {
	case <-before.done:
		l.mu.Lock()
		l.current, l.next = k, nil
		l.mu.Unlock()
		return l.lead(ctx, k, fetch)
	case <-ctx.Done():
		l.mu.Lock()
		l.next = nil
		l.mu.Unlock()
		k.err = errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "list volumes")
		close(k.done)
		return k.err
	}
}

func (l *lookups) lead(ctx context.Context, k *listing, fetch func(context.Context) error) error {
	k.err = errkind.New(errkind.Unavailable, "list volumes: the listing broke off")
	defer func() { // also when fetch panics
		l.mu.Lock()
		if l.current == k {
			l.current = nil
		}
		l.mu.Unlock()
		close(k.done)
	}()
	k.err = fetch(ctx)
	return k.err
}
