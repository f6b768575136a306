package backup

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// gatherMachines collects the facts of all VMs.
func (s *Service) gatherMachines(ctx context.Context, g volspec.VMGroupID, at time.Time) ([]protectionFacts, error) {
	machines, err := s.machines(ctx, g)
	if err != nil || len(machines) == 0 {
		return nil, err
	}
	newestJob, err := s.newestJobs(ctx, g, kindMachine)
	if err != nil {
		return nil, err
	}
	var out []protectionFacts
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = nil
		policies, err := policiesBy(tx, g)
		if err != nil {
			return err
		}
		for i, m := range machines {
			f := protectionFacts{machine: &machines[i], now: at, lastJob: newestJob[string(m.ID)]}
			for _, p := range policies[m.Group.ID] {
				if enabled(p) && selectsMachine(p, m) {
					f.policies = append(f.policies, p)
				}
			}
			all, err := tx.Points(PointQuery{Group: m.Group.ID, VMID: m.ID, Limit: 100})
			if err != nil {
				return err
			}
			for _, p := range summaries(setsOf(all)) {
				if p.good() {
					f.newest = &Newest{p.ID, p.Created, p.State}
					break
				}
			}
			out = append(out, f)
		}
		return nil
	})
	return out, err
}

// shown reports whether anybody asked for this: whole VMs need no protection
// of their own where their volumes have it.
func (f protectionFacts) shown() bool {
	return f.machine == nil || len(f.policies) > 0 || f.newest != nil || f.lastJob != nil
}
