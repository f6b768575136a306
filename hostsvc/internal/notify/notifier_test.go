package notify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/notify"
)

// channel is a sender that answers as told.
type channel struct {
	name   string
	only   notify.Kind
	answer func(n int, events []notify.Event) (int, error) // nil: all accepted
	hang   bool                                            // answers when its context ends

	mu      sync.Mutex
	tries   int
	batches [][]notify.Event
	times   []time.Time
}

func (c *channel) Name() string              { return c.name }
func (c *channel) Way() string               { return c.name }
func (c *channel) Wants(e notify.Event) bool { return c.only == "" || c.only == e.Kind }

func (c *channel) Send(ctx context.Context, events []notify.Event) (int, error) {
	c.mu.Lock()
	try := c.tries
	c.tries++
	c.times = append(c.times, time.Now())
	c.mu.Unlock()
	if c.hang {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	n, err := len(events), error(nil)
	if c.answer != nil {
		n, err = c.answer(try, events)
	}
	if n > 0 {
		c.mu.Lock()
		c.batches = append(c.batches, append([]notify.Event(nil), events[:n]...))
		c.mu.Unlock()
	}
	return n, err
}

// said are the delivered events in few words.
func (c *channel) said() (out []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.batches {
		for _, e := range b {
			s := string(e.Kind) + " " + e.Object
			if !e.Again.IsZero() {
				s += " again"
			}
			out = append(out, s)
		}
	}
	return out
}

func (c *channel) tried() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tries
}

// sent are the delivered batches.
func (c *channel) sent() [][]notify.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([][]notify.Event(nil), c.batches...)
}

// moments are when Send was called.
func (c *channel) moments() []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]time.Time(nil), c.times...)
}

// during runs a notifier in a bubble with its own clock.
func during(t *testing.T, o notify.Options, f func(n *notify.Notifier)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := notify.New(o)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.NoError(t, n.Run(ctx)) })
		f(n)
		cancel()
		wg.Wait()
	})
}

func tell(n *notify.Notifier, kind notify.Kind, object string) {
	n.Notify(context.Background(), notify.Event{Group: "g", Kind: kind, Object: object, Severity: notify.Error, Sentence: object})
}

func TestAnAlarmIsToldOnceThenDailyUntilItEnds(t *testing.T) {
	c := &channel{name: "c"}
	during(t, notify.Options{Senders: []notify.Sender{c}}, func(n *notify.Notifier) {
		for range 3 * 24 * 4 { // every quarter of an hour, for three days
			tell(n, notify.RPOMissed, "db")
			time.Sleep(15 * time.Minute)
		}
		time.Sleep(2 * time.Hour)
		assert.Equal(t, []string{"rpo-missed db", "rpo-missed db again", "rpo-missed db again", "rpo-missed db again"}, c.said())
		tell(n, notify.RPORecovered, "db")
		tell(n, notify.RPORecovered, "db")
		time.Sleep(10 * 24 * time.Hour)
		assert.Equal(t, []string{"rpo-recovered db again"}, c.said()[4:], "the end is told once, and then nothing")
		tell(n, notify.RPOMissed, "db")
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"rpo-missed db"}, c.said()[5:], "it is a new alarm")
	})
}

func TestAlarmsOfOthersAreTheirOwn(t *testing.T) {
	c := &channel{name: "c"}
	during(t, notify.Options{Senders: []notify.Sender{c}}, func(n *notify.Notifier) {
		for range 2 {
			n.Notify(t.Context(), notify.Event{Group: "g", Kind: notify.JobFailed, Object: "db"})
			n.Notify(t.Context(), notify.Event{Group: "h", Kind: notify.JobFailed, Object: "db"})
			n.Notify(t.Context(), notify.Event{Group: "g", Kind: notify.DrillFailed, Object: "db"})
			n.Notify(t.Context(), notify.Event{Group: "g", Kind: "else", Object: "db"})
			n.Notify(t.Context(), notify.Event{Group: "g", Kind: notify.VerifyFailed, Object: "db"})
		}
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"job-failed db", "job-failed db", "drill-failed db", "else db", "verify-failed db", "else db"}, c.said())
		time.Sleep(24 * time.Hour)
		n.Forget("g", notify.JobFailed, "db")
		n.Notify(t.Context(), notify.Event{Group: "g", Kind: notify.VerifyFailed, Object: "db"})
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"drill-failed db again", "job-failed db again", "job-failed db again", "verify-failed db"}, c.said()[6:], "what has no end is told when it happens again")
		time.Sleep(25 * time.Hour)
		assert.Len(t, c.said(), 12, "what is forgotten is not told again")
	})
}

func TestEventsGoTogether(t *testing.T) {
	c := &channel{name: "c"}
	during(t, notify.Options{Senders: []notify.Sender{c}, Batch: 20}, func(n *notify.Notifier) {
		for i := range 50 {
			tell(n, notify.JobFailed, fmt.Sprint(i))
		}
		time.Sleep(time.Minute)
		require.Len(t, c.sent(), 3)
		assert.Len(t, c.sent()[0], 20)
		assert.Len(t, c.sent()[2], 10)
		ids := map[string]bool{}
		for i, e := range slices.Concat(c.sent()...) {
			assert.Equal(t, fmt.Sprint(i), e.Object, "in order")
			assert.False(t, e.Time.IsZero())
			ids[e.ID] = true
		}
		assert.Len(t, ids, 50)
	})
}

func TestFailuresAreRepeatedWithLongerPauses(t *testing.T) {
	c := &channel{name: "c", answer: func(n int, events []notify.Event) (int, error) {
		if n < 3 {
			return 0, errors.New("away")
		}
		return len(events), nil
	}}
	during(t, notify.Options{Senders: []notify.Sender{c}, Pauses: []time.Duration{time.Second, time.Minute, time.Hour}}, func(n *notify.Notifier) {
		tell(n, notify.JobFailed, "a")
		time.Sleep(30 * time.Second)
		tell(n, notify.JobFailed, "b") // meanwhile
		time.Sleep(3 * time.Hour)
		assert.Equal(t, []string{"job-failed a", "job-failed b"}, c.said())
		require.Len(t, c.sent(), 1, "what came meanwhile goes with it")
		require.Len(t, c.moments(), 4)
		for i, want := range []time.Duration{time.Second, time.Minute, time.Hour} {
			assert.Equal(t, want, c.moments()[i+1].Sub(c.moments()[i]))
		}
	})
}

func TestAttemptsEnd(t *testing.T) {
	c := &channel{name: "c", answer: func(int, []notify.Event) (int, error) { return 0, errors.New("away") }}
	during(t, notify.Options{Senders: []notify.Sender{c}, Pauses: []time.Duration{time.Second, time.Second}}, func(n *notify.Notifier) {
		tell(n, notify.JobFailed, "a")
		time.Sleep(time.Hour)
		assert.Equal(t, 3, c.tried())
		time.Sleep(24 * time.Hour)
		assert.Equal(t, 6, c.tried(), "a standing alarm is tried again when its time comes")
	})
}

func TestWhatWasAcceptedIsNotSentAgain(t *testing.T) {
	c := &channel{name: "c", answer: func(n int, events []notify.Event) (int, error) {
		if n == 0 {
			return 2, errors.New("away")
		}
		if n == 2 {
			return len(events), errors.New("one receiver was refused")
		}
		return len(events), nil
	}}
	during(t, notify.Options{Senders: []notify.Sender{c}}, func(n *notify.Notifier) {
		for _, o := range []string{"a", "b", "c"} {
			tell(n, notify.JobFailed, o)
		}
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"job-failed a", "job-failed b", "job-failed c"}, c.said())
		tell(n, notify.JobFailed, "d")
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"job-failed d"}, c.said()[3:])
		assert.Equal(t, 3, c.tried(), "delivered with a complaint is delivered")
	})
}

func TestPermanentFailuresAndTheEndOfAReceiver(t *testing.T) {
	c := &channel{name: "c", answer: func(n int, events []notify.Event) (int, error) {
		switch n {
		case 0:
			return 0, &notify.PermanentError{Err: errors.New("never this one")}
		case 1:
			return len(events), nil
		}
		return 0, fmt.Errorf("wrapped: %w", &notify.PermanentError{Err: errors.New("gone"), Gone: true})
	}}
	other := &channel{name: "other"}
	during(t, notify.Options{Senders: []notify.Sender{c, other}}, func(n *notify.Notifier) {
		for _, o := range []string{"a", "b", "c", "d"} {
			tell(n, notify.JobFailed, o)
			time.Sleep(time.Hour)
		}
		assert.Equal(t, []string{"job-failed b"}, c.said())
		assert.Equal(t, 3, c.tried(), "nothing is sent to who is gone")
		assert.Len(t, other.said(), 4, "others get everything")
	})
}

func TestAReceiverThatSaysWhen(t *testing.T) {
	c := &channel{name: "c", answer: func(n int, events []notify.Event) (int, error) {
		if n == 0 {
			return 0, &notify.LaterError{Err: errors.New("busy"), After: 10 * time.Minute}
		}
		if n == 1 {
			return 0, &notify.LaterError{Err: errors.New("busy"), After: 1000 * time.Hour}
		}
		return len(events), nil
	}}
	during(t, notify.Options{Senders: []notify.Sender{c}}, func(n *notify.Notifier) {
		tell(n, notify.JobFailed, "a")
		time.Sleep(2 * time.Hour)
		require.Len(t, c.moments(), 3)
		assert.Equal(t, 10*time.Minute, c.moments()[1].Sub(c.moments()[0]))
		assert.Equal(t, time.Hour, c.moments()[2].Sub(c.moments()[1]), "bounded")
	})
}

// A dead receiver holds up neither callers nor other channels, and its queue
// is bounded; what was dropped is told.
func TestADeadReceiverHoldsUpNobody(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	dead := &channel{name: "dead", answer: func(_ int, events []notify.Event) (int, error) {
		if away.Load() {
			return 0, errors.New("away")
		}
		return len(events), nil
	}}
	hanging, good := &channel{name: "hanging", hang: true}, &channel{name: "good"}
	during(t, notify.Options{Senders: []notify.Sender{dead, hanging, good}, Queue: 10, Gather: time.Second}, func(n *notify.Notifier) {
		begun := time.Now()
		for i := range 8 {
			tell(n, notify.JobFailed, fmt.Sprint(i))
		}
		assert.Equal(t, begun, time.Now(), "telling takes no time")
		time.Sleep(3 * time.Second)
		assert.Len(t, good.said(), 8)
		for i := range 7 {
			tell(n, notify.JobFailed, fmt.Sprint("more ", i))
		}
		away.Store(false)
		time.Sleep(10 * time.Minute)
		assert.Len(t, good.said(), 15)
		said := dead.said()
		require.Len(t, said, 11)
		assert.Equal(t, "job-failed more 1", said[9])
		assert.Equal(t, "notifications-lost ", said[10])
		last := dead.sent()[len(dead.sent())-1]
		assert.Contains(t, last[len(last)-1].Sentence, "5 notifications were dropped because dead")
	})
}

func TestFiltersOfSenders(t *testing.T) {
	some, all := &channel{name: "some", only: notify.JobFailed}, &channel{name: "all"}
	during(t, notify.Options{Senders: []notify.Sender{some, all}}, func(n *notify.Notifier) {
		tell(n, notify.RPOMissed, "a")
		tell(n, notify.JobFailed, "b")
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"job-failed b"}, some.said())
		assert.Len(t, all.said(), 2)
	})
}

// What waits when the service stops gets one more attempt, and stopping is
// not held up.
func TestLastWords(t *testing.T) {
	c, hanging := &channel{name: "c"}, &channel{name: "h", hang: true}
	var begun time.Time
	during(t, notify.Options{Senders: []notify.Sender{c, hanging}}, func(n *notify.Notifier) {
		tell(n, notify.JobFailed, "a")
		begun = time.Now()
		time.Sleep(time.Second) // it still waits for others
		assert.Empty(t, c.said())
	})
	assert.Equal(t, []string{"job-failed a"}, c.said())
	assert.Equal(t, 1, hanging.tried())
	assert.False(t, begun.IsZero())
}

func TestTestMessages(t *testing.T) {
	good, filtered := &channel{name: "good"}, &channel{name: "filtered", only: notify.JobFailed}
	bad := &channel{name: "bad", answer: func(int, []notify.Event) (int, error) { return 0, errors.New("no route") }}
	got := notify.New(notify.Options{Senders: []notify.Sender{good, bad, filtered}}).Test(t.Context())
	require.Len(t, got, 3)
	assert.Equal(t, notify.Tested{Way: "good"}, got[0])
	assert.Equal(t, "bad", got[1].Way)
	assert.EqualError(t, got[1].Err, "no route")
	assert.Equal(t, []string{"test "}, good.said())
	assert.Equal(t, []string{"test "}, filtered.said(), "a test passes every filter")
	assert.Empty(t, notify.New(notify.Options{}).Test(t.Context()))
}

// alarms is the truth about standing alarms, in memory.
type alarms struct {
	mu   sync.Mutex
	list []notify.Raised
	err  error
}

func (a *alarms) Standing(context.Context) ([]notify.Raised, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]notify.Raised(nil), a.list...), a.err
}

func (a *alarms) Told(_ context.Context, events []notify.Event, at time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range events {
		for i := range a.list {
			if a.list[i].Object == e.Object {
				a.list[i].Told = at
			}
		}
	}
	return nil
}

func (a *alarms) set(objects ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.list = nil
	for _, o := range objects {
		a.list = append(a.list, notify.Raised{Event: notify.Event{Group: "g", Kind: notify.RepositoryOffline, Object: o, Time: time.Now(), Sentence: o}, Told: time.Now()})
	}
}

// With a list of standing alarms, a restart forgets nothing and repeats
// nothing, and what is gone from the list is not told again.
func TestAlarmsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, c := &alarms{}, &channel{name: "c"}
		life := func(d time.Duration, f func(n *notify.Notifier)) {
			n := notify.New(notify.Options{Senders: []notify.Sender{c}, Alarms: a})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { assert.NoError(t, n.Run(ctx)) })
			f(n)
			time.Sleep(d)
			cancel()
			wg.Wait()
		}
		life(time.Minute, func(n *notify.Notifier) {
			a.set("near", "far")
			tell(n, notify.RepositoryOffline, "near")
			tell(n, notify.RepositoryOffline, "far")
		})
		assert.Len(t, c.said(), 2)
		for range 23 {
			life(time.Hour, func(*notify.Notifier) {})
		}
		assert.Len(t, c.said(), 2, "a restart is no reason to tell again")
		life(2*time.Hour, func(*notify.Notifier) {})
		assert.Equal(t, []string{"repository-offline far again", "repository-offline near again"}, c.said()[2:])
		a.set("far")
		life(48*time.Hour, func(*notify.Notifier) {})
		assert.Equal(t, []string{"repository-offline far again"}, c.said()[4:5])
		for _, s := range c.said()[4:] {
			assert.Equal(t, "repository-offline far again", s, "near is gone without a word")
		}
		before := len(c.said())
		life(time.Minute, func(n *notify.Notifier) {
			time.Sleep(time.Second)
			a.set()
			tell(n, notify.RepositoryRecovered, "far")
		})
		assert.Equal(t, []string{"repository-recovered far again"}, c.said()[before:])
		a.err = errors.New("away")
		life(48*time.Hour, func(n *notify.Notifier) { tell(n, notify.RepositoryOffline, "far") })
		assert.Equal(t, []string{"repository-offline far"}, c.said()[before+1:], "without the list's word nothing is repeated")
	})
}

func TestConcurrentCallers(t *testing.T) {
	c := &channel{name: "c"}
	during(t, notify.Options{Senders: []notify.Sender{c}}, func(n *notify.Notifier) {
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for i := range 20 {
					tell(n, notify.JobFailed, fmt.Sprint(i))
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		assert.Len(t, c.said(), 20)
	})
}
