package backup

import (
	"context"
	"slices"

	"mooring.dev/mooring/pkg/volspec"
)

// mayBegin refuses a job of a vmgroup that is disabled or, if the job protects
// something, not configured. The service's own work goes on in all of them.
func (s *Service) mayBegin(ctx context.Context, g volspec.VMGroupID, kind string) error {
	if s.o.Tenants == nil || kind == kindMaintain {
		return nil
	}
	why, err := s.o.Tenants.Refusals(ctx, kind == kindBackup || kind == kindMachine, g)
	if err != nil {
		return err
	}
	return why[g]
}

// mayProtect is mayBegin of backups, for the name of a vmgroup.
func (s *Service) mayProtect(ctx context.Context, group string) error {
	var id volspec.VMGroupID
	err := s.inGroup(ctx, group, func(_ Tx, g volspec.VMGroup) error {
		id = g.ID
		return nil
	})
	if err != nil {
		return err
	}
	return s.mayBegin(ctx, id, kindBackup)
}

// frozen tells whether nothing may be removed from a vmgroup's repositories: what
// a disabled one has stays as it is.
func (s *Service) frozen(ctx context.Context, g volspec.VMGroupID) (bool, error) {
	if s.o.Tenants == nil {
		return false, nil
	}
	why, err := s.o.Tenants.Refusals(ctx, false, g)
	return why[g] != nil, err
}

// permitted takes those things out of all whose vmgroups may not begin jobs.
func permitted[T any](ctx context.Context, s *Service, protect bool, all []T, group func(T) volspec.VMGroupID) ([]T, error) {
	if s.o.Tenants == nil || len(all) == 0 {
		return all, nil
	}
	var ids []volspec.VMGroupID
	seen := map[volspec.VMGroupID]bool{}
	for _, v := range all {
		if g := group(v); !seen[g] {
			seen[g] = true
			ids = append(ids, g)
		}
	}
	why, err := s.o.Tenants.Refusals(ctx, protect, ids...)
	return slices.DeleteFunc(all, func(v T) bool { return why[group(v)] != nil }), err
}
