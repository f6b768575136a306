package kopia

import (
	"container/list"
	"sync"
)

// cache keeps the newest max values and loads each only once at a time. What
// could not be loaded is not kept.
type cache[K comparable, V any] struct {
	max int

	mu    sync.Mutex // guards the rest
	slots map[K]*list.Element
	order *list.List // of *slot, most recently used first
}

type slot[K comparable, V any] struct {
	key  K
	done chan struct{} // closed when the rest is there
	v    V
	err  error
}

func newCache[K comparable, V any](max int) *cache[K, V] {
	return &cache[K, V]{max: max, slots: map[K]*list.Element{}, order: list.New()}
}

func (c *cache[K, V]) has(k K) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slots[k] != nil
}

func (c *cache[K, V]) get(k K, load func() (V, error)) (V, error) {
	c.mu.Lock()
	if e := c.slots[k]; e != nil {
		c.order.MoveToFront(e)
		c.mu.Unlock()
		s := e.Value.(*slot[K, V])
		<-s.done
		return s.v, s.err
	}
	s := &slot[K, V]{key: k, done: make(chan struct{})}
	c.slots[k] = c.order.PushFront(s)
	for c.order.Len() > c.max {
		old := c.order.Remove(c.order.Back()).(*slot[K, V])
		delete(c.slots, old.key)
	}
	c.mu.Unlock()
	s.v, s.err = load()
	close(s.done)
	if s.err != nil {
		c.mu.Lock()
		if e := c.slots[k]; e != nil && e.Value == s {
			c.order.Remove(e)
			delete(c.slots, k)
		}
		c.mu.Unlock()
	}
	return s.v, s.err
}
