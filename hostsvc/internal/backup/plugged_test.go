package backup_test

import (
	"context"
	"fmt"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
)

// store and jobStore are the catalog of one process.
type store struct {
	backup.Store
	p *plug
}

func (s store) View(ctx context.Context, fn func(backup.Tx) error) error {
	return s.p.do("View", func() error { return s.Store.View(ctx, fn) })
}

func (s store) Update(ctx context.Context, fn func(backup.Tx) error) error {
	return s.p.do("Update", func() error { return s.Store.Update(ctx, fn) })
}

// jobStore only dies with the process: a queue that cannot write is tested
// where it lives.
type jobStore struct {
	job.Store
	p *plug
}

func (s jobStore) dead() error {
	if s.p.died() {
		return errInjected
	}
	return nil
}

func (s jobStore) View(ctx context.Context, fn func(job.Tx) error) error {
	if err := s.dead(); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s jobStore) Update(ctx context.Context, fn func(job.Tx) error) error {
	if err := s.dead(); err != nil {
		return err
	}
	return s.Store.Update(ctx, fn)
}

// opener and repo are the repositories of one process.
type opener struct {
	repository.Opener
	p *plug
}

func (o opener) Create(ctx context.Context, at repository.Place, key string, id repository.Identity) (out repository.Identity, err error) {
	err = o.p.do("Create", func() error { out, err = o.Opener.Create(ctx, at, key, id); return err })
	return out, err
}

func (o opener) Open(ctx context.Context, at repository.Place, key string, want volspec.RepositoryID) (out repository.Repository, err error) {
	err = o.p.do("Open", func() error {
		r, err := o.Opener.Open(ctx, at, key, want)
		if err == nil {
			out = repo{r, o.p}
		}
		return err
	})
	if err != nil {
		if out != nil {
			_ = out.Close(context.Background())
		}
		return nil, err
	}
	return out, nil
}

type repo struct {
	repository.Repository
	p *plug
}

func (r repo) Write(ctx context.Context, b repository.Backup, report repository.Report) (out repository.Point, err error) {
	err = r.p.do("Write", func() error { out, err = r.Repository.Write(ctx, b, report); return err })
	return out, err
}

func (r repo) Points(ctx context.Context) (out []repository.Point, err error) {
	err = r.p.do("Points", func() error { out, err = r.Repository.Points(ctx); return err })
	return out, err
}

func (r repo) Point(ctx context.Context, id volspec.PointID) (out repository.Point, err error) {
	err = r.p.do("Point", func() error { out, err = r.Repository.Point(ctx, id); return err })
	return out, err
}

func (r repo) Delete(ctx context.Context, id volspec.PointID) error {
	return r.p.do("Delete", func() error { return r.Repository.Delete(ctx, id) })
}

func (r repo) Verify(ctx context.Context, id volspec.PointID, v repository.Verify, report repository.Report) (out repository.Verified, err error) {
	err = r.p.do("Verify", func() error { out, err = r.Repository.Verify(ctx, id, v, report); return err })
	return out, err
}

func (r repo) Status(ctx context.Context) (out repository.Status, err error) {
	err = r.p.do("Status", func() error { out, err = r.Repository.Status(ctx); return err })
	return out, err
}

func (r repo) Copy(ctx context.Context, point volspec.PointID, dst repository.Repository, id, parent volspec.PointID, limit int64, report repository.Report) (out repository.Point, err error) {
	err = r.p.do("Copy", func() error {
		out, err = r.Repository.Copy(ctx, point, dst.(repo).Repository, id, parent, limit, report)
		return err
	})
	return out, err
}

func (r repo) String() string { return fmt.Sprintf("repository %s", r.Identity().ID) }

type sealing struct{ *keyring.Ring }

func (sealing) NewPassword() string { return keyring.NewPassword().Reveal() }
