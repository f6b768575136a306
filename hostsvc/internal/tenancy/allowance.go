package tenancy

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// AllowanceTx is the part of a transaction that allowances need.
type AllowanceTx interface {
	Groups() ([]volspec.VMGroup, error)
	// Pool is what may be delegated; one that was never put bounds nothing.
	Pool() (volspec.Amounts, error)
	PutPool(a volspec.Amounts) error
	// Allowances are what was delegated to these vmgroups, or with none named to
	// all. What was never put is not among them, and bounds nothing.
	Allowances(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Amounts, error)
	PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error
	Use(g volspec.VMGroupID) (volspec.Use, error)
	// Totals are those of these vmgroups, or with none named of all. What uses
	// nothing is not among them.
	Totals(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Total, error)
}

// Pool tells what the service may hand out and what of it is delegated.
func (s *Service) Pool(ctx context.Context) (p wire.Pool, err error) {
	at := s.places(ctx)
	err = s.o.Store.View(ctx, func(tx Tx) error {
		p, err = s.pool(tx, at)
		return err
	})
	return p, err
}

func (s *Service) pool(tx AllowanceTx, at placement) (p wire.Pool, err error) {
	pool, all, err := s.allotments(tx, at)
	if err != nil {
		return p, err
	}
	for _, k := range kinds {
		size := *k.of(&pool)
		share := wire.PoolShare{Bounded: size != volspec.Unbounded, Size: max(size, 0)}
		for _, a := range all {
			share.Delegated += a.effective(k, pool)
			share.Used += *k.of(&a.used)
		}
		*k.ofPool(&p) = share
	}
	return p, nil
}

// SetPool replaces the pool; what is nil has no bound. A pool that becomes
// smaller than what is delegated is refused: quota.
func (s *Service) SetPool(ctx context.Context, c volspec.Caller, req wire.Amounts) (p wire.Pool, err error) {
	var pool volspec.Amounts
	at := s.places(ctx)
	err = s.verb(ctx, line(ctx, c, "", "pool set", amountsText(req)), func() (err error) {
		pool, err = amountsOf(req)
		return err
	}, func(tx Tx) error {
		old, all, err := s.allotments(tx, at)
		if err != nil {
			return err
		}
		if err := shrinks(old, pool, all, at); err != nil {
			return err
		}
		if err := tx.PutPool(pool); err != nil {
			return err
		}
		p, err = s.pool(tx, at)
		return err
	})
	return p, err
}

// Allowance tells what was delegated to a vmgroup and what it uses.
func (s *Service) Allowance(ctx context.Context, group string) (a wire.Allowance, err error) {
	at := s.places(ctx)
	err = s.o.Store.View(ctx, func(tx Tx) error {
		g, err := find(tx, group)
		if err == nil {
			a, err = s.allowance(tx, g, at)
		}
		return err
	})
	return a, err
}

func (s *Service) allowance(tx AllowanceTx, g volspec.VMGroup, at placement) (out wire.Allowance, err error) {
	pool, all, err := s.allotments(tx, at, g)
	if err != nil {
		return out, err
	}
	return all[0].shares(pool), nil
}

// SetAllowance replaces what is delegated to a vmgroup; what is nil has no
// bound, unless the pool has one: then there is none to use. One below what is
// used is accepted: nothing new is protected or stored then. More than the pool
// has left is refused: quota.
func (s *Service) SetAllowance(ctx context.Context, c volspec.Caller, group string, req wire.Amounts) (out wire.Allowance, err error) {
	var desired volspec.Amounts
	at := s.places(ctx)
	err = s.verb(ctx, line(ctx, c, group, "allowance set", amountsText(req)), func() (err error) {
		desired, err = amountsOf(req)
		return err
	}, func(tx Tx) error {
		g, err := find(tx, group)
		if err != nil {
			return err
		}
		if g.Source != "" {
			have, err := tx.Allowances(g.ID)
			if err != nil {
				return err
			}
			if desired.Storage != volspec.Delegated(have, g.ID).Storage {
				return errkind.New(errkind.Denied, "vmgroup %s is declared in %s: set backup_totalsize there and reload", g.Name, g.Source)
			}
			d, err := tx.Details(g.ID)
			if err != nil {
				return err
			}
			if d.DeclaredAllowance && desired != volspec.Delegated(have, g.ID) {
				return errkind.New(errkind.Denied, "the allowance of vmgroup %s is declared in %s: change it there and reload", g.Name, g.Source)
			}
		}
		if err := s.delegate(tx, g, desired, at); err != nil {
			return err
		}
		out, err = s.allowance(tx, g, at)
		return err
	})
	return out, err
}

// SetStorage delegates storage to a vmgroup and leaves the rest of its
// allowance, in a transaction of the caller. It is the backup limit.
func (s *Service) SetStorage(ctx context.Context, tx AllowanceTx, g volspec.VMGroup, limit int64) error {
	have, err := tx.Allowances(g.ID)
	if err != nil {
		return err
	}
	desired := volspec.Delegated(have, g.ID)
	if desired.Storage == limit {
		return nil
	}
	desired.Storage = limit
	return s.delegate(tx, g, desired, s.known())
}

// delegate is the one writer of allowances, in a transaction of the caller.
func (s *Service) delegate(tx AllowanceTx, g volspec.VMGroup, desired volspec.Amounts, at placement) error {
	pool, all, err := s.allotments(tx, at)
	if err != nil {
		return err
	}
	if err := grows(pool, all, g, desired, at); err != nil {
		return err
	}
	return tx.PutAllowance(g.ID, desired)
}
