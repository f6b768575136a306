package backup

import (
	"context"
	"errors"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Declared is what a configuration file says of one vmgroup's backups.
type Declared struct {
	Group        string
	Source       string // the file
	MaxStored    volspec.Size
	Repositories []wire.CreateRepository
	Policies     []wire.Policy
}

// CheckDeclared finds what is wrong with declarations before anything is
// changed.
func (s *Service) CheckDeclared(all []Declared) error {
	var errs []error
	for _, d := range all {
		for _, p := range d.Policies {
			errs = append(errs, s.checkPolicy(complete(p, s.o.Zone)))
		}
	}
	return errors.Join(errs...)
}

// Apply makes declared policies and limits true, in one transaction: policies
// that a file declared and none does any more are removed. Their points stay.
func (s *Service) Apply(ctx context.Context, all []Declared) error {
	if err := s.CheckDeclared(all); err != nil {
		return err
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		old, err := tx.Policies("")
		if err != nil {
			return err
		}
		keep := map[volspec.PolicyID]bool{}
		for _, d := range all {
			g, err := s.group(tx, d.Group)
			if err != nil {
				return err
			}
			if err := s.o.Allowances.SetStorage(ctx, tx, g, delegated(d.MaxStored)); err != nil {
				return err
			}
			for _, in := range d.Policies {
				p, err := s.putPolicy(tx, g, complete(in, s.o.Zone), d.Source, true)
				if err != nil {
					return err
				}
				keep[p.ID] = true
			}
		}
		for _, p := range old {
			if p.Source == "" || keep[p.ID] {
				continue
			}
			if err := tx.DeletePolicy(p.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// MakeDeclared makes or attaches the declared repositories that are not there
// yet. A place that is away holds up nothing: it is tried again with the next
// call.
func (s *Service) MakeDeclared(ctx context.Context, all []Declared) error {
	failed := s.undeclare(ctx, all)
	for _, d := range all {
		for _, req := range d.Repositories {
			if err := s.makeDeclared(ctx, d, req); err != nil {
				failed = errors.Join(failed, errkind.Wrap(errkind.Of(err), err, "repository %s of vmgroup %s, declared in %s", req.Name, d.Group, d.Source))
			}
		}
	}
	return failed
}

func (s *Service) makeDeclared(ctx context.Context, d Declared, req wire.CreateRepository) error {
	admin := volspec.Caller{Admin: true, Actor: "config:" + d.Source}
	have, _, err := s.find(ctx, d.Group, req.Name)
	if errkind.Is(err, errkind.NotFound) {
		if _, err = s.CreateRepository(ctx, admin, d.Group, req); err != nil {
			return err
		}
		log.G(ctx).WithField("repository", req.Name).WithField(log.VMGroup, d.Group).Info("declared repository is there")
		have, _, err = s.find(ctx, d.Group, req.Name)
	}
	if err != nil || have.Body.Source == d.Source {
		return err
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		r, err := tx.Repository(have.ID)
		if err != nil {
			return err
		}
		r.Body.Source = d.Source
		return tx.PutRepository(r)
	})
}

// undeclare gives repositories back to the command line that no file declares
// any more; they are never detached by that.
func (s *Service) undeclare(ctx context.Context, all []Declared) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		repos, err := tx.Repositories("")
		if err != nil {
			return err
		}
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		for _, r := range repos {
			if r.Body.Source == "" {
				continue
			}
			declared := slices.ContainsFunc(all, func(d Declared) bool {
				return slices.ContainsFunc(groups, func(g volspec.VMGroup) bool { return g.ID == r.Group && g.Name == d.Group }) &&
					slices.ContainsFunc(d.Repositories, func(q wire.CreateRepository) bool { return q.Name == r.Name })
			})
			if declared {
				continue
			}
			r.Body.Source = ""
			if err := tx.PutRepository(r); err != nil {
				return err
			}
		}
		return nil
	})
}
