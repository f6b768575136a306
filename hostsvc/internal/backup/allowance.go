package backup

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// AllowanceTx is the part of a transaction that is read and written by
// Allowances, see package tenancy.
type AllowanceTx interface {
	Groups() ([]volspec.VMGroup, error)
	Pool() (volspec.Amounts, error)
	PutPool(a volspec.Amounts) error
	Allowances(g volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Amounts, error)
	PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error
	Uses(g volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Use, error)
}

// Object is what a backup is of: a volume, or a VM.
type Object struct {
	Name   string
	VM     volspec.VMID
	Volume volspec.VolumeID
}

// Allowances decides how much a vmgroup may use. What it returns and does is
// part of the transaction that it is given.
type Allowances interface {
	// Admission begins a decision: what it returns refuses, as quota, an object
	// that is not protected yet and is more than the vmgroup may protect.
	Admission(ctx context.Context) func(tx AllowanceTx, g volspec.VMGroup, o Object) error
	// SetStorage delegates storage to a vmgroup; volspec.Unbounded: no bound. More
	// than there is to delegate is refused as quota.
	SetStorage(ctx context.Context, tx AllowanceTx, g volspec.VMGroup, limit int64) error
}

// storageBound is how many bytes a vmgroup may store; volspec.Unbounded: any.
func storageBound(tx Tx, g volspec.VMGroupID) (int64, error) {
	pool, err := tx.Pool()
	if err != nil {
		return 0, err
	}
	all, err := tx.Allowances(g)
	if a, ok := all[g]; ok {
		return volspec.Bound(pool.Storage, a.Storage), err
	}
	return volspec.Bound(pool.Storage, volspec.Unbounded), err
}

// Pending is what running jobs wrote for a vmgroup and the catalog does not count
// yet.
func (s *Service) Pending(g volspec.VMGroupID) int64 { return s.budgets.pending(g) }

// delegated is a backup limit, of which 0 is none, as an allowance.
func delegated(limit volspec.Size) int64 {
	if limit == 0 {
		return volspec.Unbounded
	}
	return int64(limit)
}
