package driver

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Limits of long work. A filesystem check of a large disk takes longer than
// Docker waits: it goes on, and the repeated command joins it.
const (
	maxWork   = 2 * time.Hour
	drainWork = 3 * time.Second // how long a stopping plugin lets work end by itself
)

// works runs at most one piece of work per volume, apart from the requests
// that wait for it. Its owner is serve.
type works struct {
	start chan *work

	mu   sync.Mutex // guards byID
	byID map[volspec.VolumeID]*work
}

type work struct {
	id   volspec.VolumeID
	do   func(context.Context) error
	done chan struct{} // closed after err is set
	err  error
}

func newWorks() *works {
	return &works{start: make(chan *work), byID: map[volspec.VolumeID]*work{}}
}

// Do runs fn for id, or joins what is already running for id, and returns its
// error. When ctx ends first the work goes on and the error says so. fn gets
// the request id of ctx but not its end.
func (w *works) Do(ctx context.Context, id volspec.VolumeID, fn func(context.Context) error) error {
	w.mu.Lock()
	k, running := w.byID[id]
	if !running {
		req := log.Request(ctx)
		k = &work{id: id, done: make(chan struct{}), do: func(own context.Context) error {
			return fn(log.WithRequest(own, req))
		}}
		w.byID[id] = k
	}
	w.mu.Unlock()
	if !running {
		select {
		case w.start <- k:
		case <-ctx.Done():
			w.end(k, context.Cause(ctx))
		}
	}
	select {
	case <-k.done:
		return k.err
	case <-ctx.Done():
		return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the volume is still being prepared: repeat the command in a moment")
	}
}

// running reports whether work for id is going on.
func (w *works) running(id volspec.VolumeID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byID[id] != nil
}

// end makes way for the next work of the same volume, then tells the waiters.
func (w *works) end(k *work, err error) {
	k.err = err
	w.mu.Lock()
	delete(w.byID, k.id)
	w.mu.Unlock()
	close(k.done)
}

// serve runs the work until ctx ends; then it takes no more, lets what runs
// end by itself for a while, stops the rest and returns when all is gone.
func (w *works) serve(ctx context.Context) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var wg sync.WaitGroup
	for ctx.Err() == nil {
		select {
		case k := <-w.start:
			wg.Go(func() { w.run(inner, k) })
		case <-ctx.Done():
		}
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }() // ends before serve does
	timer := time.NewTimer(drainWork)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		cancel(errkind.New(errkind.Unavailable, "the plugin is stopping"))
		<-ended
	}
}

func (w *works) run(ctx context.Context, k *work) {
	ctx, cancel := context.WithTimeout(ctx, maxWork)
	defer cancel()
	err := errkind.New(errkind.Internal, "the plugin failed on this volume: report it with its log")
	defer func() {
		if p := recover(); p != nil {
			log.G(ctx).WithField("panic", p).WithField("stack", string(debug.Stack())).Error("work on a volume panicked")
		}
		w.end(k, err)
	}()
	err = k.do(ctx)
}
