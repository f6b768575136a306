package backup

import (
	"context"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/job/retention"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// ruleSet is the retention of one policy for the points of one repository.
type ruleSet struct {
	policy Policy
	repo   Repo
	rules  retention.Rules
}

// decide says of every point of one volume in one repository whether it is
// kept, and why. It is pure.
func decide(points []Point, r retention.Rules) []retention.Decision {
	in := make([]retention.Point, 0, len(points))
	for _, p := range points {
		if p.Deleting {
			continue
		}
		in = append(in, retention.Point{ID: string(p.ID), Time: p.Created, Hold: p.Hold, Damaged: p.State == volspec.Damaged})
	}
	return retention.Decide(in, r, now())
}

// retain removes what a policy does not keep of a volume's points. Without a
// policy, or without rules, nothing is removed.
func (s *Service) retain(ctx context.Context, id volspec.PolicyID, r Repo, rp repository.Repository, v volspec.VolumeID) (int, error) {
	k, found, err := s.rulesFor(ctx, id, r, rp)
	if err != nil || !found {
		return 0, err
	}
	var points []Point
	err = s.o.Store.View(ctx, func(tx Tx) error {
		points, err = tx.Points(PointQuery{Group: r.Group, Repository: r.ID, VolumeID: v})
		return err
	})
	if err != nil {
		return 0, err
	}
	return s.remove(ctx, rp, points, decide(points, k))
}

// retainSets is retain for the sets of a VM: each is kept or removed whole.
func (s *Service) retainSets(ctx context.Context, id volspec.PolicyID, r Repo, rp repository.Repository, vm volspec.VMID) (int, error) {
	k, found, err := s.rulesFor(ctx, id, r, rp)
	if err != nil || !found {
		return 0, err
	}
	sets, err := s.setsOfMachine(ctx, r.ID, vm)
	if err != nil {
		return 0, err
	}
	return s.removeSets(ctx, rp, sets, decide(summaries(sets), k))
}

// rulesFor are a policy's rules for one repository, after removals that were
// begun are finished. No policy, or one that is gone: not found.
func (s *Service) rulesFor(ctx context.Context, id volspec.PolicyID, r Repo, rp repository.Repository) (k retention.Rules, found bool, err error) {
	if err := s.finishDeletes(ctx, r, rp); err != nil || id == "" {
		return k, false, err
	}
	if frozen, err := s.frozen(ctx, r.Group); err != nil || frozen {
		return k, false, err
	}
	var pol Policy
	err = s.o.Store.View(ctx, func(tx Tx) error {
		pol, err = tx.Policy(id)
		return err
	})
	if errkind.Is(err, errkind.NotFound) {
		return k, false, nil
	}
	if err != nil {
		return k, false, err
	}
	keep := pol.Spec.Keep
	if r.Name == pol.Spec.Copy.Repository {
		keep = pol.Spec.Copy.Keep
	}
	k, err = rules(keep, pol.Spec.Timezone)
	return k, err == nil, err
}

// remove drops the points that are not kept.
func (s *Service) remove(ctx context.Context, rp repository.Repository, points []Point, decisions []retention.Decision) (int, error) {
	whole := map[string][]Point{}
	for _, p := range points {
		whole[string(p.ID)] = []Point{p}
	}
	return s.removeAll(ctx, rp, whole, decisions)
}

// removeSets drops the sets that are not kept.
func (s *Service) removeSets(ctx context.Context, rp repository.Repository, sets []set, decisions []retention.Decision) (int, error) {
	whole := map[string][]Point{}
	for _, x := range sets {
		whole[string(x.id)] = x.points
	}
	return s.removeAll(ctx, rp, whole, decisions)
}

// removeAll drops what is not kept; whole are the points that go together, by
// the id that the decision is about.
func (s *Service) removeAll(ctx context.Context, rp repository.Repository, whole map[string][]Point, decisions []retention.Decision) (removed int, err error) {
	for _, d := range decisions {
		points, known := whole[d.ID]
		if d.Keep || !known {
			continue
		}
		err := s.dropPoints(ctx, rp, points, func(Tx) error { return nil })
		if errkind.Is(err, errkind.InUse) {
			continue // held or shown since
		}
		if err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// Prune applies the retention of one policy, or of all of a vmgroup, to the
// volumes that they protect; a dry run only tells.
func (s *Service) Prune(ctx context.Context, c volspec.Caller, group string, req wire.Prune) (wire.Pruned, error) {
	var g volspec.VMGroup
	var policies []Policy
	err := s.inGroup(ctx, group, func(tx Tx, have volspec.VMGroup) (err error) {
		g = have
		if req.Policy == "" {
			policies, err = tx.Policies(g.ID)
			return err
		}
		p, err := tx.PolicyByName(g.ID, req.Policy)
		policies = []Policy{p}
		return err
	})
	if err != nil {
		return wire.Pruned{}, err
	}
	if !req.DryRun {
		if err := s.mayBegin(ctx, g.ID, "prune"); err != nil {
			return wire.Pruned{}, err
		}
	}
	out := wire.Pruned{Decisions: []wire.KeepDecision{}}
	for _, p := range policies {
		if err := s.prunePolicy(ctx, p, req.DryRun, &out); err != nil {
			return out, err
		}
	}
	if !req.DryRun {
		s.audit(ctx, c, g.Name, "backup prune", req.Policy, nil)
	}
	return out, nil
}

func (s *Service) prunePolicy(ctx context.Context, p Policy, dry bool, out *wire.Pruned) error {
	sets, err := s.ruleSets(ctx, p)
	if err != nil {
		return err
	}
	volumes, err := s.selected(ctx, p)
	if err != nil {
		return err
	}
	machines, err := s.selectedMachines(ctx, p)
	if err != nil {
		return err
	}
	for _, set := range sets {
		act := func(rp repository.Repository) error {
			for _, v := range volumes {
				points, decisions, err := s.decideVolume(ctx, set, v)
				if err != nil {
					return err
				}
				out.Decisions = append(out.Decisions, presentDecisions(points, decisions, set.repo.Name)...)
				if rp == nil {
					continue
				}
				n, err := s.remove(ctx, rp, points, decisions)
				out.Removed += n
				if err != nil {
					return err
				}
			}
			for _, m := range machines {
				sets, err := s.setsOfMachine(ctx, set.repo.ID, m.ID)
				if err != nil {
					return err
				}
				decisions := decide(summaries(sets), set.rules)
				out.Decisions = append(out.Decisions, presentDecisions(summaries(sets), decisions, set.repo.Name)...)
				if rp == nil {
					continue
				}
				n, err := s.removeSets(ctx, rp, sets, decisions)
				out.Removed += n
				if err != nil {
					return err
				}
			}
			return nil
		}
		if dry {
			err = act(nil)
		} else {
			err = s.with(ctx, set.repo.ID, func(_ Repo, rp repository.Repository) error { return act(rp) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ruleSets are a policy's rules for its repository and for that of its copies.
func (s *Service) ruleSets(ctx context.Context, p Policy) (sets []ruleSet, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		sets = nil
		for _, x := range []struct {
			repo string
			keep wire.Keep
		}{{p.Spec.Repository, p.Spec.Keep}, {p.Spec.Copy.Repository, p.Spec.Copy.Keep}} {
			if x.repo == "" {
				continue
			}
			r, err := tx.RepositoryByName(p.Group, x.repo)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			k, err := rules(x.keep, p.Spec.Timezone)
			if err != nil {
				return err
			}
			sets = append(sets, ruleSet{p, r, k})
		}
		return nil
	})
	return sets, err
}

func (s *Service) decideVolume(ctx context.Context, set ruleSet, v Volume) (points []Point, d []retention.Decision, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		points, err = tx.Points(PointQuery{Group: v.Group.ID, Repository: set.repo.ID, VolumeID: v.ID})
		return err
	})
	return points, decide(points, set.rules), err
}

func presentDecisions(points []Point, decisions []retention.Decision, repo string) (out []wire.KeepDecision) {
	for _, d := range decisions {
		i := slices.IndexFunc(points, func(p Point) bool { return string(p.ID) == d.ID })
		if i < 0 {
			continue
		}
		p := points[i]
		out = append(out, wire.KeepDecision{
			Point: p.ID, Volume: volspec.Name{Volume: p.Volume, Datastore: p.Datastore}.String(), Repository: repo,
			Created: p.Created, Keep: d.Keep, Reasons: d.Reasons,
		})
	}
	return out
}
