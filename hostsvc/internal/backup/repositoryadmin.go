package backup

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Kit makes a repository's recovery kit: with it and the repository alone an
// empty installation, or the standard kopia program, restores everything.
func (s *Service) Kit(ctx context.Context, c volspec.Caller, group, name string, o wire.KitOptions) (wire.Kit, error) {
	r, g, err := s.find(ctx, group, name)
	if err != nil {
		return wire.Kit{}, err
	}
	sec, err := s.unseal(ctx, r.ID)
	if err != nil {
		s.audit(ctx, c, g.Name, "repository kit", r.Name, err)
		return wire.Kit{}, err
	}
	k := kit.Kit{Repository: r.ID, Name: r.Name, Tenant: g.Name, Created: now(), Location: r.Body.Location, Key: sec.Key}
	if o.Credentials {
		k.Credentials = sec.Credentials
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		have, err := tx.Repository(r.ID)
		if err != nil {
			return err
		}
		have.Body.Kit = now()
		if err := tx.PutRepository(have); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "repository kit", r.Name))
	})
	if err != nil {
		return wire.Kit{}, err
	}
	return wire.Kit{Text: kit.Render(k)}, nil
}

// SetCredentials replaces what opens a repository's place, after it did.
func (s *Service) SetCredentials(ctx context.Context, c volspec.Caller, group, name string, cred wire.Credentials) (wire.Repository, error) {
	r, g, err := s.find(ctx, group, name)
	if err != nil {
		return wire.Repository{}, err
	}
	sec, err := s.unseal(ctx, r.ID)
	if err != nil {
		return wire.Repository{}, err
	}
	sec.Credentials = repository.Credentials(cred)
	rp, err := s.o.Opener.Open(ctx, r.place(sec), sec.Key, r.ID)
	if err != nil {
		return wire.Repository{}, errkind.Wrap(errkind.Of(err), err, "repository %s keeps its old credentials: the new ones do not open it", name)
	}
	if err := rp.Close(ctx); err != nil {
		return wire.Repository{}, err
	}
	sealed, err := s.seal(r.ID, sec)
	if err != nil {
		return wire.Repository{}, err
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if err := tx.PutSealed(r.ID, sealed); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "repository credentials", r.Name))
	})
	if err != nil {
		return wire.Repository{}, err
	}
	return s.CheckRepository(ctx, group, name)
}

// PrepareRepository keeps a place with its credentials for a vmgroup that is
// chosen later. Nothing is written to the place before.
func (s *Service) PrepareRepository(ctx context.Context, c volspec.Caller, req wire.CreateRepository) (wire.Repository, error) {
	if req.Attach || req.Key != "" || req.Kit != "" {
		return wire.Repository{}, errkind.New(errkind.Invalid, "repository %s is only prepared: a key or kit is given when it is attached to a vmgroup", req.Name)
	}
	_, r, sec, err := s.newRepo(ctx, c, "", req)
	if err != nil {
		return wire.Repository{}, err
	}
	r.State = repoPrepared
	sealed, err := s.seal(r.ID, sec)
	if err != nil {
		return wire.Repository{}, err
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		old, err := tx.RepositoryByName("", r.Name)
		if err == nil && old.Place == r.Place {
			r = old
		} else if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
		if err := tx.PutRepository(r); err != nil {
			return err
		}
		if err := tx.PutSealed(r.ID, sealed); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, "", "repository prepare", r.Name))
	})
	return presentRepo(r, ""), err
}

// AssignRepository makes the repository of a prepared place for a vmgroup.
func (s *Service) AssignRepository(ctx context.Context, c volspec.Caller, name string, req wire.Assign) (wire.Repository, error) {
	var r Repo
	var g volspec.VMGroup
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if g, err = s.group(tx, req.VMGroup); err != nil {
			return err
		}
		r, err = tx.RepositoryByName("", name)
		if errkind.Is(err, errkind.NotFound) {
			// Perhaps an earlier call did it.
			if done, e := tx.RepositoryByName(g.ID, name); e == nil {
				r, err = done, nil
			}
		}
		return err
	})
	if err != nil {
		return wire.Repository{}, err
	}
	if r.Group == "" {
		sec, err := s.unseal(ctx, r.ID)
		if err != nil {
			return wire.Repository{}, err
		}
		r.Group, r.State, r.Body.Created = g.ID, repoCreating, now()
		if err := s.create(ctx, c, g, r, sec); err != nil {
			return wire.Repository{}, err
		}
	}
	return s.CheckRepository(ctx, req.VMGroup, name)
}

// RemovePrepared forgets a prepared place. Absent: not-found.
func (s *Service) RemovePrepared(ctx context.Context, c volspec.Caller, name string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		r, err := tx.RepositoryByName("", name)
		if err != nil {
			return err
		}
		if err := tx.DeleteRepository(r.ID); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, "", "repository unprepare", r.Name))
	})
}

// BackupUsage is what a vmgroup stores in all its repositories.
func (s *Service) BackupUsage(ctx context.Context, group string) (u wire.BackupUsage, err error) {
	u.VMGroup = group
	err = s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		if u.Stored, err = tx.StoredBy(g.ID); err != nil {
			return err
		}
		u.Reserved = s.budgets.pending(g.ID)
		bound, err := storageBound(tx, g.ID)
		u.Bounded, u.MaxStored = bound != volspec.Unbounded, max(bound, 0)
		return err
	})
	return u, err
}

// SetBackupLimit bounds what a vmgroup stores, which is the storage of its
// allowance; 0 removes the limit. One below
// what is stored deletes nothing: it stops what is new.
func (s *Service) SetBackupLimit(ctx context.Context, c volspec.Caller, group string, req wire.SetBackupLimit) (wire.BackupUsage, error) {
	if req.MaxStored < 0 {
		return wire.BackupUsage{}, errkind.New(errkind.Invalid, "a backup limit of %s is not valid: write a size, or unset", req.MaxStored)
	}
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		g, err := s.group(tx, group)
		if err != nil {
			return err
		}
		if g.Source != "" {
			return errkind.New(errkind.Denied, "vmgroup %s is declared in %s: set backup_totalsize there and reload", g.Name, g.Source)
		}
		if err := s.o.Allowances.SetStorage(ctx, tx, g, delegated(req.MaxStored)); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "backup limit", req.MaxStored.String()))
	})
	if err != nil {
		return wire.BackupUsage{}, err
	}
	return s.BackupUsage(ctx, group)
}

// RotateKey makes a new master key and seals every secret with it. Repository
// data are not rewritten. A crash leaves some secrets under the old key, which
// stays readable: repeat it.
func (s *Service) RotateKey(ctx context.Context, c volspec.Caller) (wire.Rotated, error) {
	id, err := s.o.Keyring.Rotate()
	if err != nil {
		return wire.Rotated{}, err
	}
	crashpoint.Here("backup.rotate.made")
	out := wire.Rotated{KeyID: id}
	others := 0
	for _, o := range s.secrets {
		n, err := o.Reseal(ctx, s.again)
		if err != nil {
			return wire.Rotated{}, err
		}
		others += n
		crashpoint.Here("backup.rotate.resealed")
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		out.Resealed = others
		all, err := tx.AllSealed()
		if err != nil {
			return err
		}
		for repo, sealed := range all {
			again, err := s.again(sealed, sealContext(repo))
			if err != nil {
				return err
			}
			if err := tx.PutSealed(repo, again); err != nil {
				return err
			}
			out.Resealed++
		}
		return tx.AddAudit(entry(ctx, c, "", "key rotate", id))
	})
	crashpoint.Here("backup.rotate.done")
	if err == nil {
		log.G(ctx).WithField("resealed", out.Resealed).Info("master key rotated")
	}
	return out, err
}

// again seals a secret with the current master key.
func (s *Service) again(sealed, context string) (string, error) {
	plain, err := s.o.Keyring.Open(sealed, context)
	if err != nil {
		return "", err
	}
	return s.o.Keyring.Seal(plain, context)
}
