package account

import (
	"context"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Names are compared in lower case.
var userName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@+-]{0,63}$`)

func foldName(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	if a, err := mail.ParseAddress(email); err != nil || a.Address != email || len(email) > 254 {
		return errkind.New(errkind.Invalid, "%q is not an address of mail: write one such as name@example.com", clip(email))
	}
	return nil
}

const maxDescription = 1000

func checkDescription(d string) error {
	if len(d) > maxDescription {
		return errkind.New(errkind.Invalid, "the description is longer than %d bytes: shorten it", maxDescription)
	}
	if text := volspec.WrongText(d, maxDescription, nil); text != "" {
		return errkind.New(errkind.Invalid, "the description %s", text)
	}
	return nil
}

// record is that of a user who was not yet, without a password.
func (s *Service) record(g volspec.VMGroupID, r wire.CreateUser) (User, error) {
	name := foldName(r.Name)
	if !userName.MatchString(name) {
		return User{}, errkind.New(errkind.Invalid, "the user name %q is not valid: up to 64 letters, digits and . _ - + @, a letter or digit first", clip(r.Name))
	}
	if err := fits(g, r.Role); err != nil {
		return User{}, err
	}
	if err := checkEmail(r.Email); err != nil {
		return User{}, err
	}
	if err := checkDescription(r.Description); err != nil {
		return User{}, err
	}
	return User{
		ID: volspec.UserID(uuid.NewString()), Group: g, Name: name, Role: r.Role, Enabled: true,
		Body: UserBody{Email: r.Email, Description: r.Description, Created: s.now()},
	}, nil
}

// newUser is record with a password; password is the one that was generated, if
// r has none.
func (s *Service) newUser(ctx context.Context, g volspec.VMGroupID, r wire.CreateUser) (u User, password string, err error) {
	if u, err = s.record(g, r); err != nil {
		return u, "", err
	}
	plain := r.Password
	if plain == "" {
		password = generate()
		plain, u.Body.MustChange = password, true
	} else if err := checkPassword(u.Name, plain); err != nil {
		return u, "", err
	}
	u.Body.Password, err = s.hasher.hash(ctx, plain)
	return u, password, err
}

// groupOf is the vmgroup that a request names, zero for the master.
func groupOf(tx Tx, name string) (Tenant, error) {
	if name == "" {
		return Tenant{}, nil
	}
	return tx.TenantByName(name)
}

// Users lists those of a vmgroup, or with "" of the master, by name.
func (s *Service) Users(ctx context.Context, group string) (answer []wire.User, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		t, err := groupOf(tx, group)
		if err != nil {
			return err
		}
		all, err := tx.Users(t.ID)
		if err != nil {
			return err
		}
		for _, u := range all {
			w, err := s.userOf(tx, u, t.Name)
			if err != nil {
				return err
			}
			answer = append(answer, w)
		}
		return nil
	})
	return answer, err
}

// User is one of them.
func (s *Service) User(ctx context.Context, group, name string) (answer wire.User, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		t, err := groupOf(tx, group)
		if err != nil {
			return err
		}
		u, err := tx.UserByName(t.ID, foldName(name))
		if err != nil {
			return err
		}
		answer, err = s.userOf(tx, u, t.Name)
		return err
	})
	return answer, err
}

func (s *Service) userOf(tx Tx, u User, tenant string) (wire.User, error) {
	now := s.now()
	w := wire.User{
		ID: u.ID, Name: u.Name, Tenant: tenant, Role: u.Role, Enabled: u.Enabled, Email: u.Body.Email, Description: u.Body.Description,
		Created: u.Body.Created, LastLogin: u.Body.LastLogin, TOTP: u.Body.Factor != "", OIDC: u.Subject != "",
	}
	if u.Body.LockedUntil.After(now) {
		w.LockedUntil = u.Body.LockedUntil
	}
	sessions, err := tx.Sessions(u.ID)
	if err != nil {
		return w, err
	}
	for _, v := range sessions {
		if now.Before(s.endOf(v)) {
			w.Sessions++
		}
	}
	tokens, err := tx.Tokens(u.ID)
	for _, k := range tokens {
		if now.Before(k.Expires) {
			w.Tokens++
		}
	}
	return w, err
}

// CreateUser makes one; the same name again is exists.
func (s *Service) CreateUser(ctx context.Context, c volspec.Caller, group string, r wire.CreateUser) (wire.User, error) {
	if err := s.covers(c, r.Role); err != nil && r.Role.Known() {
		return wire.User{}, err
	}
	var g Tenant
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		g, err = groupOf(tx, group)
		return err
	})
	if err != nil {
		return wire.User{}, err
	}
	u, password, err := s.newUser(ctx, g.ID, r)
	if err != nil {
		return wire.User{}, err
	}
	var answer wire.User
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		t, err := groupOf(tx, group)
		if err != nil {
			return err
		}
		if t.ID != g.ID {
			return errkind.New(errkind.Unavailable, "the vmgroup %s was replaced at this moment: repeat the command", group)
		}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if answer, err = s.userOf(tx, u, t.Name); err != nil {
			return err
		}
		answer.Password = password
		return s.audit(ctx, tx, c, t.Name, "user.create", u.Name, "role "+string(u.Role), nil)
	})
	return answer, err
}

// UpdateUser changes one. Whatever weakens it holds in its open sessions at
// once; a reset ends them.
func (s *Service) UpdateUser(ctx context.Context, c volspec.Caller, group, name string, r wire.UpdateUser) (wire.User, error) {
	var password, hash string
	if r.ResetPassword {
		var err error
		password = generate()
		if hash, err = s.hasher.hash(ctx, password); err != nil {
			return wire.User{}, err
		}
	}
	var answer wire.User
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		t, before, all, err := s.target(tx, c, group, name)
		if err != nil {
			return err
		}
		u := before
		said, err := s.change(c, &u, r)
		if err != nil {
			return err
		}
		if r.ResetPassword {
			if u.Subject != "" {
				return errkind.New(errkind.Invalid, "%s logs in by an OIDC provider and has no password here: change it there", u.Name)
			}
			u.Body.Password, u.Body.MustChange = hash, true
		}
		if err := keepsHead(c, all, before, &u); err != nil {
			return err
		}
		if r.ResetPassword || r.ResetTOTP || !u.Enabled && before.Enabled {
			if err := s.endOthers(ctx, tx, u.ID, "", "by an administrator"); err != nil {
				return err
			}
		}
		if err := tx.PutUser(u); err != nil {
			return err
		}
		if answer, err = s.userOf(tx, u, t.Name); err != nil {
			return err
		}
		answer.Password = password
		return s.audit(ctx, tx, c, t.Name, "user.set", u.Name, strings.Join(said, ", "), nil)
	})
	return answer, err
}

// target reads a user whom the caller may change, with all of its vmgroup.
func (s *Service) target(tx Tx, c volspec.Caller, group, name string) (t Tenant, u User, all []User, err error) {
	if t, err = groupOf(tx, group); err != nil {
		return t, u, nil, err
	}
	if u, err = tx.UserByName(t.ID, foldName(name)); err != nil {
		return t, u, nil, err
	}
	if err = s.covers(c, u.Role); err != nil {
		return t, u, nil, err
	}
	all, err = tx.Users(t.ID)
	return t, u, all, err
}

// change does what r says to u, and says it.
func (s *Service) change(c volspec.Caller, u *User, r wire.UpdateUser) (said []string, err error) {
	if r.Role != nil {
		if err := fits(u.Group, *r.Role); err != nil {
			return nil, err
		}
		if err := s.covers(c, *r.Role); err != nil {
			return nil, err
		}
		u.Role, said = *r.Role, append(said, "role "+string(*r.Role))
	}
	if r.Enabled != nil {
		u.Enabled = *r.Enabled
		said = append(said, map[bool]string{true: "enabled", false: "disabled"}[u.Enabled])
	}
	if r.Description != nil {
		if err := checkDescription(*r.Description); err != nil {
			return nil, err
		}
		u.Body.Description = *r.Description
	}
	if err := setProfile(u, r.Email, r.Zone); err != nil {
		return nil, err
	}
	if r.ResetPassword {
		said = append(said, "new password")
	}
	if r.ResetTOTP {
		u.Body.Factor, u.Body.NewFactor, said = "", "", append(said, "second factor removed")
	}
	if r.Unlock || r.ResetPassword {
		u.Body.Failures, u.Body.LockedUntil = 0, time.Time{}
	}
	if r.Unlock {
		said = append(said, "unlocked")
	}
	return said, nil
}

// RemoveUser removes one, with its sessions and tokens; absent is not-found.
func (s *Service) RemoveUser(ctx context.Context, c volspec.Caller, group, name string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		t, u, all, err := s.target(tx, c, group, name)
		if err != nil {
			return err
		}
		if err := keepsHead(c, all, u, nil); err != nil {
			return err
		}
		if err := s.endOthers(ctx, tx, u.ID, "", "the user was removed"); err != nil {
			return err
		}
		if err := tx.DeleteUser(u.ID); err != nil {
			return err
		}
		return s.audit(ctx, tx, c, t.Name, "user.remove", u.Name, "role "+string(u.Role), nil)
	})
}
