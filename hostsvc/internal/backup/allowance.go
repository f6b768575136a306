package backup

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// AllowanceTx is the part of a transaction that is read and written by
// Allowances, see package tenancy.
type AllowanceTx interface {
	Groups() ([]volspec.VMGroup, error)
	Pool() (volspec.Amounts, error)
	PutPool(a volspec.Amounts) error
	Allowances(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Amounts, error)
	PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error
	Use(g volspec.VMGroupID) (volspec.Use, error)
	Totals(of ...volspec.VMGroupID) (map[volspec.VMGroupID]volspec.Total, error)
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
	// Admission begins a decision: what it returns refuses, as quota, objects of
	// which those that are not protected yet are more than the vmgroup may protect.
	Admission(ctx context.Context) func(tx AllowanceTx, g volspec.VMGroup, all ...Object) error
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
	return volspec.Bound(pool.Storage, volspec.Delegated(all, g).Storage), err
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

// contents are what a repository that is to be attached holds points of, and
// the bytes that it stores.
func (s *Service) contents(ctx context.Context, r Repo, rp repository.Repository) (all []Object, stored int64, err error) {
	st, err := rp.Status(ctx)
	if err != nil {
		return nil, 0, err
	}
	points, err := rp.Points(ctx)
	seen := map[Object]bool{}
	for _, found := range points {
		p := s.foundPoint(r, found)
		o := Object{Name: p.Volume, Volume: p.VolumeID}
		if p.VMID != "" {
			o = Object{Name: p.VM, VM: p.VMID}
		}
		if !seen[o] {
			seen[o], all = true, append(all, o)
		}
	}
	return all, st.Stored, err
}

// roomFor refuses a repository that stores more than is left of the vmgroup's
// storage.
func roomFor(tx Tx, g volspec.VMGroup, r Repo) error {
	bound, err := storageBound(tx, g.ID)
	if err != nil || bound == volspec.Unbounded {
		return err
	}
	stored, err := tx.StoredBy(g.ID)
	if err != nil || stored+r.Stored <= bound {
		return err
	}
	return errkind.New(errkind.Quota, "repository %s was not attached: it stores %s, and of the %s of backup storage of vmgroup %s %s are used; ask the administrator to raise the limit with `mooring repository limit`",
		r.Name, amount(r.Stored), amount(bound), g.Name, amount(stored))
}
