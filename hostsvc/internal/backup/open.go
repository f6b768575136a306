package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// open opens a repository anew, which proves its identity, and compares what
// it holds with the catalog. Work that writes opens its own: a place that was
// exchanged meanwhile is noticed before anything is written.
func (s *Service) open(ctx context.Context, r Repo) (repository.Repository, error) {
	sec, err := s.unseal(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	rp, err := s.o.Opener.Open(ctx, r.place(sec), sec.Key, r.ID)
	if err == nil {
		if err = s.sync(ctx, r, rp); err == nil {
			if r.State == repoOffline {
				err = s.mark(ctx, r, repoOnline, "")
			}
			return rp, err
		}
		err = joined(err, rp.Close(context.WithoutCancel(ctx)))
	}
	if ctx.Err() != nil {
		return nil, err
	}
	err = errkind.Wrap(errkind.Of(err), err, "repository %s", r.Name)
	return nil, joined(err, s.mark(ctx, r, repoOffline, errkind.Text(err)))
}

// with opens a repository for fn.
func (s *Service) with(ctx context.Context, id volspec.RepositoryID, fn func(Repo, repository.Repository) error) (err error) {
	r, err := s.row(ctx, id)
	if err != nil {
		return err
	}
	rp, err := s.open(ctx, r)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := briefly(ctx)
		defer cancel()
		err = joined(err, rp.Close(ctx))
	}()
	return fn(r, rp)
}

func (s *Service) row(ctx context.Context, id volspec.RepositoryID) (r Repo, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err = tx.Repository(id)
		return err
	})
	return r, err
}

// mark records what was found of a repository and when, and raises or clears
// its alarm where that is new.
func (s *Service) mark(ctx context.Context, r Repo, state, detail string) error {
	ctx, cancel := briefly(ctx)
	defer cancel()
	var gone bool
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		have, err := tx.Repository(r.ID)
		if gone = errkind.Is(err, errkind.NotFound); gone {
			return nil // detached meanwhile
		}
		if err != nil {
			return err
		}
		have.State, have.Body.Detail, have.Body.Checked = state, detail, now()
		return tx.PutRepository(have)
	})
	if err != nil || gone || r.State == state && r.Body.Detail == detail {
		return err
	}
	if state == repoOffline {
		log.G(ctx).WithField("repository", r.Name).WithField(log.Err, detail).Warn("repository is offline")
		return s.raise(ctx, r.Group, alarmRepository, r.Name, detail)
	}
	return s.clear(ctx, r.Group, alarmRepository, r.Name, "repository "+r.Name+" is back")
}

// sync compares the points of a repository with the catalog. What the catalog
// did not know is added; a repository that lacks points which it should hold
// is not trusted: nothing is deleted because it is absent.
func (s *Service) sync(ctx context.Context, r Repo, rp repository.Repository) error {
	there, err := rp.Points(ctx)
	if err != nil {
		return err
	}
	var known []Point
	err = s.o.Store.View(ctx, func(tx Tx) error {
		known, err = tx.Points(PointQuery{Repository: r.ID})
		return err
	})
	if err != nil {
		return err
	}
	in, missing := map[volspec.PointID]bool{}, 0
	for _, p := range there {
		in[p.ID] = true
	}
	for _, p := range known {
		if !in[p.ID] && !p.Deleting {
			missing++
		}
		delete(in, p.ID)
	}
	if missing > 0 {
		return errkind.New(errkind.Offline, "it holds %s fewer than are known here: put its files back from a copy, or detach it and attach it again to go on with what is left", points(missing))
	}
	if err := s.leaveOpen(ctx, r, there, in); err != nil || len(in) == 0 {
		return err
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		for _, p := range there {
			if !in[p.ID] {
				continue
			}
			if err := tx.PutPoint(s.foundPoint(r, p)); err != nil {
				return err
			}
		}
		return nil
	})
}

// foundPoint is the record of a point that is only known from the repository.
// Proofs are of an installation: they are to be made again.
func (s *Service) foundPoint(r Repo, p repository.Point) Point {
	out := Point{
		ID: p.ID, Group: r.Group, Repository: r.ID, VolumeID: p.Source.Volume,
		Volume: p.Source.Name, Created: p.Created, State: volspec.Completed, Hold: slices.Contains(r.Body.Holds, p.ID),
		Body: PointBody{Point: p},
	}
	if vm := out.meta().VM; vm != nil {
		out.Set, out.VMID, out.VM = vm.Set, vm.VM, vm.Name
	} else if n, err := volspec.ParseName(p.Source.Name); err == nil {
		out.Volume, out.Datastore = n.Volume, n.Datastore
	}
	return out
}

func points(n int) string {
	if n == 1 {
		return "1 recovery point"
	}
	return fmt.Sprintf("%d recovery points", n)
}

func sealContext(id volspec.RepositoryID) string { return "repository " + string(id) }

func (s *Service) seal(id volspec.RepositoryID, sec secrets) (string, error) {
	b, err := json.Marshal(sec)
	if err != nil {
		return "", errkind.New(errkind.Internal, "the secrets of a repository cannot be encoded")
	}
	return s.o.Keyring.Seal(b, sealContext(id))
}

func (s *Service) unseal(ctx context.Context, id volspec.RepositoryID) (sec secrets, err error) {
	var sealed string
	err = s.o.Store.View(ctx, func(tx Tx) error {
		sealed, err = tx.Sealed(id)
		return err
	})
	if err != nil {
		return sec, err
	}
	return s.opened(sealed, id)
}

// opened are the secrets that seal sealed.
func (s *Service) opened(sealed string, id volspec.RepositoryID) (sec secrets, err error) {
	b, err := s.o.Keyring.Open(sealed, sealContext(id))
	if err != nil {
		return sec, err
	}
	if json.Unmarshal(b, &sec) != nil {
		return sec, errkind.New(errkind.Corrupt, "the sealed secrets of a repository are damaged: attach it again with its recovery kit")
	}
	return sec, nil
}
