package account

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// NewUser checks a request for a user of a vmgroup that is about to be made, and
// makes the password. What it returns puts the user into the transaction that
// makes the vmgroup.
func (s *Service) NewUser(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r wire.CreateUser) (put func(tx Tx) (wire.User, error), err error) {
	if err := s.covers(c, r.Role); err != nil && r.Role.Known() {
		return nil, err
	}
	u, password, err := s.newUser(ctx, g.ID, r)
	if err != nil {
		return nil, errkind.Wrap(errkind.Of(err), err, "first user of vmgroup %s", g.Name)
	}
	return func(tx Tx) (wire.User, error) {
		if err := tx.PutUser(u); err != nil {
			return wire.User{}, err
		}
		answer, err := s.userOf(tx, u, g.Name)
		if err != nil {
			return wire.User{}, err
		}
		answer.Password = password
		return answer, s.audit(ctx, tx, c, g.Name, "user.create", u.Name, "role "+string(u.Role), nil)
	}, nil
}
