package backup

import (
	"context"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Carry adds to a bundle the policies of a vmgroup and its repositories, with
// what opens them and the points that are known of them.
func (s *Service) Carry(tx Tx, g volspec.VMGroup, to *wire.Carried) error {
	policies, err := tx.Policies(g.ID)
	if err != nil {
		return err
	}
	for _, p := range policies {
		w := presentPolicy(p, "")
		w.Source = ""
		to.Policies = append(to.Policies, w)
	}
	repos, err := tx.Repositories(g.ID)
	if err != nil {
		return err
	}
	for _, r := range repos {
		if r.State == repoCreating {
			return errkind.New(errkind.InUse, "repository %s is being made: wait until it is there, then save vmgroup %s", r.Name, g.Name)
		}
		sealed, err := tx.Sealed(r.ID)
		if err != nil {
			return err
		}
		sec, err := s.opened(sealed, r.ID)
		if err != nil {
			return err
		}
		w := wire.CarriedRepository{
			ID: r.ID, Name: r.Name, Location: wire.Location(r.Body.Location), Outside: r.Body.Outside, Stored: r.Stored,
			Key: sec.Key, Credentials: wire.Credentials(sec.Credentials),
		}
		points, err := tx.Points(PointQuery{Repository: r.ID})
		if err != nil {
			return err
		}
		for _, p := range points {
			if p.Deleting {
				continue
			}
			w.Points = append(w.Points, wire.CarriedPoint{ID: p.ID, Created: p.Created, Volume: p.Volume, VolumeID: p.VolumeID, VM: p.VM, VMID: p.VMID, Hold: p.Hold})
		}
		to.Repositories = append(to.Repositories, w)
	}
	return nil
}

// arrival is a repository out of a bundle. What it holds is read when it is
// opened; what the bundle says of that only decides whether it fits.
type arrival struct {
	repo    Repo
	sealed  string
	objects []Object
}

// Arrive checks the repositories and policies of a bundle for a vmgroup that is
// about to be made. What it returns puts them into the transaction that makes
// it, in the order of an attachment: each keeps its id, by which its place
// knows it, and is offline until it was opened.
func (s *Service) Arrive(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from wire.Carried) (put func(Tx) ([]string, error), err error) {
	repos := make([]arrival, len(from.Repositories))
	for i, w := range from.Repositories {
		if repos[i], err = s.arrived(c, g, w); err != nil {
			return nil, err
		}
	}
	var policies []wire.Policy
	var left []string
	for _, p := range from.Policies {
		p = complete(p, s.o.Zone)
		if err := checkPolicy(p); err != nil {
			return nil, err
		}
		if err := s.checkPolicy(p); err != nil {
			left = append(left, "Policy "+p.Name+" is not set: "+errkind.Text(err))
			continue
		}
		policies = append(policies, p)
	}
	admit := s.o.Allowances.Admission(ctx)
	return func(tx Tx) ([]string, error) {
		for _, a := range repos {
			if err := a.attach(tx, g, admit); err != nil {
				return nil, err
			}
			if err := tx.AddAudit(entry(ctx, c, g.Name, "repository attach", a.repo.Name)); err != nil {
				return nil, err
			}
		}
		for _, p := range policies {
			if _, err := s.putPolicy(tx, g, p, "", false); err != nil {
				return nil, errkind.Wrap(errkind.Of(err), err, "policy %s of the bundle", p.Name)
			}
		}
		return left, nil
	}, nil
}

// arrived makes the record of a repository out of a bundle.
func (s *Service) arrived(c volspec.Caller, g volspec.VMGroup, w wire.CarriedRepository) (a arrival, err error) {
	if err := checkRepoName(w.Name); err != nil {
		return a, err
	}
	if uuid.Validate(string(w.ID)) != nil || w.Key == "" || w.Stored < 0 {
		return a, errkind.New(errkind.Invalid, "repository %s of the bundle has no id, no key or no size: save the tenant again", w.Name)
	}
	loc := repository.Location(w.Location)
	if err := mayName(c, loc); err != nil {
		return a, err
	}
	at, err := place(loc)
	if err != nil {
		return a, err
	}
	a.repo = Repo{ID: w.ID, Group: g.ID, Name: w.Name, State: repoOffline, Place: at, Stored: w.Stored,
		Body: RepoBody{Location: loc, Created: now(), Outside: w.Outside, Attached: true}}
	seen := map[Object]bool{}
	for _, p := range w.Points {
		text := volspec.WrongText(p.Volume+p.VM, 4*volspec.MaxNameLen, nil)
		if text != "" || uuid.Validate(string(p.ID)) != nil || len(p.VolumeID)+len(p.VMID) > 2*volspec.MaxNameLen {
			return a, errkind.New(errkind.Invalid, "a recovery point of repository %s in the bundle has no valid id or name: save the tenant again", w.Name)
		}
		o := Object{Name: p.Volume, Volume: p.VolumeID}
		if p.VMID != "" {
			o = Object{Name: p.VM, VM: p.VMID}
		}
		if !seen[o] {
			seen[o], a.objects = true, append(a.objects, o)
		}
		if p.Hold {
			a.repo.Body.Holds = append(a.repo.Body.Holds, p.ID)
		}
	}
	a.sealed, err = s.seal(w.ID, secrets{Key: w.Key, Credentials: repository.Credentials(w.Credentials)})
	return a, err
}

// attach puts a repository into the catalog, if it fits into what its vmgroup
// may protect and store.
func (a arrival) attach(tx Tx, g volspec.VMGroup, admit func(AllowanceTx, volspec.VMGroup, ...Object) error) error {
	r := a.repo
	if have, err := tx.Repository(r.ID); err == nil {
		return errkind.New(errkind.Exists, "repository %s is attached already, as %s: detach it there first", r.Name, have.Name)
	} else if !errkind.Is(err, errkind.NotFound) {
		return err
	}
	if err := admit(tx, g, a.objects...); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "repository %s was not attached: it holds recovery points of more than the vmgroup may protect", r.Name)
	}
	if err := roomFor(tx, g, r); err != nil {
		return err
	}
	if err := tx.PutRepository(r); err != nil {
		return err
	}
	return tx.PutSealed(r.ID, a.sealed)
}
