package backup

import (
	"context"
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// place is the canonical address of a location; two repositories with the
// same one would be one place.
func place(l repository.Location) (string, error) {
	bad := func(format string, args ...any) (string, error) {
		return "", errkind.New(errkind.Invalid, format, args...)
	}
	switch l.Type {
	case repository.Directory:
		if !filepath.IsAbs(l.Path) || filepath.Clean(l.Path) == "/" {
			return bad("path %q of a repository of type directory is not valid: write the absolute path of a folder of its own", l.Path)
		}
		return "directory:" + filepath.Clean(l.Path), nil
	case repository.S3:
		if l.Endpoint == "" || l.Bucket == "" {
			return bad("a repository of type s3 needs an endpoint and a bucket: write endpoint as host or host:port, without a scheme")
		}
		if strings.Contains(l.Endpoint, "/") {
			return bad("endpoint %q is not valid: write host or host:port, without a scheme", l.Endpoint)
		}
		return "s3:" + strings.ToLower(l.Endpoint) + "/" + l.Bucket + "/" + strings.Trim(l.Prefix, "/"), nil
	case repository.SFTP:
		if l.Host == "" || l.User == "" || l.HostKey == "" || !path.IsAbs(l.Path) {
			return bad("a repository of type sftp needs host, user, an absolute path and the server's host key (the line that ssh-keyscan prints, without the name)")
		}
		port := l.Port
		if port == 0 {
			port = 22
		}
		return fmt.Sprintf("sftp:%s@%s:%d%s", l.User, strings.ToLower(l.Host), port, path.Clean(l.Path)), nil
	}
	return bad("repository type %q is not known: use directory, s3 or sftp", l.Type)
}

// place is where a repository lies, for its opener.
func (r Repo) place(sec secrets) repository.Place {
	return repository.Place{Location: r.Body.Location, Credentials: sec.Credentials, Outside: r.Body.Outside}
}

// mayName refuses places of the service's own machine to users of tenants.
func mayName(c volspec.Caller, l repository.Location) error {
	switch {
	case c.Admin:
		return nil
	case l.Type == repository.Directory:
		return errkind.New(errkind.Denied, "a repository in a folder of the service's machine is made by its administrator alone: use one of type s3 or sftp, or ask for it")
	case l.CAFile != "":
		return errkind.New(errkind.Denied, "a file of the service's machine with authorities is named by its administrator alone: leave ca_file out, or ask for the repository")
	}
	return nil
}

// CreateRepository makes a repository for a vmgroup, or attaches one that is
// there. Repeated with the same name and place: the same repository.
func (s *Service) CreateRepository(ctx context.Context, c volspec.Caller, group string, req wire.CreateRepository) (wire.Repository, error) {
	g, r, sec, err := s.newRepo(ctx, c, group, req)
	if err != nil {
		return wire.Repository{}, err
	}
	if old, same, err := s.sameRepo(ctx, r); err != nil || same {
		if err != nil {
			return wire.Repository{}, err
		}
		return s.Repository(ctx, group, old.Name)
	}
	if req.Attach || req.Kit != "" {
		err = s.attach(ctx, c, g, &r, sec)
	} else {
		err = s.create(ctx, c, g, r, sec)
	}
	if err != nil {
		return wire.Repository{}, err
	}
	return s.CheckRepository(ctx, group, r.Name)
}

// newRepo checks a request and makes the record of it.
func (s *Service) newRepo(ctx context.Context, c volspec.Caller, group string, req wire.CreateRepository) (g volspec.VMGroup, r Repo, sec secrets, err error) {
	if group != "" {
		err = s.inGroup(ctx, group, func(_ Tx, have volspec.VMGroup) error { g = have; return nil })
		if err != nil {
			return g, r, sec, err
		}
	}
	sec = secrets{Key: req.Key, Credentials: repository.Credentials(req.Credentials)}
	loc := repository.Location(req.Location)
	if req.Kit != "" {
		k, err := kit.Parse(req.Kit)
		if err != nil {
			return g, r, sec, err
		}
		sec.Key = k.Key
		if loc.Type == "" {
			loc = k.Location
		}
		if sec.Credentials == (repository.Credentials{}) {
			sec.Credentials = k.Credentials
		}
	}
	if err := checkRepoName(req.Name); err != nil {
		return g, r, sec, err
	}
	if (req.Attach || req.Kit != "") && sec.Key == "" {
		return g, r, sec, errkind.New(errkind.Invalid, "repository %s cannot be attached without its key: give the recovery kit, or the key", req.Name)
	}
	if err := mayName(c, loc); err != nil {
		return g, r, sec, err
	}
	at, err := place(loc)
	r = Repo{ID: volspec.RepositoryID(uuid.NewString()), Group: g.ID, Name: req.Name, State: repoCreating, Place: at,
		Body: RepoBody{Location: loc, Created: now(), Outside: !c.Admin}}
	return g, r, sec, err
}

func checkRepoName(name string) error {
	if n, err := volspec.ParseNewName(name); err != nil || n.Datastore != "" {
		return errkind.New(errkind.Invalid, "repository name %q is not valid: use 1 to %d characters without / \\ and @", name, volspec.MaxNameLen)
	}
	return nil
}

// sameRepo finds the repository that an earlier, equal request made.
func (s *Service) sameRepo(ctx context.Context, r Repo) (old Repo, same bool, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		old, err = tx.RepositoryByName(r.Group, r.Name)
		return err
	})
	switch {
	case errkind.Is(err, errkind.NotFound):
		return old, false, nil
	case err != nil:
		return old, false, err
	case old.Place != r.Place:
		return old, false, errkind.New(errkind.Exists, "a repository %s exists already, in another place: choose another name", r.Name)
	case old.State == repoCreating:
		return old, false, s.settleRepo(ctx, old)
	}
	return old, true, nil
}

// create records the intent with the sealed key, makes the repository and
// records the result. The key is in the catalog before anything is encrypted
// with it.
func (s *Service) create(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r Repo, sec secrets) error {
	sec.Key = s.o.Keyring.NewPassword()
	sealed, err := s.seal(r.ID, sec)
	if err != nil {
		return err
	}
	unlock, err := s.repos.Lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if err := tx.PutRepository(r); err != nil {
			return err
		}
		if err := tx.PutSealed(r.ID, sealed); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "repository create", r.Name))
	})
	if err != nil {
		return err
	}
	crashpoint.Here("backup.repository.intent")
	return s.makeRepo(ctx, r, sec)
}

// makeRepo is deed and result of a creation; when the deed fails the intent
// is taken back.
func (s *Service) makeRepo(ctx context.Context, r Repo, sec secrets) error {
	id, err := s.o.Opener.Create(ctx, r.place(sec), sec.Key,
		repository.Identity{ID: r.ID, Tenant: string(r.Group), Created: r.Body.Created})
	if err != nil && ctx.Err() != nil {
		return err // whether it was made is not known: to be settled
	}
	if err != nil {
		ctx, cancel := briefly(ctx)
		defer cancel()
		return joined(errkind.Wrap(errkind.Of(err), err, "repository %s was not created", r.Name),
			s.o.Store.Update(ctx, func(tx Tx) error { return tx.DeleteRepository(r.ID) }))
	}
	crashpoint.Here("backup.repository.made")
	return s.o.Store.Update(ctx, func(tx Tx) error {
		r.State, r.Body.Unique = repoOnline, id.Unique
		return tx.PutRepository(r)
	})
}

// settleRepo finishes a creation that a crash interrupted: a repository that
// opens with the recorded key under the recorded id is ours, an empty place
// is filled, anything else is somebody else's and the intent is forgotten.
func (s *Service) settleRepo(ctx context.Context, r Repo) error {
	unlock, err := s.repos.Lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	switch r, err = s.row(ctx, r.ID); {
	case errkind.Is(err, errkind.NotFound):
		return nil // taken back meanwhile
	case err != nil || r.State != repoCreating:
		return err
	}
	sec, err := s.unseal(ctx, r.ID)
	if err != nil {
		return err
	}
	rp, err := s.o.Opener.Open(ctx, r.place(sec), sec.Key, r.ID)
	switch {
	case err != nil && ctx.Err() != nil:
		return err
	case err != nil:
		return s.makeRepo(ctx, r, sec)
	}
	r.State, r.Body.Unique = repoOnline, rp.Identity().Unique
	err = s.o.Store.Update(ctx, func(tx Tx) error { return tx.PutRepository(r) })
	return joined(err, rp.Close(ctx))
}

// attach takes a repository that is there under its own id.
func (s *Service) attach(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r *Repo, sec secrets) error {
	rp, err := s.o.Opener.Open(ctx, r.place(sec), sec.Key, "")
	if err != nil {
		return errkind.Wrap(errkind.Of(err), err, "repository %s was not attached", r.Name)
	}
	id := rp.Identity()
	objects, stored, err := s.contents(ctx, *r, rp)
	if err = joined(err, rp.Close(ctx)); err != nil {
		return err
	}
	admit := s.o.Allowances.Admission(ctx)
	r.Stored = stored
	r.ID, r.State, r.Body.Unique, r.Body.Attached = id.ID, repoOnline, id.Unique, true
	sealed, err := s.seal(r.ID, sec)
	if err != nil {
		return err
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if err := (arrival{*r, sealed, objects}).attach(tx, g, admit); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, g.Name, "repository attach", r.Name))
	})
}

// DetachRepository forgets a repository with its points. Its data stay where
// they are; with its recovery kit it can be attached again, here or elsewhere.
func (s *Service) DetachRepository(ctx context.Context, c volspec.Caller, group, name string) error {
	r, g, err := s.find(ctx, group, name)
	if err != nil {
		return err
	}
	if r.Body.Source != "" {
		return errkind.New(errkind.Denied, "repository %s is declared in %s: remove it there and reload", name, r.Body.Source)
	}
	return s.forgetRepo(ctx, c, g.Name, r, "repository detach")
}

// DetachRepositories detaches all repositories of a vmgroup, also those that a
// file declares.
func (s *Service) DetachRepositories(ctx context.Context, c volspec.Caller, g volspec.VMGroup) error {
	var repos []Repo
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		repos, err = tx.Repositories(g.ID)
		return err
	})
	if err != nil {
		return err
	}
	for _, r := range repos {
		if err := s.forgetRepo(ctx, c, g.Name, r, "repository detach"); err != nil {
			return err
		}
	}
	return nil
}

// forgetRepo removes a repository from the catalog, then the snapshots that
// were kept for it.
func (s *Service) forgetRepo(ctx context.Context, c volspec.Caller, group string, r Repo, action string) error {
	unlock, err := s.repos.Lock(ctx, r.ID)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.idle(ctx, r); err != nil {
		return err
	}
	s.sessions.dropRepository(ctx, r.ID)
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if err := tx.DeleteRepository(r.ID); err != nil {
			return err
		}
		return tx.AddAudit(entry(ctx, c, group, action, r.Name))
	})
	if err != nil {
		return err
	}
	crashpoint.Here("backup.repository.forgotten")
	if err := s.clear(ctx, r.Group, alarmRepository, r.Name, ""); err != nil {
		return err
	}
	log.G(ctx).WithField("repository", r.Name).Info("repository detached, its data stay")
	return s.sweepSnapshots(ctx)
}

// find resolves a repository in a vmgroup.
func (s *Service) find(ctx context.Context, group, name string) (r Repo, g volspec.VMGroup, err error) {
	err = s.inGroup(ctx, group, func(tx Tx, have volspec.VMGroup) error {
		g = have
		r, err = tx.RepositoryByName(g.ID, name)
		return err
	})
	return r, g, err
}
