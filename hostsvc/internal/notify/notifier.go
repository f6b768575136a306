package notify

import (
	"cmp"
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Sender delivers events to one channel.
type Sender interface {
	// Name is the channel's in logs and errors.
	Name() string
	// Way is what a person calls it: email ADDRESS or webhook NAME.
	Way() string
	// Wants reports whether the channel is for e.
	Wants(e Event) bool
	// Send delivers events in order and returns how many were accepted; those
	// are not sent again. All accepted and an error: delivered, but somebody
	// should look. A Permanent error makes no second attempt. Send ends with ctx
	// and has a time limit of its own. Errors hold no secrets.
	Send(ctx context.Context, events []Event) (int, error)
}

// PermanentError is a failure that a repetition does not mend. Gone: the
// receiver wants nothing any more, until the next start.
type PermanentError struct {
	Err  error
	Gone bool
}

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PermanentError) Unwrap() error { return e.Err }

// LaterError is a failure whose receiver said when to come again.
type LaterError struct {
	Err   error
	After time.Duration
}

func (e *LaterError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LaterError) Unwrap() error { return e.Err }

// Raised is an alarm that stands.
type Raised struct {
	Event
	Told time.Time // when people were last told
}

// Alarms knows which alarms stand, over restarts.
type Alarms interface {
	// Standing lists the alarms that stand now; Time is since when.
	Standing(ctx context.Context) ([]Raised, error)
	// Told records that people were told of these alarms at a time.
	Told(ctx context.Context, events []Event, at time.Time) error
}

// Options of a Notifier. Zero fields have defaults.
type Options struct {
	Senders []Sender
	// Repeat is how often a standing alarm is told again; 24 h.
	Repeat time.Duration
	// Gather is how long a first event waits for others that go with it; 10 s.
	Gather time.Duration
	// Queue bounds the events that wait for one sender; 1000. What comes beyond
	// is dropped, and that is told.
	Queue int
	// Batch bounds the events of one message; 50.
	Batch int
	// Pauses are those between attempts; after the last one the events are
	// given up.
	Pauses []time.Duration
	// Alarms is the truth about standing alarms. nil: the Notifier's memory,
	// in which an alarm stands until an event clears it.
	Alarms Alarms
}

// defaultPauses end after a bit more than eight hours.
var defaultPauses = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour,
}

// maxStanding bounds what is remembered; alarms beyond it are told each time.
const maxStanding = 20000

// standing is an alarm as it was told.
type standing struct {
	event   Event
	told    time.Time
	cleared bool
}

// Notifier tells people. All methods are safe for concurrent use.
type Notifier struct {
	o        Options
	channels []*channel // of the configuration

	mu    sync.Mutex // guards state
	state map[key]*standing

	groups targeted
}

// New makes a Notifier. It tells nothing before Run, but queues.
func New(o Options) *Notifier {
	o.Repeat = cmp.Or(o.Repeat, 24*time.Hour)
	o.Gather = cmp.Or(o.Gather, 10*time.Second)
	o.Queue = cmp.Or(o.Queue, 1000)
	o.Batch = cmp.Or(o.Batch, 50)
	if o.Pauses == nil {
		o.Pauses = defaultPauses
	}
	n := &Notifier{o: o, state: map[key]*standing{}}
	n.groups.of = map[volspec.VMGroupID]map[string]*channel{}
	for _, s := range o.Senders {
		n.channels = append(n.channels, newChannel(s, n))
	}
	return n
}

// Notify tells people of e, at once and without waiting for anything. An
// alarm that stands already, and the end of one that ended already, is not
// told again.
func (n *Notifier) Notify(ctx context.Context, e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Request = cmp.Or(e.Request, log.Request(ctx))
	if e, tell := n.judge(e); tell {
		n.enqueue(ctx, e)
	}
}

// judge decides whether e is news, and remembers it.
func (n *Notifier) judge(e Event) (Event, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k, now := e.key(), time.Now()
	have := n.state[k]
	remember := func(s standing) {
		if have != nil || len(n.state) < maxStanding {
			n.state[k] = &s
		}
	}
	switch _, ends := clears[e.Kind]; {
	case ends:
		if have != nil && have.cleared {
			return e, false
		}
		if have != nil {
			e.Again = have.event.Time
		}
		remember(standing{event: e, told: now, cleared: true})
	case raises[e.Kind]:
		if have != nil && !have.cleared {
			have.event.Sentence, have.event.Severity = e.Sentence, e.Severity // what a repetition says
			return e, false
		}
		remember(standing{event: e, told: now})
	case e.Kind == VerifyFailed || e.Kind == Quota:
		if have != nil && now.Sub(have.told) < n.o.Repeat {
			return e, false
		}
		remember(standing{event: e, told: now})
	}
	return e, true
}

func (n *Notifier) enqueue(ctx context.Context, e Event) {
	if e.ID == "" {
		e.ID = newID()
	}
	for _, c := range append(n.groups.all(), n.channels...) {
		if c.sender.Wants(e) && !c.put(e) {
			log.G(ctx).WithField("channel", c.sender.Name()).WithField(log.Kind, string(e.Kind)).Warn("notification dropped, the channel's queue is full")
		}
	}
}

// Forget drops an alarm without telling anybody, as when its object is gone.
func (n *Notifier) Forget(group string, kind Kind, object string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.state, Event{Group: group, Kind: kind, Object: object}.key())
}

// Test sends a test message over every channel of the configuration at once,
// whatever its filters, and waits for the answers.
func (n *Notifier) Test(ctx context.Context) []Tested {
	senders := make([]Sender, len(n.channels))
	for i, c := range n.channels {
		senders[i] = c.sender
	}
	return try(ctx, senders, Event{ID: newID(), Time: time.Now(), Kind: Test, Severity: Info, Request: log.Request(ctx),
		Sentence: "This is a test. Notifications of Mooring arrive here."})
}

// Run delivers until ctx ends; then what waits gets one more attempt, of a
// few seconds. It returns when everything it started has ended.
func (n *Notifier) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, c := range n.channels {
		wg.Go(func() { c.run(ctx) })
	}
	n.groups.begin(func(c *channel) {
		own, end := context.WithCancel(ctx)
		c.onEnd(end)
		wg.Go(func() { c.run(own) })
	})
	defer wg.Wait()
	defer n.groups.end()
	tick := time.NewTicker(max(n.o.Repeat/24, time.Second))
	defer tick.Stop()
	for {
		n.repeat(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
