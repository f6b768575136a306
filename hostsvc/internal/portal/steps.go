package portal

import (
	"crypto/rand"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// Limits of log-ins that wait for the code of the second factor.
const (
	stepLife = 5 * time.Minute
	maxSteps = 1000
)

// steps keeps the first step of log-ins, so that no page holds a password. It is
// safe for concurrent use.
type steps struct {
	now func() time.Time

	mu   sync.Mutex // guards open
	open map[string]step
}

type step struct {
	login wire.Login
	until time.Time
}

func newSteps(now func() time.Time) *steps { return &steps{now: now, open: map[string]step{}} }

// put keeps r for a while under a name that nobody can guess.
func (s *steps) put(r wire.Login) string {
	name := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, old := range s.open {
		if len(s.open) >= maxSteps || s.now().After(old.until) {
			delete(s.open, n)
		}
	}
	s.open[name] = step{r, s.now().Add(stepLife)}
	return name
}

// get returns what was kept, as long as it is.
func (s *steps) get(name string) (wire.Login, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept, ok := s.open[name]
	if !ok || s.now().After(kept.until) {
		delete(s.open, name)
		return wire.Login{}, false
	}
	return kept.login, true
}

// drop forgets a log-in that has ended.
func (s *steps) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, name)
}
