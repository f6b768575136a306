package kopia

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"

	"mooring.dev/mooring/pkg/errkind"
)

// session is one writer. What it writes becomes visible together, at a flush.
type session struct {
	r *Repository
	w repo.DirectRepositoryWriter
	m *meter
	// doubt makes contents that are there be read before they are relied on:
	// something is damaged, and no index tells what.
	doubt bool

	mu   sync.Mutex            // guards what follows
	bad  map[content.ID]bool   // stored, but damaged
	gone map[content.ID]bool   // of bad: taken out of use in this session
	pack map[blob.ID]packState // what was looked up
}

// session runs f with a writer and flushes what it wrote if it succeeds.
func (r *Repository) session(ctx context.Context, purpose string, m *meter, f func(context.Context, *session) error) error {
	if r.g.readOnly.Load() {
		return errkind.New(errkind.Unavailable, "%s is read-only: its recovery points can be restored, but not added to or deleted", r.g.where)
	}
	unlock, err := r.o.lockWriters(ctx, r.identity.Unique)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.g.check(ctx, true); err != nil {
		return err
	}
	if m == nil {
		m = &meter{}
	}
	outer := ctx
	ctx, why, cancel := stoppable(withMeter(ctx, m))
	defer cancel()
	_, w, err := r.kopia.NewDirectWriter(ctx, repo.WriteSessionOptions{Purpose: purpose})
	if err != nil {
		return failed(err, "write to %s", r.g.where)
	}
	w.DisableIndexRefresh()
	s := &session{r: r, w: w, m: m, bad: map[content.ID]bool{}, gone: map[content.ID]bool{}, pack: map[blob.ID]packState{}}
	err = f(ctx, s)
	if err == nil {
		err = r.g.check(ctx, true)
	}
	if err == nil {
		err = failed(w.Flush(ctx), "write to %s", r.g.where)
	}
	err = why(err)
	m.mu.Lock()
	r.g.forget(m.packs)
	m.mu.Unlock()
	return errors.Join(err, failed(w.Close(context.WithoutCancel(outer)), "end writing to %s", r.g.where))
}

// lock takes a lock of this machine on a repository. ok is false if somebody
// has it who excludes us.
func (o *opener) lock(unique, name string, how int) (unlock func(), ok bool, err error) {
	dir := filepath.Join(o.Dir, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, false, errkind.Wrap(errkind.Unavailable, err, "make the folder for locks")
	}
	f, err := os.OpenFile(filepath.Join(dir, unique+"."+name), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false, errkind.Wrap(errkind.Unavailable, err, "open a lock")
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, false, nil
		}
		return nil, false, errkind.Wrap(errkind.Unavailable, err, "take a lock")
	}
	return func() { _ = f.Close() }, true, nil
}

// lockWriters lets a maintenance know that somebody writes. A maintenance only
// looks whether somebody does, so the wait is short.
func (o *opener) lockWriters(ctx context.Context, unique string) (unlock func(), err error) {
	for {
		unlock, ok, err := o.lock(unique, "writers", syscall.LOCK_SH)
		if err != nil || ok {
			return unlock, err
		}
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, context.Cause(ctx)
		}
	}
}
