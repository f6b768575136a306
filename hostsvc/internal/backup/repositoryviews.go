package backup

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func presentRepo(r Repo, group string) wire.Repository {
	return wire.Repository{
		ID: r.ID, Name: r.Name, VMGroup: group, State: r.State, Detail: r.Body.Detail,
		Location: wire.Location(r.Body.Location), Unique: r.Body.Unique, Format: r.Body.Format,
		Points: r.Body.Points, Logical: r.Body.Logical, UniqueBytes: r.Body.Distinct, Stored: r.Stored,
		Created: r.Body.Created, Checked: r.Body.Checked, Maintained: r.Body.Maintained, Kit: r.Body.Kit, Source: r.Body.Source,
	}
}

// Repositories lists those of one vmgroup, or with "" all, prepared ones too.
func (s *Service) Repositories(ctx context.Context, group string) ([]wire.Repository, error) {
	var all []Repo
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		if group == "" {
			all, err = tx.Repositories("")
			return err
		}
		g, err := s.group(tx, group)
		if err != nil {
			return err
		}
		all, err = tx.Repositories(g.ID)
		return err
	})
	if err != nil {
		return nil, err
	}
	names, err := namesOf(ctx, s, all, func(r Repo) volspec.VMGroupID { return r.Group })
	out := make([]wire.Repository, 0, len(all))
	for _, r := range all {
		out = append(out, presentRepo(r, names[r.Group]))
	}
	return out, err
}

// Repository describes one as it was last seen.
func (s *Service) Repository(ctx context.Context, group, name string) (wire.Repository, error) {
	r, g, err := s.find(ctx, group, name)
	return presentRepo(r, g.Name), err
}

// CheckRepository looks at identity and status now. A repository that is away
// is an answer, not an error.
func (s *Service) CheckRepository(ctx context.Context, group, name string) (wire.Repository, error) {
	r, g, err := s.find(ctx, group, name)
	if err != nil {
		return wire.Repository{}, err
	}
	if err := s.refresh(ctx, r); err != nil && ctx.Err() != nil {
		return wire.Repository{}, err
	}
	r, err = s.row(ctx, r.ID)
	return presentRepo(r, g.Name), err
}

// refresh measures a repository and records what it holds.
func (s *Service) refresh(ctx context.Context, r Repo) error {
	return s.with(ctx, r.ID, func(r Repo, rp repository.Repository) error { return s.measure(ctx, r, rp) })
}

// Stock counts what there is, as last seen.
func (s *Service) Stock(ctx context.Context) (map[string]int64, error) {
	n := map[string]int64{"repositories": 0, "repositories_offline": 0, "recovery_points": 0, "stored_bytes": 0, "jobs_queued": 0, "jobs_running": 0, "alarms": 0}
	open, err := s.o.Jobs.List(ctx, job.Query{Open: true})
	if err != nil {
		return nil, err
	}
	for _, j := range open {
		n["jobs_"+string(j.State)]++
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		repos, err := tx.Repositories("")
		if err != nil {
			return err
		}
		for _, r := range repos {
			n["repositories"]++
			n["recovery_points"] += int64(r.Body.Points)
			n["stored_bytes"] += r.Stored
			if r.State == repoOffline {
				n["repositories_offline"]++
			}
		}
		alarms, err := tx.Alarms("")
		n["alarms"] = int64(len(alarms))
		return err
	})
	return n, err
}

func (s *Service) measure(ctx context.Context, r Repo, rp repository.Repository) error {
	st, err := rp.Status(ctx)
	if err != nil {
		return err
	}
	state := repoOnline
	if st.ReadOnly {
		state = repoReadOnly
	}
	return s.o.Store.Update(ctx, func(tx Tx) error {
		have, err := tx.Repository(r.ID)
		if err != nil {
			return err
		}
		have.State, have.Body.Detail, have.Stored = state, "", st.Stored
		if st.ReadOnly {
			have.Body.Detail = "its place cannot be written to: backups to it fail, restores work"
		}
		have.Body.Unique, have.Body.Format = st.Identity.Unique, st.Format
		have.Body.Points, have.Body.Logical, have.Body.Distinct = st.Points, st.Logical, st.Unique
		have.Body.Checked = now()
		return tx.PutRepository(have)
	})
}
