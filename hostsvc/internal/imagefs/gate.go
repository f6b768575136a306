package imagefs

import "sync"

// gate lets users in until it is closed, and closing waits for those inside.
type gate struct {
	mu     sync.Mutex // guards closed, and that nobody enters after it
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the gate was open. Then leave must follow.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inside.Add(1)
	return true
}

func (g *gate) leave() { g.inside.Done() }

// close reports whether this call closed it.
func (g *gate) close() bool {
	g.mu.Lock()
	first := !g.closed
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
	return first
}
