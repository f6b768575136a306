package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// newSecret is that of a session.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return base64.RawURLEncoding.EncodeToString(b)
}

// newID names a session or a token; it is not secret.
func newID() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b)
}

// hashOf is what the catalog keeps of a secret. Secrets are long and random, so
// that a fast hash is enough.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CSRF is what requests that change something must show beside a session's
// cookie: pages of other sites cannot know it.
func CSRF(secret string) string { return csrfOf(hashOf(secret)) }

func csrfOf(hash string) string {
	m := hmac.New(sha256.New, []byte(hash))
	m.Write([]byte("mooring csrf 1")) // never fails
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// ended is said of a session that is over.
var ended = errkind.New(errkind.Denied, "the session has ended: log in again")

// BySession is the caller who shows the secret of a session, as the catalog
// knows it now. An unknown or ended session, and one of somebody who may not
// act any more, is denied.
func (s *Service) BySession(ctx context.Context, secret, from string) (volspec.Caller, error) {
	c, _, note, err := s.lookSession(ctx, hashOf(secret))
	if err != nil || !note {
		c.From = from
		return c, err
	}
	// Its last use is to be written, or its acting for a tenant to be ended.
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		c, v, _, err := s.session(tx, hashOf(secret))
		if err != nil {
			return err
		}
		now := s.now()
		v.Body.Seen = now
		if overdue(v, now) {
			if err := s.endActing(ctx, tx, c, &v, "time is over"); err != nil {
				return err
			}
		}
		return tx.PutSession(v)
	})
	if err == nil {
		c, _, _, err = s.lookSession(ctx, hashOf(secret))
	}
	c.From = from
	return c, err
}

func (s *Service) lookSession(ctx context.Context, hash string) (c volspec.Caller, v Session, note bool, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		c, v, note, err = s.session(tx, hash)
		return err
	})
	return c, v, note, err
}

func overdue(v Session, now time.Time) bool { return v.Body.As != "" && !now.Before(v.Body.AsUntil) }

// session reads a session with everything that decides about it.
func (s *Service) session(tx Tx, hash string) (c volspec.Caller, v Session, note bool, err error) {
	v, err = tx.Session(hash)
	if absent(err) {
		return c, v, false, ended
	}
	if err != nil {
		return c, v, false, err
	}
	now := s.now()
	if !now.Before(s.endOf(v)) {
		return c, v, false, ended
	}
	u, t, err := s.who(tx, v.User)
	if err != nil {
		return c, v, false, err
	}
	c = s.callerOf(u, t)
	if v.Body.As != "" && u.Group == "" && now.Before(v.Body.AsUntil) {
		as, err := tx.Tenant(v.Body.As)
		switch {
		case absent(err): // the tenant is gone, and so is the acting
		case err != nil:
			return c, v, false, err
		default:
			c = actingFor(c, as)
		}
	}
	c.Session = v.Body.ID
	return c, v, now.Sub(v.Body.Seen) >= noteEvery || overdue(v, now), nil
}

// who reads a user who may act, and its vmgroup.
func (s *Service) who(tx Tx, id volspec.UserID) (u User, t Tenant, err error) {
	if u, err = tx.User(id); absent(err) {
		return u, t, ended
	}
	if err != nil {
		return u, t, err
	}
	if t, err = tx.Tenant(u.Group); absent(err) {
		return u, t, ended
	}
	if err != nil {
		return u, t, err
	}
	return u, t, mayEnter(u, t)
}

// endOf is when a session ends if nothing is done in it.
func (s *Service) endOf(v Session) time.Time {
	if idle := v.Body.Seen.Add(s.o.Idle); idle.Before(v.Expires) {
		return idle
	}
	return v.Expires
}

// callerOf is what a user may do by itself.
func (s *Service) callerOf(u User, t Tenant) volspec.Caller {
	c := volspec.Caller{Role: u.Role, User: u.ID, Actor: actorOf(u, t.Name), MustChange: u.Body.MustChange, MustFactor: factorRequired(u, t) && u.Body.Factor == ""}
	if u.Group == "" {
		c.Admin = true
		return c
	}
	c.Group, c.GroupName, c.GuestFiles = t.ID, t.Name, t.GuestFiles
	return c
}

// actingFor makes c, of a user of the master, one who acts for a tenant: a
// viewer looks there as well.
func actingFor(c volspec.Caller, t Tenant) volspec.Caller {
	role := volspec.TenantGuest
	if c.Role == volspec.MasterAdmin {
		role = volspec.TenantAdmin
	}
	c.Admin, c.Role, c.Group, c.GroupName, c.As = false, role, t.ID, t.Name, t.Name
	return c
}

func actorOf(u User, tenant string) string {
	if u.Group == "" {
		return "user:" + u.Name
	}
	return "user:" + tenant + "/" + u.Name
}

// Logout ends the session of the caller.
func (s *Service) Logout(ctx context.Context, c volspec.Caller) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		u, v, err := s.own(tx, c)
		if err != nil {
			return err
		}
		if err := s.end(ctx, tx, v, "logged out"); err != nil {
			return err
		}
		name, err := tenantName(tx, u.Group)
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, c, name, "logout", u.Name, "", nil)
	})
}

// end removes a session; what was done for a tenant in it ends, too.
func (s *Service) end(ctx context.Context, tx Tx, v Session, why string) error {
	if v.Body.As != "" {
		u, err := tx.User(v.User)
		if err != nil {
			return err
		}
		if err := s.endActing(ctx, tx, volspec.Caller{Actor: actorOf(u, ""), From: v.Body.From}, &v, why); err != nil {
			return err
		}
	}
	return tx.DeleteSession(v.Hash)
}

// own reads the user and the session of a caller who shows one.
func (s *Service) own(tx Tx, c volspec.Caller) (User, Session, error) {
	if c.User == "" || c.Session == "" {
		return User{}, Session{}, noSession
	}
	u, err := tx.User(c.User)
	if err != nil {
		return User{}, Session{}, err
	}
	v, err := s.sessionOf(tx, c.User, c.Session)
	return u, v, err
}

var noSession = errkind.New(errkind.Unsupported, "this belongs to a session, and there is none: log in with a name and a password over HTTPS")

func (s *Service) sessionOf(tx Tx, user volspec.UserID, id string) (Session, error) {
	all, err := tx.Sessions(user)
	if err != nil {
		return Session{}, err
	}
	for _, v := range all {
		if v.Body.ID == id {
			return v, nil
		}
	}
	return Session{}, errkind.New(errkind.NotFound, "Session %s does not exist", id)
}

// Session describes who the caller is.
func (s *Service) Session(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	if c.User == "" {
		return wire.Session{User: c.Actor, Role: c.Role, Permissions: s.o.Holds(c)}, nil
	}
	var answer wire.Session
	err := s.o.Store.View(ctx, func(tx Tx) error {
		u, err := tx.User(c.User)
		if err != nil {
			return err
		}
		name, err := tenantName(tx, u.Group)
		if err != nil {
			return err
		}
		var v Session
		if c.Session != "" {
			if v, err = s.sessionOf(tx, u.ID, c.Session); err != nil {
				return err
			}
		}
		answer = s.describe(c, u, name, v)
		if c.Token != "" {
			k, err := s.tokenByID(tx, c)
			answer.Expires = k.Expires
			return err
		}
		return nil
	})
	return answer, err
}

// describe is what a caller is told of itself; v is zero for a token.
func (s *Service) describe(c volspec.Caller, u User, tenant string, v Session) wire.Session {
	w := wire.Session{
		User: u.Name, Tenant: tenant, Role: c.Role, As: c.As, Permissions: s.o.Holds(c), Zone: u.Body.Zone, Email: u.Body.Email,
		MustChange: u.Body.MustChange, MustFactor: c.MustFactor, TOTP: u.Body.Factor != "",
	}
	if v.Hash != "" {
		w.CSRF, w.Expires = csrfOf(v.Hash), s.endOf(v)
	}
	if c.As != "" {
		w.AsUntil = v.Body.AsUntil
	}
	return w
}

// Sessions lists the caller's own.
func (s *Service) Sessions(ctx context.Context, c volspec.Caller) (answer []wire.OpenSession, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Sessions(c.User)
		if c.User == "" || err != nil {
			return err
		}
		for _, v := range all {
			if s.now().Before(s.endOf(v)) {
				answer = append(answer, wire.OpenSession{
					ID: v.Body.ID, Created: v.Body.Created, Seen: v.Body.Seen, Expires: s.endOf(v),
					From: v.Body.From, Agent: v.Body.Agent, Current: v.Body.ID == c.Session,
				})
			}
		}
		return nil
	})
	return answer, err
}

// EndSession ends one of the caller's own.
func (s *Service) EndSession(ctx context.Context, c volspec.Caller, id string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if c.User == "" {
			return noSession
		}
		u, err := tx.User(c.User)
		if err != nil {
			return err
		}
		v, err := s.sessionOf(tx, c.User, id)
		if err != nil {
			return err
		}
		if err := s.end(ctx, tx, v, "the session was ended"); err != nil {
			return err
		}
		name, err := tenantName(tx, u.Group)
		if err != nil {
			return err
		}
		return s.audit(ctx, tx, c, name, "session.end", u.Name, "", nil)
	})
}

// endOthers ends all sessions of u, but for the one with the id keep.
func (s *Service) endOthers(ctx context.Context, tx Tx, u volspec.UserID, keep, why string) error {
	all, err := tx.Sessions(u)
	if err != nil {
		return err
	}
	for _, v := range all {
		if v.Body.ID != keep {
			if err := s.end(ctx, tx, v, why); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep removes what is over.
func (s *Service) sweep(ctx context.Context) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.Sessions("")
		if err != nil {
			return err
		}
		now := s.now()
		for _, v := range all {
			switch {
			case !now.Before(s.endOf(v)):
				err = s.end(ctx, tx, v, "the session was over")
			case overdue(v, now):
				var u User
				if u, err = tx.User(v.User); err == nil {
					if err = s.endActing(ctx, tx, volspec.Caller{Actor: actorOf(u, ""), From: v.Body.From}, &v, "time is over"); err == nil {
						err = tx.PutSession(v)
					}
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Still refuses a caller who is not any more what it was when its request came.
func (s *Service) Still(ctx context.Context, c volspec.Caller) error {
	if c.User == "" {
		return nil
	}
	var now volspec.Caller
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if c.Token != "" {
			k, err := s.tokenByID(tx, c)
			if err == nil {
				now, _, err = s.token(tx, k.Hash)
			}
			return err
		}
		v, err := s.sessionOf(tx, c.User, c.Session)
		if absent(err) {
			return ended
		}
		if err == nil {
			now, _, _, err = s.session(tx, v.Hash)
		}
		return err
	})
	if err != nil {
		return err
	}
	now.From = c.From
	if now != c {
		return errkind.New(errkind.Denied, "what you may do has changed meanwhile: repeat the request")
	}
	return nil
}
