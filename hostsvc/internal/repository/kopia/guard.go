package kopia

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo/blob"

	"mooring.dev/mooring/pkg/image"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// guard is the storage that kopia sees. It gives errors a kind, repeats what
// is worth repeating, counts and limits what is written, and lets nothing be
// written or deleted in a place that does not show the identity any more.
type guard struct {
	blob.Storage
	where    string
	local    bool        // a look at the identity costs nothing
	up, down *image.Pace // of all repositories together
	identity []byte      // as the blob was when the place was opened; nil: not known yet
	readOnly atomic.Bool

	mu      sync.Mutex // guards the rest
	checked time.Time  // when the identity was last seen
	packs   map[blob.ID]bool
}

// checkEvery is how long a look at the identity is good for where it costs a
// request. A folder is looked at each time: a mount can go in a moment.
const checkEvery = 10 * time.Second

func (o *opener) newGuard(st blob.Storage, l repository.Location) *guard {
	return &guard{up: &o.up, down: &o.down, Storage: st, where: place(l), local: l.Type == repository.Directory, packs: map[blob.ID]bool{}}
}

type creatingKey struct{}

// creating reports whether the place is being made: then it has no identity.
func creating(ctx context.Context) bool { return ctx.Value(creatingKey{}) != nil }

// check looks whether the place still is the one that was opened.
func (g *guard) check(ctx context.Context, fresh bool) error {
	if creating(ctx) {
		return nil
	}
	if !g.local && !fresh {
		g.mu.Lock()
		recent := time.Since(g.checked) < checkEvery
		g.mu.Unlock()
		if recent {
			return nil
		}
	}
	var now buffer
	err := g.GetBlob(ctx, identityBlob, 0, -1, &now)
	switch {
	case errors.Is(err, blob.ErrBlobNotFound):
		return errkind.New(errkind.Offline, "%s does not show its identity any more: it was emptied, replaced or is not mounted; nothing is written to it", g.where)
	case err != nil:
		return err
	case !bytes.Equal(now.Bytes(), g.identity):
		return errkind.New(errkind.Offline, "%s shows the identity of another repository: nothing is written to it", g.where)
	}
	g.mu.Lock()
	g.checked = time.Now()
	g.mu.Unlock()
	return nil
}

func (g *guard) writable(ctx context.Context) error {
	if g.readOnly.Load() {
		return errkind.Wrap(errkind.Unavailable, errReadOnly, "%s cannot be written", g.where)
	}
	return g.check(ctx, false)
}

// PutBlob writes a blob.
func (g *guard) PutBlob(ctx context.Context, id blob.ID, data blob.Bytes, o blob.PutOptions) error {
	if err := g.writable(ctx); err != nil {
		return err
	}
	size := int64(data.Length())
	m := meterOf(ctx)
	if err := errors.Join(m.wait(ctx, size), g.up.Wait(ctx, size)); err != nil {
		return err
	}
	if m != nil && isPack(id) {
		g.mu.Lock()
		g.packs[id] = true
		g.mu.Unlock()
		m.packed(id)
	}
	err := repeat(ctx, func() error { return g.Storage.PutBlob(ctx, id, data, o) })
	if err == nil {
		m.add(size)
		return nil
	}
	switch diagnose(err) {
	case full:
		return errkind.Wrap(errkind.Quota, err, "%s is full: make room or delete recovery points, and run the maintenance", g.where)
	case forbidden:
		return errkind.Wrap(errkind.Unavailable, err, "%s does not let us write", g.where)
	case ended, transient, absent, final:
	}
	return errkind.Wrap(kindOf(err), err, "%s could not be written", g.where)
}

func isPack(id blob.ID) bool { return id != "" && (id[0] == 'p' || id[0] == 'q') }

// forget ends the protection of packs of a session that has ended.
func (g *guard) forget(ids []blob.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		delete(g.packs, id)
	}
}

// DeleteBlob removes a blob. Those of a backup that is running stay, whatever
// the clock says about their age.
func (g *guard) DeleteBlob(ctx context.Context, id blob.ID) error {
	if err := g.writable(ctx); err != nil {
		return err
	}
	g.mu.Lock()
	kept := g.packs[id] || id == identityBlob
	g.mu.Unlock()
	if kept {
		return nil
	}
	err := repeat(ctx, func() error { return g.Storage.DeleteBlob(ctx, id) })
	return errkind.Wrap(kindOf(err), err, "%s could not be cleaned", g.where)
}

// GetBlob reads a blob.
func (g *guard) GetBlob(ctx context.Context, id blob.ID, offset, length int64, out blob.OutputBuffer) error {
	err := g.read(repeat(ctx, func() error { out.Reset(); return g.Storage.GetBlob(ctx, id, offset, length, out) }))
	if err == nil && isPack(id) {
		err = g.down.Wait(ctx, int64(out.Length()))
	}
	return err
}

// GetMetadata is length and time of a blob.
func (g *guard) GetMetadata(ctx context.Context, id blob.ID) (m blob.Metadata, err error) {
	err = repeat(ctx, func() (err error) { m, err = g.Storage.GetMetadata(ctx, id); return err })
	return m, g.read(err)
}

// ListBlobs lists blobs. Packs are many and told of as they come; a list of
// others is tried again before anybody hears of it. When it fails for good,
// the work that wanted it is stopped: kopia would ask again for ever.
func (g *guard) ListBlobs(ctx context.Context, prefix blob.ID, f func(blob.Metadata) error) error {
	if prefix == "" || isPack(prefix) {
		return g.list(ctx, prefix, f)
	}
	var all []blob.Metadata
	err := repeat(ctx, func() error {
		all = all[:0]
		return g.Storage.ListBlobs(ctx, prefix, func(m blob.Metadata) error { all = append(all, m); return nil })
	})
	if err = g.read(err); err != nil {
		stop(ctx, err)
		return err
	}
	for _, m := range all {
		if err := f(m); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) list(ctx context.Context, prefix blob.ID, f func(blob.Metadata) error) error {
	var own error // of f: not the storage's
	err := g.Storage.ListBlobs(ctx, prefix, func(m blob.Metadata) error { own = f(m); return own })
	if err != nil && own == nil {
		err = g.read(err)
		stop(ctx, err)
	}
	return err
}

type stopKey struct{}

// stoppable is a context that the guard can end: see ListBlobs. why gives the
// reason for it in place of err, if that is why err came.
func stoppable(ctx context.Context) (inner context.Context, why func(err error) error, cancel func()) {
	outer := ctx
	ctx, end := context.WithCancelCause(ctx)
	why = func(err error) error {
		if c := context.Cause(ctx); err != nil && outer.Err() == nil && c != nil && !errors.Is(c, context.Canceled) {
			return c
		}
		return err
	}
	return context.WithValue(ctx, stopKey{}, end), why, func() { end(nil) }
}

func stop(ctx context.Context, err error) {
	if end, ok := ctx.Value(stopKey{}).(context.CancelCauseFunc); ok {
		end(err)
	}
}

// read leaves alone what kopia wants to recognise.
func (g *guard) read(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, blob.ErrBlobNotFound):
		return blob.ErrBlobNotFound
	case errors.Is(err, blob.ErrInvalidRange):
		return blob.ErrInvalidRange
	case diagnose(err) == ended:
		return err
	}
	return errkind.Wrap(kindOf(err), err, "%s could not be read", g.where)
}

// IsReadOnly tells kopia not to try.
func (g *guard) IsReadOnly() bool { return g.readOnly.Load() }

// probe finds out whether the place can be written, by writing what is there.
func (g *guard) probe(ctx context.Context) error {
	err := repeat(ctx, func() error {
		return g.Storage.PutBlob(ctx, accessBlob, data([]byte("This repository can be written.\n")), blob.PutOptions{})
	})
	switch {
	case err == nil:
	case diagnose(err) == forbidden:
		g.readOnly.Store(true)
	case diagnose(err) == full: // reading works, and a maintenance can make room
	default:
		return errkind.Wrap(kindOf(err), err, "%s could not be written", g.where)
	}
	return nil
}

// repeat tries again what may be better the next time.
func repeat(ctx context.Context, f func() error) error {
	for pause := 200 * time.Millisecond; ; pause *= 3 {
		err := f()
		if err == nil || diagnose(err) != transient || pause > 6*time.Second {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
