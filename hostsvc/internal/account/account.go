// Package account knows the people who use the service: users of the master and
// of tenants, how they prove who they are, their sessions and tokens.
//
// What a caller may do is read from the catalog at every request: whoever is
// disabled, demoted or removed, or whose vmgroup is disabled, loses it at once,
// in open sessions too. Nobody gives away more than it has, and an installation
// that had an administrator keeps one.
//
// Somebody who does not know a password learns nothing: an unknown tenant, an
// unknown user, a wrong password and a locked account have one answer, after
// the same work.
package account

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/ratelimit"
	"mooring.dev/mooring/pkg/volspec"
)

// Sealer keeps secrets that the service itself must read again. context says
// whose it is; moved to another user it opens nothing.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

// Options are the parts and settings of a Service.
type Options struct {
	Store  Store
	Sealer Sealer
	Holds  func(c volspec.Caller) []string // permissions of a caller
	Given  []string                        // permissions that a user can give to its tokens and to others

	// FirstCode refuses a wrong one-time code of the first visit; nil refuses
	// all.
	FirstCode func(code string) error
	// SetMode makes the installation one with many tenants or a single one; nil
	// leaves it as it is.
	SetMode func(ctx context.Context, c volspec.Caller, mode string) error
	// Brand is the installation's name and whether it has a logo; nil: ours.
	Brand func(ctx context.Context) (product string, logo bool, err error)
	// OIDC tells whether the master's users can log in by a provider; nil: no.
	OIDC func(ctx context.Context) (bool, error)

	Idle     time.Duration    // that ends a session; 0: 30 minutes
	Absolute time.Duration    // life of a session; 0: 12 hours
	Cost     Cost             // of hashing a password; zero: DefaultCost
	Now      func() time.Time // nil: time.Now
}

// Limits of what can be asked.
const (
	loginsPerMinute = 20 // from one address, see ratelimit.Source
	actDefault      = 30 * time.Minute
	actMost         = 240 * time.Minute
	tokenDefault    = 90 // days
	tokenMost       = 365
	maxTokens       = 50          // of one user
	maxSessions     = 20          // of one user; the oldest ends
	noteEvery       = time.Minute // of the last use of sessions and tokens
	sweepEvery      = time.Minute
	auditLimit      = 5 * time.Second // of writing a line whose request may be over
)

// Service is safe for concurrent use.
type Service struct {
	o       Options
	hasher  *hasher
	limiter *ratelimit.Limiter
	logins  keylock.Map[loginKey] // one log-in of an account at a time, so that guesses cannot overtake its lock
}

type loginKey struct{ tenant, user string }

// New makes a service. It starts nothing.
func New(o Options) *Service {
	o.Idle = cmp.Or(o.Idle, 30*time.Minute)
	o.Absolute = cmp.Or(o.Absolute, 12*time.Hour)
	o.Cost = cmp.Or(o.Cost, DefaultCost)
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, hasher: newHasher(o.Cost), limiter: ratelimit.New(loginsPerMinute, o.Now, tooMany)}
}

// Run ends sessions that are over, and acting for tenants, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("ended sessions could not be removed")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Service) now() time.Time { return s.o.Now().UTC() }

// audit is one line about users of the master or, with a name, of a vmgroup.
func (s *Service) audit(ctx context.Context, tx Tx, c volspec.Caller, vmgroup, action, object, detail string, refused error) error {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object = s.now(), vmgroup, action, object
	a.Outcome, a.Detail, a.Request = cmp.Or(string(errkind.Of(refused)), "ok"), detail, log.Request(ctx)
	return tx.AddAudit(a)
}

// refused writes down that a right was refused, whose own transaction was rolled
// back, and returns the refusal. Other errors it only returns.
func (s *Service) refused(ctx context.Context, c volspec.Caller, vmgroup, action, object string, err error) error {
	if !errkind.Is(err, errkind.Denied) {
		return err
	}
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditLimit)
	defer cancel()
	e := s.o.Store.Update(late, func(tx Tx) error { return s.audit(ctx, tx, c, vmgroup, action, object, errkind.Text(err), err) })
	if e != nil {
		log.G(ctx).WithField(log.Err, e.Error()).Error("audit line was not written")
	}
	return err
}

// tenantName is the name of a vmgroup now, "" for the master.
func tenantName(tx Tx, g volspec.VMGroupID) (string, error) {
	if g == "" {
		return "", nil
	}
	t, err := tx.Tenant(g)
	return t.Name, err
}
