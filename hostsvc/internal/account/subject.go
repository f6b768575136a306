package account

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Subject is who a provider of OpenID Connect says has logged in.
type Subject struct {
	Group   volspec.VMGroupID // whose provider it is, "" for the master's
	Subject string            // issuer and subject, which never change
	Name    string
	Email   string
	Role    volspec.Role // of a user that is made now; "": none is made
}

// LoginSubject opens a session for somebody whom a provider has named. A user is
// found by its subject alone: names and addresses can be used again.
func (s *Service) LoginSubject(ctx context.Context, c volspec.Caller, r Subject, agent string) (wire.Session, string, error) {
	a := attempt{caller: c, agent: agent}
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if r.Group != "" {
			if a.tenant, err = tx.Tenant(r.Group); err != nil {
				return err
			}
		}
		a.user, err = tx.UserBySubject(a.tenant.ID, r.Subject)
		a.known = err == nil
		if absent(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return wire.Session{}, "", err
	}
	if !a.known {
		if a.user, err = s.adopt(ctx, c, a.tenant, r); err != nil {
			return wire.Session{}, "", err
		}
		a.known = true
	}
	if a.err = mayEnter(a.user, a.tenant); a.err != nil {
		a.audit = "may not log in"
	}
	return s.conclude(ctx, a)
}

// adopt makes the user of a subject that is new.
func (s *Service) adopt(ctx context.Context, c volspec.Caller, t Tenant, r Subject) (User, error) {
	if r.Role == "" {
		err := errkind.New(errkind.Denied, "your provider knows you as %q, but there is no such user here: ask an administrator", clip(r.Name))
		return User{}, s.refuseSubject(ctx, c, t, err)
	}
	u, _, err := s.newUser(ctx, t.ID, wire.CreateUser{Name: r.Name, Role: r.Role, Email: r.Email})
	if err != nil {
		return User{}, err
	}
	u.Subject, u.Body.Password, u.Body.MustChange = r.Subject, "", false
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, t.Name, "user.create", u.Name, "by the OIDC provider, role "+string(u.Role), nil)
	})
	if errkind.Is(err, errkind.Exists) {
		err = errkind.New(errkind.Denied, "a user %s exists already and does not log in by the provider: ask an administrator to remove or rename one of them", u.Name)
		return User{}, s.refuseSubject(ctx, c, t, err)
	}
	return u, err
}

func (s *Service) refuseSubject(ctx context.Context, c volspec.Caller, t Tenant, refused error) error {
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		return s.audit(ctx, tx, c, t.Name, "login", "unknown", "by the OIDC provider", refused)
	})
	if err != nil {
		return err
	}
	return refused
}
