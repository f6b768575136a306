package kopia

import (
	"context"
	"crypto/hmac"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/volspec"
)

// Repository is an open repository. It implements the contract.
type Repository struct {
	o        *opener
	g        *guard
	kopia    repo.DirectRepository
	identity repository.Identity
	maker    string // installation that made it
	dir      string // of this opening
	hash     *hasher
	unseal   *unsealer
	clock    *clock
	writing  keylock.Map[volspec.PointID]

	manifests manifestCache
	noting    sync.Mutex // held while the note of damage is changed

	mu           sync.Mutex // guards the rest up to the next gap
	refreshed    time.Time  // when a missing content made us read the indexes
	zeroSegments map[int64]object.ID

	cancel func()       // of the context that kopia was opened with
	users  atomic.Int64 // what still uses kopia: its indexes are mapped memory
	closed atomic.Bool
	once   sync.Once
	end    error // of closing; written once
}

var _ repository.Repository = (*Repository)(nil)

// guarded opens the storage of a place, with everything that is around it.
func (o *opener) guarded(ctx context.Context, p repository.Place, create bool) (*guard, error) {
	st, err := storage(ctx, p, o.Guard, create)
	if err != nil {
		k := kindOf(err)
		if k == errkind.Unavailable && !create {
			k = errkind.Offline
		}
		if diagnose(err) == forbidden {
			k = errkind.Denied
		}
		return nil, errkind.Wrap(k, err, "%s is not there", place(p.Location))
	}
	if o.Wrap != nil {
		st = o.Wrap(st)
	}
	return o.newGuard(st, p.Location), nil
}

func (o *opener) temp() (string, error) {
	parent := filepath.Join(o.Dir, "open")
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "make a folder for an open repository")
	}
	dir, err := os.MkdirTemp(parent, "r-")
	return dir, errkind.Wrap(errkind.Unavailable, err, "make a folder for an open repository")
}

// Open opens a repository. The place is looked at before anything is written:
// see identity.go.
func (o *opener) Open(ctx context.Context, p repository.Place, key string, want volspec.RepositoryID) (repository.Repository, error) {
	g, err := o.guarded(ctx, p, false)
	if err != nil {
		return nil, err
	}
	r, err := o.open(ctx, g, key, want)
	if err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	return r, nil
}

func (o *opener) open(ctx context.Context, g *guard, key string, want volspec.RepositoryID) (_ *Repository, err error) {
	file, err := g.look(ctx, want)
	if err != nil {
		return nil, err
	}
	dir, err := o.temp()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(dir)
		}
	}()
	now := &clock{real: o.Now}
	inner, why, cancel := stoppable(ctx)
	defer func() {
		if err != nil {
			cancel()
		}
	}()
	k, err := o.openKopia(inner, unclosed{g}, key, dir, o.cache(file.Identity.Unique), now)
	err = why(err)
	if errors.Is(err, format.ErrInvalidPassword) {
		return nil, errkind.New(errkind.WrongKey, "the key does not open the repository in %s", g.where)
	}
	if err != nil {
		return nil, failed(err, "open the repository in %s", g.where)
	}
	k.DisableIndexRefresh() // we say when: see fresh
	r := &Repository{o: o, g: g, cancel: cancel, kopia: k, identity: file.Identity, maker: file.Owner, dir: dir, clock: now, zeroSegments: map[int64]object.ID{}}
	r.users.Store(1)
	var s string
	sealKey, err := k.DeriveKey(sealPurpose, sealKeyLength)
	if err == nil {
		s, err = seal(sealKey, file.Identity)
	}
	if err == nil && !hmac.Equal([]byte(s), []byte(file.Seal)) {
		err = errkind.New(errkind.Offline, "the identity of %s was changed by somebody without its key: nothing was written to it", g.where)
	}
	if err == nil {
		err = g.probe(ctx)
	}
	if err == nil {
		r.hash, err = newHasher(k.FormatManager())
	}
	if err == nil {
		r.unseal, err = newUnsealer(k.FormatManager())
	}
	if err != nil {
		return nil, errors.Join(err, k.Close(ctx))
	}
	return r, nil
}

// cache is the folder for copies of a repository's indexes.
func (o *opener) cache(unique string) string { return filepath.Join(o.Dir, "cache", unique) }

// Identity is that of the repository.
func (r *Repository) Identity() repository.Identity { return r.identity }

// use keeps the repository open until done is called.
func (r *Repository) use() (done func(), err error) {
	r.users.Add(1)
	if r.closed.Load() {
		r.release()
		return nil, errkind.New(errkind.Unavailable, "the repository was closed meanwhile: repeat it")
	}
	return r.release, nil
}

func (r *Repository) release() {
	if r.users.Add(-1) > 0 {
		return
	}
	r.once.Do(func() {
		ctx := context.Background() // nobody waits any more, and nothing of it blocks
		r.end = errors.Join(r.kopia.Close(ctx), r.g.Close(ctx), os.RemoveAll(r.dir))
		r.cancel()
	})
}

// Close ends the use. Work that is under way ends first, in its own time;
// images stay readable until they are closed. Again is nil.
func (r *Repository) Close(context.Context) error {
	if r.closed.Swap(true) {
		return nil
	}
	r.release()
	if r.users.Load() > 0 {
		return nil
	}
	return errkind.Wrap(errkind.Unavailable, r.end, "close the repository in %s", r.g.where)
}

// fresh makes what other processes wrote visible.
func (r *Repository) fresh(ctx context.Context) error {
	ctx, why, cancel := stoppable(ctx)
	defer cancel()
	if err := r.g.check(ctx, false); err != nil {
		return err
	}
	return failed(why(r.kopia.Refresh(ctx)), "read the indexes of %s", r.g.where)
}
