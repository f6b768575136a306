package account

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// alter changes the caller's own record and says so in the audit log, also when
// a right is refused.
func (s *Service) alter(ctx context.Context, c volspec.Caller, action string, fn func(tx Tx, u *User, v Session) error) error {
	var who, tenant string
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		u, v, err := s.own(tx, c)
		if err != nil {
			return err
		}
		if tenant, err = tenantName(tx, u.Group); err != nil {
			return err
		}
		who = u.Name
		if err := fn(tx, &u, v); err != nil {
			return err
		}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, tenant, action, u.Name, "", nil)
	})
	if who == "" {
		return err
	}
	return s.refused(ctx, c, tenant, action, who, err)
}

// SetProfile changes what the caller says of itself.
func (s *Service) SetProfile(ctx context.Context, c volspec.Caller, r wire.SessionProfile) (wire.Session, error) {
	err := s.alter(ctx, c, "profile.set", func(_ Tx, u *User, _ Session) error {
		return setProfile(u, r.Email, r.Zone)
	})
	if err != nil {
		return wire.Session{}, err
	}
	return s.Session(ctx, c)
}

func setProfile(u *User, email, zone *string) error {
	if email != nil {
		if err := checkEmail(*email); err != nil {
			return err
		}
		u.Body.Email = *email
	}
	if zone != nil {
		if *zone != "" {
			if _, err := time.LoadLocation(*zone); err != nil || *zone == "Local" {
				return errkind.New(errkind.Invalid, "the time zone %q is not known: write one such as Europe/Berlin or UTC", clip(*zone))
			}
		}
		u.Body.Zone = *zone
	}
	return nil
}

// ChangePassword changes the caller's own and ends its other sessions.
func (s *Service) ChangePassword(ctx context.Context, c volspec.Caller, r wire.ChangePassword) error {
	if err := s.Attempt(c.From); err != nil {
		return err
	}
	var before User
	var tenant string
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if before, _, err = s.own(tx, c); err == nil {
			tenant, err = tenantName(tx, before.Group)
		}
		return err
	})
	if err != nil {
		return err
	}
	unlock, err := s.alone(ctx, tenant, before.Name)
	if err != nil {
		return err
	}
	defer unlock()
	fits, _, err := s.hasher.verify(ctx, before.Body.Password, r.Old)
	switch {
	case err != nil:
		return err
	case !fits:
		return s.refused(ctx, c, tenant, "password.change", before.Name,
			errkind.New(errkind.Denied, "the old password is wrong: write the one that you logged in with"))
	case r.New == r.Old:
		return errkind.New(errkind.Invalid, "the new password is the old one: choose another")
	}
	if err := checkPassword(before.Name, r.New); err != nil {
		return err
	}
	hash, err := s.hasher.hash(ctx, r.New)
	if err != nil {
		return err
	}
	return s.alter(ctx, c, "password.change", func(tx Tx, u *User, v Session) error {
		if u.Body.Password != before.Body.Password {
			return errkind.New(errkind.Unavailable, "the password was changed at this moment by somebody else: log in again")
		}
		u.Body.Password, u.Body.MustChange = hash, false
		return s.endOthers(ctx, tx, u.ID, v.Body.ID, "the password was changed")
	})
}

// BeginTOTP makes a new second factor. It counts from ConfirmTOTP on.
func (s *Service) BeginTOTP(ctx context.Context, c volspec.Caller) (wire.Secret, error) {
	product, _, err := s.brand(ctx)
	if err != nil {
		return wire.Secret{}, err
	}
	key := newKey()
	var answer wire.Secret
	err = s.alter(ctx, c, "totp.begin", func(_ Tx, u *User, _ Session) (err error) {
		if u.Body.NewFactor, err = s.o.Sealer.Seal(key, factorOf(*u)); err != nil {
			return err
		}
		answer = wire.Secret{Secret: base32Text.EncodeToString(key), URI: keyURI(product, u.Name, key)}
		return nil
	})
	return answer, err
}

// ConfirmTOTP takes the new second factor into use, for a code of it.
func (s *Service) ConfirmTOTP(ctx context.Context, c volspec.Caller, r wire.ConfirmTOTP) (wire.Session, error) {
	if err := s.Attempt(c.From); err != nil {
		return wire.Session{}, err
	}
	err := s.alter(ctx, c, "totp.confirm", func(_ Tx, u *User, _ Session) error {
		if u.Body.NewFactor == "" {
			return errkind.New(errkind.Invalid, "no second factor is being set up: begin with that")
		}
		fresh := *u
		fresh.Body.FactorStep = 0 // of another key
		step, err := s.checkCode(fresh, u.Body.NewFactor, r.Code)
		if err != nil {
			return err
		}
		u.Body.Factor, u.Body.NewFactor, u.Body.FactorStep = u.Body.NewFactor, "", step
		return nil
	})
	if err != nil {
		return wire.Session{}, err
	}
	c.MustFactor = false
	return s.Session(ctx, c)
}

// RemoveTOTP takes the caller's second factor away.
func (s *Service) RemoveTOTP(ctx context.Context, c volspec.Caller) (wire.Session, error) {
	err := s.alter(ctx, c, "totp.remove", func(tx Tx, u *User, _ Session) error {
		t, err := tx.Tenant(u.Group)
		if err != nil {
			return err
		}
		if factorRequired(*u, t) {
			return errkind.New(errkind.Denied, "a second factor is required of you and cannot be removed: set up another instead, or ask an administrator")
		}
		u.Body.Factor, u.Body.NewFactor = "", ""
		return nil
	})
	if err != nil {
		return wire.Session{}, err
	}
	return s.Session(ctx, c)
}

// Welcome is what visitors are told.
func (s *Service) Welcome(ctx context.Context) (wire.Welcome, error) {
	product, logo, err := s.brand(ctx)
	if err != nil {
		return wire.Welcome{}, err
	}
	w := wire.Welcome{Product: product, Logo: logo, OIDC: []string{}}
	if s.o.OIDC != nil {
		on, err := s.o.OIDC(ctx)
		if err != nil {
			return w, err
		}
		if on {
			w.OIDC = append(w.OIDC, "")
		}
	}
	w.First, err = s.NeedsFirst(ctx)
	return w, err
}

func (s *Service) brand(ctx context.Context) (product string, logo bool, err error) {
	if s.o.Brand != nil {
		product, logo, err = s.o.Brand(ctx)
	}
	return cmp.Or(product, "Mooring"), logo, err
}
