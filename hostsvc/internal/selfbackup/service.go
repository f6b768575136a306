// Package selfbackup backs the service itself up: copies of the catalog, of the
// master key, of the authorities and of the configuration go to a repository of
// their own, once a day. With a kit, which an administrator keeps elsewhere, and
// that repository an empty machine becomes the same service again.
package selfbackup

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Catalog is what is copied.
type Catalog interface {
	// Dump writes all of it as it is at one moment, and counts its rows.
	Dump(ctx context.Context, w io.Writer) (rows int64, err error)
}

// Keyring seals the key of the repository.
type Keyring interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
	NewPassword() string
}

// Alarm says whether the copies fail.
type Alarm interface {
	Raise(ctx context.Context, sentence string) error
	Clear(ctx context.Context, sentence string) error
}

// Options are the parts and settings of a Service.
type Options struct {
	Store   Store
	Catalog Catalog
	Keyring Keyring
	Opener  repository.Opener
	Alarm   Alarm
	// Place is where the copies go; without a type there are none. Address names
	// it for people, and tells it from others.
	Place   repository.Place
	Address string
	Every   time.Duration
	Keep    int
	// Files are what the service needs beside its catalog.
	Files   func() ([]File, error)
	Scratch string // a folder of this package
	Build   string // of the program
}

// Service makes the copies.
type Service struct {
	o    Options
	kick chan struct{}

	mu   sync.Mutex // guards wait
	wait []chan error
}

// New makes a service that does nothing until it runs.
func New(o Options) *Service { return &Service{o: o, kick: make(chan struct{}, 1)} }

func (s *Service) off() bool { return s.o.Place.Location.Type == "" }

var errOff = errkind.New(errkind.Unsupported, "the catalog is not backed up: name a place in [backup.self] of the configuration and restart mooringd")

const (
	lookPause  = time.Minute
	retryPause = 15 * time.Minute // after an attempt that failed, or whose process died
)

// Run makes a copy whenever one is due, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	if s.off() {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(lookPause)
	defer tick.Stop()
	for ctx.Err() == nil {
		waiting := s.waiting()
		err := s.turn(ctx, len(waiting) > 0)
		if err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Error("the catalog cannot be backed up")
		}
		for _, w := range waiting {
			w <- err
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		case <-s.kick:
		}
	}
	for _, w := range s.waiting() {
		w <- errkind.New(errkind.Unavailable, "mooringd is stopping: the catalog is backed up when it runs again")
	}
	return nil
}

func (s *Service) waiting() []chan error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.wait
	s.wait = nil
	return all
}

// turn makes a copy if one is due, or asked for. Of several processes only the
// one that says so first makes it.
func (s *Service) turn(ctx context.Context, asked bool) error {
	mine := false
	_, err := s.change(ctx, func(_ Tx, st *state) error {
		now := time.Now()
		mine = asked || !now.Before(s.next(*st))
		if mine {
			st.Tried = now.UTC()
		}
		return nil
	})
	if err != nil || !mine {
		return err
	}
	err = s.backUp(ctx)
	if ctx.Err() != nil {
		return err // it was not let
	}
	return errors.Join(err, s.tell(ctx, err))
}

// next is when a copy is due.
func (s *Service) next(st state) time.Time {
	due := st.Done.Add(s.o.Every)
	if again := st.Tried.Add(retryPause); st.Tried.After(st.Done) && again.After(due) {
		return again
	}
	return due
}

// tell records how an attempt ended.
func (s *Service) tell(ctx context.Context, err error) error {
	_, e := s.change(ctx, func(_ Tx, st *state) error {
		st.Error = ""
		if err == nil {
			st.Done = time.Now().UTC()
		} else {
			st.Error = errkind.Text(err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(e, s.o.Alarm.Raise(ctx, "the catalog is not backed up: "+errkind.Text(err)))
	}
	return errors.Join(e, s.o.Alarm.Clear(ctx, "the catalog is backed up again"))
}

// Now makes a copy now, and waits for it.
func (s *Service) Now(ctx context.Context, c volspec.Caller) (wire.SelfBackup, error) {
	if s.off() {
		return wire.SelfBackup{}, errOff
	}
	done := make(chan error, 1)
	s.mu.Lock()
	s.wait = append(s.wait, done)
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // it will look again anyway
	}
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = errkind.New(errkind.Unavailable, "the catalog is still being backed up: `mooring self-backup ls` shows the copy when it is there")
	}
	if e := s.audit(context.WithoutCancel(ctx), c, "self-backup now", err); err == nil {
		err = e
	}
	if err != nil {
		return wire.SelfBackup{}, err
	}
	return s.Show(ctx)
}

func (s *Service) audit(ctx context.Context, c volspec.Caller, action string, err error) error {
	return s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(line(ctx, c, action, err)) })
}

func line(ctx context.Context, c volspec.Caller, action string, err error) volspec.Audit {
	a := c.Audited()
	a.Time, a.Action, a.Object, a.Outcome, a.Request = time.Now(), action, "catalog", "ok", log.Request(ctx)
	if err != nil {
		a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	}
	return a
}
