package account

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// haveUsers is said when the master has users already.
var haveUsers = errkind.New(errkind.Exists, "the first administrator exists already: log in, or let one of them make you a user")

// NeedsFirst tells whether the master has no user yet.
func (s *Service) NeedsFirst(ctx context.Context) (bool, error) {
	n := 0
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Users("")
		n = len(all)
		return err
	})
	return n == 0, err
}

// FirstVisit is FirstAdmin for a visitor with the one-time code, who is logged
// in with it.
func (s *Service) FirstVisit(ctx context.Context, c volspec.Caller, r wire.FirstAdmin, agent string) (wire.Session, string, error) {
	if err := s.Attempt(c.From); err != nil {
		return wire.Session{}, "", err
	}
	first, err := s.NeedsFirst(ctx)
	switch {
	case err != nil:
		return wire.Session{}, "", err
	case !first:
		return wire.Session{}, "", haveUsers
	case s.o.FirstCode == nil:
		return wire.Session{}, "", errkind.New(errkind.Denied, "the first administrator is made on the service's own machine: run mooringd init there")
	}
	if err := s.o.FirstCode(r.Code); err != nil {
		return wire.Session{}, "", s.refused(ctx, c, "", "user.create", "first administrator", err)
	}
	if err := s.FirstAdmin(ctx, c, r); err != nil {
		return wire.Session{}, "", err
	}
	return s.Login(ctx, c, wire.Login{User: r.User, Password: r.Password}, agent)
}

// FirstAdmin makes the first user of the master, whoever c is; its code is not
// looked at. While the master has a user it is exists.
func (s *Service) FirstAdmin(ctx context.Context, c volspec.Caller, r wire.FirstAdmin) error {
	if r.Mode != "" && r.Mode != wire.ModeMulti && r.Mode != wire.ModeSingle {
		return errkind.New(errkind.Invalid, "the mode %q is not known: write multi or single", clip(r.Mode))
	}
	u, _, err := s.newUser(ctx, "", wire.CreateUser{Name: r.User, Role: volspec.MasterAdmin, Password: r.Password, Email: r.Email})
	if err != nil {
		return err
	}
	u.Body.MustChange = false
	if first, err := s.NeedsFirst(ctx); err != nil {
		return err
	} else if !first {
		return haveUsers
	}
	if r.Mode != "" && s.o.SetMode != nil {
		if err := s.o.SetMode(ctx, c, r.Mode); err != nil {
			return err
		}
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.Users("")
		if err != nil {
			return err
		}
		if len(all) > 0 {
			return haveUsers
		}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, "", "user.create", u.Name, "the first administrator", nil)
	})
}
