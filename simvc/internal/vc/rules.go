package vc

import (
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"mooring.dev/mooring/simvc/control"
)

type rule = control.Fault

// rules are what tests ask to go wrong, and the count of all calls.
type rules struct {
	mu    sync.Mutex
	list  []*rule
	done  map[*rule]int // matches so far
	calls map[string]int
	lease time.Duration // see lease.go

	corrected atomic.Bool // see objectstore.go
}

// count adds to what is counted.
func (r *rules) count(what string, n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls, r.done = make(map[string]int), make(map[*rule]int)
	}
	r.calls[what] += int(n)
}

// match counts a call and returns the rule that acts on it, if any.
func (r *rules) match(c call) *rule {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls == nil {
		r.calls, r.done = make(map[string]int), make(map[*rule]int)
	}
	r.calls[c.method]++
	for _, f := range r.list {
		if f.Method != c.method && f.Method != "*" || f.Object != "" && f.Object != c.object {
			continue
		}
		n := r.done[f]
		if f.Count > 0 && n >= f.Skip+f.Count {
			continue
		}
		r.done[f]++
		if n < f.Skip {
			continue
		}
		hit := *f
		return &hit
	}
	return nil
}

// Fault adds a rule.
func (s *Server) Fault(f control.Fault) error {
	if _, err := strconv.Atoi(f.Kind); err != nil && f.Kind != "" {
		if _, err := newFault(f.Kind); err != nil {
			return err
		}
	}
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.list = append(s.rules.list, &f)
	return nil
}

// ClearFaults removes all rules.
func (s *Server) ClearFaults() {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	s.rules.list = nil
	clear(s.rules.done)
}

// Calls counts the calls by name.
func (s *Server) Calls() map[string]int {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	return maps.Clone(s.rules.calls)
}

// ResetCalls begins the count anew.
func (s *Server) ResetCalls() {
	s.rules.mu.Lock()
	defer s.rules.mu.Unlock()
	clear(s.rules.calls)
}
