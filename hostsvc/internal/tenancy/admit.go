package tenancy

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Refusals tells for each of these vmgroups why no job may begin in it; one that
// is not in the answer may. With protect it is about jobs that protect
// something: those also need a service that is configured.
func (s *Service) Refusals(ctx context.Context, protect bool, ids ...volspec.VMGroupID) (map[volspec.VMGroupID]error, error) {
	why := map[volspec.VMGroupID]error{}
	err := s.o.Store.View(ctx, func(tx Tx) error {
		clear(why)
		groups, err := tx.GroupsByID(ids)
		if err != nil {
			return err
		}
		facts, err := tx.Facts(ids)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.State != volspec.GroupEnabled {
				why[g.ID] = errkind.New(errkind.Denied, "vmgroup %s is %s and begins no job: the provider can enable it with `mooring vmgroup enable --name=%s`", g.Name, g.State, g.Name)
				continue
			}
			if r := readiness(g, facts[g.ID]); protect && !r.Ready {
				why[g.ID] = errkind.New(errkind.Unconfigured, "%s", r.Message)
			}
		}
		return nil
	})
	return why, err
}
