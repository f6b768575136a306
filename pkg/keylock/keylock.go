// Package keylock locks by key, with a context: work on one volume waits for
// work on the same volume and for nothing else.
package keylock

import (
	"context"
	"sync"
)

// Map is a set of locks. Its zero value is ready. Memory is proportional to
// the keys locked or waited for.
type Map[K comparable] struct {
	mu    sync.Mutex // guards locks and every refs
	locks map[K]*entry
}

type entry struct {
	held chan struct{} // capacity one: full while locked
	refs int
}

// Lock waits for key and returns its unlock, which must be called exactly
// once. When ctx ends first, the error is that of ctx and nothing is locked.
func (m *Map[K]) Lock(ctx context.Context, key K) (unlock func(), err error) {
	m.mu.Lock()
	if m.locks == nil {
		m.locks = map[K]*entry{}
	}
	e := m.locks[key]
	if e == nil {
		e = &entry{held: make(chan struct{}, 1)}
		m.locks[key] = e
	}
	e.refs++
	m.mu.Unlock()

	select {
	case e.held <- struct{}{}:
	case <-ctx.Done():
		m.release(key, e)
		return nil, context.Cause(ctx)
	}
	if ctx.Err() != nil { // both were ready
		<-e.held
		m.release(key, e)
		return nil, context.Cause(ctx)
	}
	return func() { <-e.held; m.release(key, e) }, nil
}

// TryLock is Lock without waiting: ok is false, and nothing is locked, when
// somebody holds key.
func (m *Map[K]) TryLock(key K) (unlock func(), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[key] != nil { // held, or about to be
		return nil, false
	}
	if m.locks == nil {
		m.locks = map[K]*entry{}
	}
	e := &entry{held: make(chan struct{}, 1), refs: 1}
	e.held <- struct{}{}
	m.locks[key] = e
	return func() { <-e.held; m.release(key, e) }, true
}

func (m *Map[K]) release(key K, e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.refs--; e.refs == 0 {
		delete(m.locks, key)
	}
}
