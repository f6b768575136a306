package driver

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// still is a host service that orders freezes, and a freezer, both in memory.
type still struct {
	mu      sync.Mutex // guards what follows
	asked   []time.Time
	cursors []string
	away    error                           // of every question
	reports map[string][]wire.FreezeReport  // by order
	answer  map[string]chan bool            // what frozen is answered with
	frozen  map[string]*simFrozen           // by path
	froze   []string                        // "device path", in order
	begins  func(ctx context.Context) error // before a freeze
	left    []bool                          // what Recover answers, the last for ever
	recover int

	queue chan wire.FreezeOrder
}

func newStill() *still {
	return &still{
		reports: map[string][]wire.FreezeReport{}, answer: map[string]chan bool{}, frozen: map[string]*simFrozen{},
		left: []bool{true}, queue: make(chan wire.FreezeOrder, 20),
	}
}

func (s *still) Freezes(ctx context.Context, after string, wait time.Duration) (wire.FreezeOrders, error) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	s.cursors = append(s.cursors, after)
	away := s.away
	s.mu.Unlock()
	out := wire.FreezeOrders{Next: "n" + after}
	if away != nil {
		return wire.FreezeOrders{}, away
	}
	select {
	case o := <-s.queue:
		out.Orders = []wire.FreezeOrder{o}
	case <-time.After(wait):
	case <-ctx.Done():
		return wire.FreezeOrders{}, errkind.Wrap(errkind.Unavailable, ctx.Err(), "given up")
	}
	return out, nil
}

func (s *still) ReportFreeze(ctx context.Context, id string, r wire.FreezeReport) (wire.FreezeAnswer, error) {
	s.mu.Lock()
	s.reports[id] = append(s.reports[id], r)
	answer := s.answer[id]
	s.mu.Unlock()
	if r.State != wire.FreezeFrozen {
		return wire.FreezeAnswer{}, nil
	}
	if answer == nil {
		return wire.FreezeAnswer{}, errkind.New(errkind.NotFound, "no such order")
	}
	select {
	case done := <-answer:
		return wire.FreezeAnswer{Done: done}, nil
	case <-ctx.Done():
		return wire.FreezeAnswer{}, errkind.Wrap(errkind.Unavailable, ctx.Err(), "given up")
	}
}

// order gives an order; the function answers its frozen report.
func (s *still) order(v *simVolume, change ...func(*wire.FreezeOrder)) (id string, answer func(done bool)) {
	o := wire.FreezeOrder{ID: "order of " + v.Name, Volume: v.ID, Name: v.Name, Epoch: v.Epoch, LeaseMS: 10000}
	for _, c := range change {
		c(&o)
	}
	ch := make(chan bool, 1)
	s.mu.Lock()
	s.answer[o.ID] = ch
	delete(s.reports, o.ID)
	s.mu.Unlock()
	s.queue <- o
	synctest.Wait()
	return o.ID, func(done bool) { ch <- done; synctest.Wait() }
}

func (s *still) said(id string) []wire.FreezeReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reports[id]
}

// look is for what a test wants to see or set.
func (s *still) look(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn()
}

func (s *still) isFrozen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.frozen) > 0
}

func (s *still) Freeze(ctx context.Context, device, path string, lease time.Duration) (Frozen, error) {
	s.mu.Lock()
	begins := s.begins
	s.mu.Unlock()
	if begins != nil {
		if err := begins(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &simFrozen{s: s, path: path, begin: time.Now(), until: time.Now().Add(lease), ended: make(chan struct{})}
	f.timer = time.AfterFunc(lease, func() { f.end("the lease was over") })
	s.frozen[path] = f
	s.froze = append(s.froze, device+" "+path)
	return f, nil
}

func (s *still) Recover(context.Context, func(volspec.VolumeID) string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recover++
	settled := s.left[0]
	if len(s.left) > 1 {
		s.left = s.left[1:]
	}
	return settled, nil
}

type simFrozen struct {
	s            *still
	path         string
	begin, until time.Time
	timer        *time.Timer
	ended        chan struct{}
	t            Thawed
}

func (f *simFrozen) end(why string) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.frozen[f.path] != f {
		return
	}
	f.t = Thawed{Held: why == "", Why: why, Stall: time.Since(f.begin)}
	delete(f.s.frozen, f.path)
	f.timer.Stop()
	close(f.ended)
}

func (f *simFrozen) Left() time.Duration    { return time.Until(f.until) }
func (f *simFrozen) Ended() <-chan struct{} { return f.ended }
func (f *simFrozen) Thaw() Thawed           { f.end(""); <-f.ended; return f.t }

// frozenRig is a plugin with one mounted volume.
func frozenRig(t *testing.T, fn func(t *testing.T, p *plugin, w *world, s *still, v *simVolume)) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), newStill()
		w.orders, w.freezer = s, s
		p := boot(t, w, stateDir(t))
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m")
		require.NoError(t, err)
		fn(t, p, w, s, v)
		p.stop()
		assert.False(t, s.isFrozen(), "nothing stays frozen")
		w.sane(t)
	})
}

func TestAnOrderIsHeldUntilItsAnswer(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		id, answer := s.order(v)
		assert.True(t, s.isFrozen())
		s.look(func() { assert.Equal(t, []string{"/dev/" + v.Serial + " /mnt/vsphere/" + string(v.ID)}, s.froze) })
		assert.Equal(t, []wire.FreezeReport{{State: wire.FreezeFrozen, LeftMS: 10000}}, s.said(id))
		time.Sleep(3 * time.Second)
		assert.True(t, s.isFrozen())
		answer(true)
		assert.False(t, s.isFrozen())
		assert.Equal(t, wire.FreezeReport{State: wire.FreezeThawed, Held: true, StallMS: 3000}, s.said(id)[1])

		id, answer = s.order(v)
		answer(false)
		assert.Equal(t, wire.FreezeReport{State: wire.FreezeThawed}, s.said(id)[1], "the work was not done: nothing was held for it")
		s.look(func() { assert.Equal(t, "nn", s.cursors[2], "each question goes on from the answer before") })
	})
}

func TestAFreezeEndsWithoutAnAnswer(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		id, _ := s.order(v)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.False(t, s.isFrozen())
		assert.Equal(t, wire.FreezeThawed, s.said(id)[1].State)
		assert.False(t, s.said(id)[1].Held)

		// It thaws early: the service hears at once.
		id, _ = s.order(v)
		s.mu.Lock()
		f := s.frozen["/mnt/vsphere/"+string(v.ID)]
		s.mu.Unlock()
		f.end("its guard died")
		synctest.Wait()
		require.Len(t, s.said(id), 2)
		assert.Equal(t, wire.FreezeReport{State: wire.FreezeThawed, Detail: "its guard died"}, s.said(id)[1])

		// The order is over when it is reported on.
		s.queue <- wire.FreezeOrder{ID: "over", Volume: v.ID, Name: v.Name, Epoch: v.Epoch, LeaseMS: 10000}
		synctest.Wait()
		assert.False(t, s.isFrozen())
		s.look(func() { assert.Len(t, s.froze, 3) })
		require.Len(t, s.said("over"), 2)
		assert.Equal(t, wire.FreezeReport{State: wire.FreezeThawed}, s.said("over")[1])
	})
}

// What is mounted, unmounted or grown waits for the thaw; a freeze waits for
// those only briefly.
func TestAFreezeAndOtherWork(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		_, answer := s.order(v)
		unmounted := make(chan error, 1)
		go func() { unmounted <- p.Unmount(t.Context(), "v", "m") }()
		synctest.Wait()
		w.set(func() { assert.Len(t, w.mounts, 1, "it waits") })
		other := w.add("w@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "w", "m2")
		require.NoError(t, err, "another volume does not")
		begin := time.Now()
		answer(true)
		require.NoError(t, <-unmounted)
		assert.Less(t, time.Since(begin), time.Second)
		w.set(func() { assert.Len(t, w.mounts, 1) })

		// The other volume is being unmounted: its disk stays busy for a second.
		gate := make(chan struct{})
		w.set(func() { w.onDetach = func() error { <-gate; return nil } })
		go func() { unmounted <- p.Unmount(t.Context(), "w", "m2") }()
		synctest.Wait()
		id, _ := s.order(other)
		time.Sleep(freezeLockWait)
		synctest.Wait()
		assert.Equal(t, []wire.FreezeReport{{State: wire.FreezeRefused, Detail: "it is being mounted or unmounted"}}, s.said(id))
		close(gate)
		require.NoError(t, <-unmounted)
	})
}

func TestWhatIsNotFrozen(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		refused := func(want string, change func(*wire.FreezeOrder)) {
			t.Helper()
			id, _ := s.order(v, change)
			require.Len(t, s.said(id), 1)
			assert.Equal(t, wire.FreezeRefused, s.said(id)[0].State)
			assert.Contains(t, s.said(id)[0].Detail, want)
		}
		refused("by attachment 1, not by 7", func(o *wire.FreezeOrder) { o.Epoch = 7 })
		refused("lease", func(o *wire.FreezeOrder) { o.LeaseMS = 10001 })
		refused("lease", func(o *wire.FreezeOrder) { o.LeaseMS = 0 })
		refused("not valid", func(o *wire.FreezeOrder) { o.Volume = "../../etc" })
		s.look(func() {
			s.begins = func(context.Context) error { return errkind.New(errkind.Unavailable, "its disk is too slow") }
		})
		refused("its disk is too slow", func(*wire.FreezeOrder) {})
		s.look(func() { s.begins = func(context.Context) error { panic("bug") } })
		_, _ = s.order(v) // the plugin survives
		s.look(func() { s.begins = nil })
		w.set(func() { v.disk.gone = true })
		refused("its disk is gone", func(*wire.FreezeOrder) {})
		w.set(func() { v.disk.gone = false })
		s.look(func() { assert.Empty(t, s.froze) })

		// Nothing to freeze: not mounted, then read-only. Both are kept so.
		require.NoError(t, p.Unmount(t.Context(), "v", "m"))
		id, answer := s.order(v)
		assert.Equal(t, []wire.FreezeReport{{State: wire.FreezeFrozen, Detail: wire.FreezeNotMounted, LeftMS: 10000}}, s.said(id))
		mounted := make(chan error, 1)
		go func() { _, err := p.Mount(t.Context(), "v", "m"); mounted <- err }()
		synctest.Wait()
		w.set(func() { assert.Empty(t, w.mounts, "a mount waits") })
		answer(true)
		require.NoError(t, <-mounted)
		assert.Equal(t, wire.FreezeReport{State: wire.FreezeThawed, Held: true}, s.said(id)[1])

		w.set(func() { v.Spec.Access = volspec.ReadOnly })
		require.NoError(t, p.Unmount(t.Context(), "v", "m"))
		_, err := p.Mount(t.Context(), "v", "m")
		require.NoError(t, err)
		id, answer = s.order(v)
		assert.Equal(t, wire.FreezeReadOnly, s.said(id)[0].Detail)
		answer(true)
		assert.True(t, s.said(id)[1].Held)
		s.look(func() { assert.Empty(t, s.froze) })
	})
}

// Mounted by containers alone, where the plugin does not see it: that is not
// "not mounted".
func TestAHiddenMountIsRefused(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		w.set(func() {
			clear(w.mounts)
			w.containers["c"] = &simContainer{name: "c", id: "c", volume: "v@ds1", disk: v.disk}
		})
		id, _ := s.order(v)
		require.Len(t, s.said(id), 1)
		assert.Equal(t, wire.FreezeRefused, s.said(id)[0].State)
		assert.Contains(t, s.said(id)[0].Detail, "where the plugin does not reach it")
		w.set(func() { clear(w.containers) })
	})
}

func TestOnlySoManyAtATime(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, _ *simVolume) {
		var answers []func(bool)
		for i := range maxFreezes + 1 {
			v := w.add("many"+strings.Repeat("x", i)+"@ds1", volspec.Spec{})
			_, err := p.Mount(t.Context(), v.Name, "m")
			require.NoError(t, err)
			id, answer := s.order(v)
			if i < maxFreezes {
				answers = append(answers, answer)
				continue
			}
			assert.Equal(t, wire.FreezeRefused, s.said(id)[0].State)
			assert.Contains(t, s.said(id)[0].Detail, "several other volumes")
		}
		s.look(func() { assert.Len(t, s.frozen, maxFreezes) })
		for _, a := range answers {
			a(true)
		}
		s.look(func() { assert.Empty(t, s.frozen) })
	})
}

// The plugin's stop thaws at once.
func TestAStopThaws(t *testing.T) {
	frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
		id, _ := s.order(v)
		begin := time.Now()
		p.stop()
		assert.Zero(t, time.Since(begin))
		assert.False(t, s.isFrozen())
		assert.Equal(t, wire.FreezeThawed, s.said(id)[1].State)
		assert.False(t, s.said(id)[1].Held)
		p.stop = func() {}
	})
}

// A service that is away is asked again soon, one that is too old seldom.
func TestQuestionsToAServiceThatIsAway(t *testing.T) {
	for _, tc := range []struct {
		err      error
		at, most int
	}{
		{errkind.New(errkind.Unavailable, "away"), 20, 30},
		{errkind.New(errkind.NotFound, "there is no such endpoint"), 1, 2},
	} {
		frozenRig(t, func(t *testing.T, p *plugin, w *world, s *still, v *simVolume) {
			s.mu.Lock()
			s.away = tc.err
			s.mu.Unlock()
			time.Sleep(wire.MaxFreezeWait) // the question that waited
			s.mu.Lock()
			s.asked = nil
			s.mu.Unlock()
			time.Sleep(70 * time.Second)
			s.mu.Lock()
			assert.GreaterOrEqual(t, len(s.asked), tc.at)
			assert.LessOrEqual(t, len(s.asked), tc.most)
			s.away = nil
			s.mu.Unlock()
			time.Sleep(time.Minute)
			_, answer := s.order(v)
			assert.True(t, s.isFrozen())
			answer(true)
		})
	}
}

// What an earlier life left is thawed before anything else, and no order is
// asked for before that is certain.
func TestOldFreezesAreSettledFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), newStill()
		w.orders, w.freezer = s, s
		s.left = []bool{false, false, false, true}
		p := boot(t, w, stateDir(t))
		s.look(func() {
			assert.Equal(t, 1, s.recover)
			assert.Empty(t, s.asked)
		})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		s.look(func() {
			assert.Equal(t, 4, s.recover)
			assert.Len(t, s.asked, 1)
		})
		p.stop()
	})
}
