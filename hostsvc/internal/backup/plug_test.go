package backup_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// plug counts the calls to the outside and fails one of them, or that one and
// all later ones.
type plug struct {
	mu    sync.Mutex
	name  string // only calls of this name count; "": all
	calls int
	at    int  // the call that fails; 0: none
	after bool // it fails after it was carried out
	dead  bool // all later ones fail too
	// before is called before each call.
	before func(name string)
	off    bool
	last   string
}

var errInjected = errkind.New(errkind.Unavailable, "injected fault")

// do carries out one call.
func (p *plug) do(name string, fn func() error) error {
	p.mu.Lock()
	before := p.before
	p.mu.Unlock()
	if before != nil {
		before(name)
	}
	p.mu.Lock()
	if p.off {
		p.mu.Unlock()
		return errInjected
	}
	if p.name == "" || p.name == name {
		p.calls++
	}
	hit := p.at > 0 && p.calls == p.at && (p.name == "" || p.name == name)
	if hit {
		p.last = name
		p.off = p.dead
	}
	p.mu.Unlock()
	if hit && !p.after {
		return errInjected
	}
	err := fn()
	if hit && err == nil {
		return errInjected
	}
	return err
}

// hook is called before each call from now on.
func (p *plug) hook(before func(name string)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.before = before
}

// arm lets call i fail from now on, an even one after it was carried out. With
// dead it is the process's last.
func (p *plug) arm(i int, dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.at, p.dead, p.after, p.last = 0, i, dead, i%2 == 0, ""
}

// armCall lets the next call of that name fail before it is carried out. With
// dead it is the process's last.
func (p *plug) armCall(name string, dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.calls, p.at, p.dead = name, 0, 1, dead
}

// disarm lets no call fail any more, and names the one that did, "" for none.
func (p *plug) disarm() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = 0
	return p.last
}

// died reports whether the call came at which the process is to die.
func (p *plug) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.off
}

// killedAt has a process die at call i on the way of what begin begins, and
// starts the next one. id is "" when begin failed, and at says where it was.
func (w *world) killedAt(t *testing.T, i int, begin func(*process) (volspec.JobID, error)) (next *process, id volspec.JobID, died bool, at string) {
	t.Helper()
	p := &plug{}
	proc := w.start(t, p)
	p.arm(i, true)
	id, err := begin(proc)
	if err != nil {
		id = ""
	} else {
		proc.untilDead(t, p, id)
	}
	proc.abandon()
	next = w.start(t, &plug{})
	return next, id, p.died(), fmt.Sprintf("killed at call %d (%s)", i, p.disarm())
}

// begin begins the backup of one object.
func (p *process) begin(t testing.TB, req wire.RunBackup) (volspec.JobID, error) {
	t.Helper()
	jobs, err := p.Backup(t.Context(), admin, "Dev", req)
	if err != nil {
		return "", err
	}
	return jobs[0].ID, nil
}

// untilDead waits until the process has died, or the job has ended.
func (p *process) untilDead(t testing.TB, x *plug, id volspec.JobID) {
	t.Helper()
	require.Eventually(t, func() bool {
		j, err := p.queue.Get(context.Background(), id)
		return x.died() || err == nil && j.Ended()
	}, 30*time.Second, time.Millisecond)
}
