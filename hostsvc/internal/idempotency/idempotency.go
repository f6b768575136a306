// Package idempotency remembers the answers to requests that carry an
// idempotency key, so that a repeat has no second effect and gets the same
// answer; as draft-ietf-httpapi-idempotency-key-header describes it.
package idempotency

import (
	"context"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// Record is one key of one caller. Answer is sealed, since some answers hold
// secrets; "" while the first request is being worked on.
type Record struct {
	Caller, Key string
	Request     string // hash of what was asked
	Answer      string
	Expires     time.Time
}

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction.
type Tx interface {
	// RememberedAnswer finds a record; absent: errkind.NotFound.
	RememberedAnswer(caller, key string) (Record, error)
	PutRememberedAnswer(r Record) error              // inserts or replaces by caller and key
	DeleteRememberedAnswer(caller, key string) error // absent: nil
	// ForgetAnswers removes what expired before a time, and tells how many.
	ForgetAnswers(before time.Time) (int64, error)
}

// Sealer keeps answers secret on disk.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

// Options are the parts and times of a Keys.
type Options struct {
	Store  Store
	Sealer Sealer
	Keep   time.Duration // how long an answer is remembered; 0: a day
	Work   time.Duration // longest work on one request: after it, a request without an answer counts as lost; 0: 5 minutes
	Now    func() time.Time
}

// Keys remembers answers. It is safe for concurrent use, also by several
// processes on one catalog.
type Keys struct{ o Options }

// New returns a Keys.
func New(o Options) *Keys {
	if o.Keep == 0 {
		o.Keep = 24 * time.Hour
	}
	if o.Work == 0 {
		o.Work = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keys{o}
}

// maxKey is the longest key in bytes.
const maxKey = 255

// Begin takes a key for a request. done means that it was answered before, with
// answer. A key that was used for another request is invalid, one whose first
// request is still worked on in-use. Without an error and not done, the caller
// does the work and ends with Finish or Abandon.
func (k *Keys) Begin(ctx context.Context, caller, key, request string) (answer []byte, done bool, err error) {
	if len(key) > maxKey {
		return nil, false, errkind.New(errkind.Invalid, "the idempotency key is longer than %d characters: use a shorter one, such as a UUID", maxKey)
	}
	if strings.ContainsFunc(key, func(c rune) bool { return c < ' ' || c > '~' }) {
		return nil, false, errkind.New(errkind.Invalid, "the idempotency key has characters other than those of ASCII that can be printed: use a UUID, for instance")
	}
	now := k.o.Now()
	var found Record
	err = k.o.Store.Update(ctx, func(tx Tx) error {
		done = false
		r, err := tx.RememberedAnswer(caller, key)
		switch {
		case errkind.Is(err, errkind.NotFound):
		case err != nil:
			return err
		case r.Expires.Before(now):
		case r.Request != request:
			return errkind.New(errkind.Invalid, "the idempotency key was used for another request: use a new one for each")
		case r.Answer == "":
			return errkind.New(errkind.InUse, "the first request with this idempotency key is still being worked on: repeat it in a moment")
		default:
			found, done = r, true
			return nil
		}
		return tx.PutRememberedAnswer(Record{Caller: caller, Key: key, Request: request, Expires: now.Add(k.o.Work)})
	})
	if err != nil || !done {
		return nil, false, err
	}
	answer, err = k.o.Sealer.Open(found.Answer, about(caller, key))
	return answer, true, err
}

// Finish remembers the answer.
func (k *Keys) Finish(ctx context.Context, caller, key, request string, answer []byte) error {
	sealed, err := k.o.Sealer.Seal(answer, about(caller, key))
	if err != nil {
		return err
	}
	return k.o.Store.Update(ctx, func(tx Tx) error {
		return tx.PutRememberedAnswer(Record{Caller: caller, Key: key, Request: request, Answer: sealed, Expires: k.o.Now().Add(k.o.Keep)})
	})
}

// Abandon lets go of a key whose request was refused: a refusal changes
// nothing, and the next attempt may be granted.
func (k *Keys) Abandon(ctx context.Context, caller, key string) error {
	return k.o.Store.Update(ctx, func(tx Tx) error { return tx.DeleteRememberedAnswer(caller, key) })
}

// Run forgets what has expired, once an hour, until ctx ends.
func (k *Keys) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		err := k.o.Store.Update(ctx, func(tx Tx) error {
			_, err := tx.ForgetAnswers(k.o.Now())
			return err
		})
		if err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("old answers cannot be forgotten now")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// about binds a sealed answer to its key: it opens nowhere else.
func about(caller, key string) string { return "answer to " + caller + " under " + key }
