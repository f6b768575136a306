package account

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Bounds of what a bundle says of a user. A hash that costs more than this to
// check would stop the service at a log-in.
const (
	maxHashMemory = 1 << 18 // KiB
	maxHashTime   = 16
	maxSalt       = 64
	minFactor     = 16
	maxFactor     = 64
	maxSubject    = 1100 // issuer and subject of a provider
)

// Carry adds to a bundle the users of a vmgroup with what proves who they are.
// Their sessions and tokens end with the installation that opened them.
func (s *Service) Carry(tx Tx, g volspec.VMGroup, to *wire.Carried) error {
	all, err := tx.Users(g.ID)
	if err != nil {
		return err
	}
	for _, u := range all {
		w := wire.CarriedUser{
			Name: u.Name, Role: u.Role, Enabled: u.Enabled, Email: u.Body.Email, Description: u.Body.Description, Zone: u.Body.Zone,
			Password: u.Body.Password, MustChange: u.Body.MustChange, Subject: u.Subject,
		}
		if u.Body.Factor != "" {
			if w.Factor, err = s.o.Sealer.Open(u.Body.Factor, factorOf(u)); err != nil {
				return err
			}
			w.FactorStep = u.Body.FactorStep
		}
		to.Users = append(to.Users, w)
	}
	return nil
}

// Arrive checks the users of a bundle for a vmgroup that is about to be made.
// What it returns puts them into the transaction that makes it.
func (s *Service) Arrive(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from []wire.CarriedUser) (put func(Tx) error, err error) {
	users := make([]User, len(from))
	for i, w := range from {
		if err := s.covers(c, w.Role); err != nil && w.Role.Known() {
			return nil, err
		}
		if users[i], err = s.arrived(g.ID, w); err != nil {
			return nil, errkind.Wrap(errkind.Of(err), err, "user %s of the bundle", clip(w.Name))
		}
	}
	return func(tx Tx) error {
		for _, u := range users {
			if err := tx.PutUser(u); errkind.Is(err, errkind.Exists) {
				return errkind.New(errkind.Invalid, "the bundle has two users %s: save the tenant again", u.Name)
			} else if err != nil {
				return err
			}
			if err := s.audit(ctx, tx, c, g.Name, "user.create", u.Name, "from a bundle, role "+string(u.Role), nil); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// arrived makes the record of a user out of a bundle.
func (s *Service) arrived(g volspec.VMGroupID, w wire.CarriedUser) (User, error) {
	u, err := s.record(g, wire.CreateUser{Name: w.Name, Role: w.Role, Email: w.Email, Description: w.Description})
	if err != nil {
		return u, err
	}
	u.Enabled, u.Subject = w.Enabled, w.Subject
	u.Body.Password, u.Body.MustChange = w.Password, w.MustChange
	if err := setProfile(&u, nil, &w.Zone); err != nil {
		return u, err
	}
	if text := volspec.WrongText(w.Subject, maxSubject, nil); text != "" {
		return u, errkind.New(errkind.Invalid, "the subject %s", text)
	}
	if w.Password != "" && (w.Subject != "" || !affordable(w.Password)) {
		return u, errkind.New(errkind.Invalid, "the hash of the password is not valid: save the tenant again")
	}
	if len(w.Factor) == 0 {
		return u, nil
	}
	if len(w.Factor) < minFactor || len(w.Factor) > maxFactor || w.FactorStep < 0 {
		return u, errkind.New(errkind.Invalid, "the second factor is not valid: save the tenant again")
	}
	u.Body.FactorStep = w.FactorStep
	u.Body.Factor, err = s.o.Sealer.Seal(w.Factor, factorOf(u))
	return u, err
}

// affordable tells whether a hash is one that this program may check.
func affordable(phc string) bool {
	c, salt, _, ok := parsePHC(phc)
	return ok && len(salt) >= saltSize/2 && len(salt) <= maxSalt && c.Memory > 0 && c.Memory <= maxHashMemory && c.Time <= maxHashTime
}
