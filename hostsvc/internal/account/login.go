package account

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// refused is the one answer to everybody who has not shown a right password, or
// shows it while the account is locked.
var refused = errkind.New(errkind.Denied, "the log-in is refused: the tenant, the user or the password is wrong, or there were too many attempts: check them, and wait some minutes after several")

// attempt is one log-in and what was found out about it.
type attempt struct {
	caller volspec.Caller // a visitor
	agent  string
	tenant Tenant // zero for the master
	known  bool   // the user exists
	user   User
	hash   string // that replaces the one of the password, "" to keep it
	step   int64  // of the code of the second factor
	err    error  // why it is refused
	audit  string
	guess  bool // it counts towards the lock of the account
}

// Login opens a session for c, a visitor, and returns it with its secret. Where
// the user has a second factor and r has no code, it opens none, and the answer
// says NeedsCode.
func (s *Service) Login(ctx context.Context, c volspec.Caller, r wire.Login, agent string) (wire.Session, string, error) {
	if err := s.Attempt(c.From); err != nil {
		return wire.Session{}, "", err
	}
	r.User = foldName(r.User)
	unlock, err := s.alone(ctx, r.Tenant, r.User)
	if err != nil {
		return wire.Session{}, "", err
	}
	defer unlock()

	a := attempt{caller: c, agent: agent}
	if err := s.find(ctx, &a, r); err != nil {
		return wire.Session{}, "", err
	}
	fits, old, err := s.hasher.verify(ctx, a.user.Body.Password, r.Password)
	if err != nil {
		return wire.Session{}, "", err
	}
	if s.judge(&a, fits, r.Code) {
		return wire.Session{NeedsCode: true}, "", nil
	}
	if old && a.err == nil {
		if a.hash, err = s.hasher.hash(ctx, r.Password); err != nil {
			return wire.Session{}, "", err
		}
	}
	return s.conclude(ctx, a)
}

// alone waits for other log-ins of a user to end. tenant is a name, "" for the
// master.
func (s *Service) alone(ctx context.Context, tenant, user string) (unlock func(), err error) {
	unlock, err = s.logins.Lock(ctx, loginKey{tenant, user})
	return unlock, errkind.Wrap(errkind.Unavailable, err, "too many log-ins of this user: try again")
}

// find reads who wants to log in.
func (s *Service) find(ctx context.Context, a *attempt, r wire.Login) error {
	return s.o.Store.View(ctx, func(tx Tx) (err error) {
		if r.Tenant != "" {
			a.tenant, err = tx.TenantByName(r.Tenant)
		} else {
			a.tenant, err = tx.Tenant("")
		}
		if absent(err) {
			return nil
		}
		if err != nil {
			return err
		}
		a.user, err = tx.UserByName(a.tenant.ID, r.User)
		a.known = err == nil
		if absent(err) {
			return nil
		}
		return err
	})
}

// judge decides on an attempt; needs tells that only a code is missing.
func (s *Service) judge(a *attempt, fits bool, code string) (needs bool) {
	u := &a.user
	switch {
	case !a.known:
		a.err, a.audit = refused, "unknown user"
		return false
	case u.Body.LockedUntil.After(s.now()):
		a.err, a.audit = refused, "locked"
		return false
	case !fits:
		a.err, a.audit, a.guess = refused, "wrong password", true
		return false
	}
	if err := mayEnter(*u, a.tenant); err != nil {
		a.err, a.audit = err, "may not log in"
		return false
	}
	if u.Body.Factor == "" {
		return false
	}
	if code == "" {
		return true
	}
	step, err := s.checkCode(*u, u.Body.Factor, code)
	if err != nil {
		a.err, a.audit, a.guess = err, "wrong code", true
		return false
	}
	a.step = step
	return false
}

// mayEnter says whether somebody who is who it claims to be may act at all.
func mayEnter(u User, t Tenant) error {
	switch {
	case !u.Enabled:
		return errkind.New(errkind.Denied, "the user %s is disabled: ask an administrator to enable it", u.Name)
	case u.Group == "":
		return nil
	case !t.Enabled:
		return errkind.New(errkind.Denied, "the service of tenant %s is disabled: ask its provider", t.Name)
	case u.Role == volspec.TenantGuest && !t.GuestAccess:
		return errkind.New(errkind.Denied, "guests of tenant %s may not log in: ask its administrator to allow guest access", t.Name)
	}
	return nil
}

// conclude records how an attempt ended, and opens the session if it was good.
func (s *Service) conclude(ctx context.Context, a attempt) (wire.Session, string, error) {
	var answer wire.Session
	var out error // why it is refused in the end
	secret := newSecret()
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		out = a.err
		c := a.caller
		if !a.known {
			return s.audit(ctx, tx, c, a.tenant.Name, "login", "unknown", a.audit, out)
		}
		before := a.user
		u, err := tx.User(before.ID)
		if absent(err) {
			out = refused
			return s.audit(ctx, tx, c, a.tenant.Name, "login", before.Name, "removed meanwhile", out)
		}
		if err != nil {
			return err
		}
		if out == nil && (u.Role != before.Role || u.Enabled != before.Enabled || u.Body.Password != before.Body.Password || u.Body.FactorStep != before.Body.FactorStep) {
			return errkind.New(errkind.Unavailable, "the user %s was changed at this moment: log in again", u.Name)
		}
		c.Actor = actorOf(u, a.tenant.Name)
		if out != nil {
			said := a.audit
			if a.guess {
				u.Body.Failures++
				if d := lockFor(u.Body.Failures); d > 0 {
					u.Body.LockedUntil = s.now().Add(d)
					said += ", locked for " + d.String()
				}
				if err := tx.PutUser(u); err != nil {
					return err
				}
			}
			return s.audit(ctx, tx, c, a.tenant.Name, "login", u.Name, said, out)
		}
		u.Body.Password = cmp.Or(a.hash, u.Body.Password)
		if a.step > 0 {
			u.Body.FactorStep = a.step
		}
		answer, err = s.enter(ctx, tx, c, u, a.tenant, secret, a.agent)
		return err
	})
	if err := errors.Join(err, out); err != nil {
		return wire.Session{}, "", err
	}
	return answer, secret, nil
}

// enter opens a session for u.
func (s *Service) enter(ctx context.Context, tx Tx, c volspec.Caller, u User, t Tenant, secret, agent string) (wire.Session, error) {
	now := s.now()
	u.Body.Failures, u.Body.LockedUntil, u.Body.LastLogin = 0, time.Time{}, now
	if err := tx.PutUser(u); err != nil {
		return wire.Session{}, err
	}
	open, err := tx.Sessions(u.ID)
	if err != nil {
		return wire.Session{}, err
	}
	for i := 0; i <= len(open)-maxSessions; i++ {
		if err := s.end(ctx, tx, open[i], "there were too many"); err != nil {
			return wire.Session{}, err
		}
	}
	v := Session{Hash: hashOf(secret), User: u.ID, Expires: now.Add(s.o.Absolute), Body: SessionBody{
		ID: newID(), Created: now, Seen: now, From: c.From, Agent: clip(agent),
	}}
	if err := tx.PutSession(v); err != nil {
		return wire.Session{}, err
	}
	if err := s.audit(ctx, tx, c, t.Name, "login", u.Name, "", nil); err != nil {
		return wire.Session{}, err
	}
	caller := s.callerOf(u, t)
	caller.Session, caller.From = v.Body.ID, c.From
	return s.describe(caller, u, t.Name, v), nil
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	if r := []rune(s); len(r) > 200 {
		return string(r[:200])
	}
	return s
}
