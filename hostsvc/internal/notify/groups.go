package notify

import (
	"context"
	"slices"
	"sync"

	"mooring.dev/mooring/pkg/volspec"
)

// targeted are the channels that vmgroups, or under "" the service, have
// configured for themselves. They come and go while the Notifier runs. Each has
// its own queue, so that nobody's receiver holds up somebody else's.
type targeted struct {
	mu    sync.Mutex // guards the rest
	of    map[volspec.VMGroupID]map[string]*channel
	start func(*channel) // nil while nothing runs
}

func (t *targeted) all() (out []*channel) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, channels := range t.of {
		for _, c := range channels {
			out = append(out, c)
		}
	}
	return out
}

// begin starts what is there and what comes.
func (t *targeted) begin(start func(*channel)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start = start
	for _, channels := range t.of {
		for _, c := range channels {
			start(c)
		}
	}
}

// end starts nothing any more.
func (t *targeted) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.start = func(*channel) {}
}

// Use replaces the senders of a vmgroup, or with "" those of the service, each
// under a word that changes whenever the sender does. One that stays keeps what
// waits for it; what waits for one that goes is dropped.
func (n *Notifier) Use(g volspec.VMGroupID, senders map[string]Sender) {
	n.groups.mu.Lock()
	defer n.groups.mu.Unlock()
	have := n.groups.of[g]
	next := map[string]*channel{}
	for word, s := range senders {
		c := have[word]
		if c == nil {
			c = newChannel(s, n)
			if n.groups.start != nil {
				n.groups.start(c)
			}
		}
		next[word] = c
	}
	for word, c := range have {
		if next[word] == nil {
			c.stop()
		}
	}
	if n.groups.of[g] = next; len(next) == 0 {
		delete(n.groups.of, g)
	}
}

// users are the vmgroups that have senders.
func (n *Notifier) users() (out []volspec.VMGroupID) {
	n.groups.mu.Lock()
	defer n.groups.mu.Unlock()
	for g := range n.groups.of {
		out = append(out, g)
	}
	return out
}

// filtered is a sender for the events of one vmgroup, or with "" of all.
type filtered struct {
	Sender
	group volspec.VMGroupID
	kinds []Kind // none: all
}

// Wants applies the filters.
func (f filtered) Wants(e Event) bool {
	return (f.group == "" || e.GroupID == f.group) && (len(f.kinds) == 0 || slices.Contains(f.kinds, e.Kind))
}

// Tested is the outcome of a test on one way.
type Tested struct {
	Way string
	Err error
}

// tries bounds the tests that run at a time.
const tries = 8

// try sends e over each way at once and waits for the answers.
func try(ctx context.Context, senders []Sender, e Event) []Tested {
	var ways []Sender
	for _, s := range senders {
		if many, ok := s.(interface{ Each() []Sender }); ok {
			ways = append(ways, many.Each()...)
		} else {
			ways = append(ways, s)
		}
	}
	out := make([]Tested, len(ways))
	slots := make(chan struct{}, tries)
	var wg sync.WaitGroup
	for i, s := range ways {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			_, err := s.Send(ctx, []Event{e})
			out[i] = Tested{s.Way(), err}
		})
	}
	wg.Wait()
	return out
}
