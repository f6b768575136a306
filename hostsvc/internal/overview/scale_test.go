package overview_test

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// estate is many tenants in a real catalog, each with a volume for each policy.
type estate struct {
	unasked
	cat     *catalog.Catalog
	backups *backup.Service
	groups  []volspec.VMGroup
	each    int
}

// unasked is what nobody asks of the volume service here.
type unasked interface{ backup.Volumes }

// seam is the backup service as app introduces it to the overview.
type seam struct{ *backup.Service }

func (s seam) Ran(ctx context.Context, w overview.Window) (out []overview.Ran, err error) {
	all, err := s.Service.Ran(ctx, w.VMGroup, w.Policy, w.From, w.To, w.Limit)
	for _, r := range all {
		out = append(out, overview.Ran(r))
	}
	return out, err
}

func (e *estate) volume(g, n int) backup.Volume {
	return backup.Volume{ID: volspec.VolumeID(fmt.Sprintf("v%04d-%02d", g, n)), Group: e.groups[g], Name: volspec.Name{Volume: fmt.Sprintf("db%02d", n), Datastore: "ds"}, Created: time.Now().Add(-24 * time.Hour * 100)}
}

// Volumes implements backup.Volumes.
func (e *estate) Volumes(_ context.Context, id volspec.VMGroupID) (out []backup.Volume, _ error) {
	for g := range e.groups {
		if id == "" || e.groups[g].ID == id {
			for n := range e.each {
				out = append(out, e.volume(g, n))
			}
		}
	}
	return out, nil
}

func newEstate(t testing.TB, tenants, policies, points int) (*estate, *overview.Service) {
	t.Helper()
	ctx := context.Background()
	cat, err := catalog.Open(ctx, catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, cat.Close()) })
	e := &estate{cat: cat, each: policies}
	for g := range tenants {
		e.groups = append(e.groups, volspec.VMGroup{ID: volspec.VMGroupID(fmt.Sprintf("g%04d", g)), Name: fmt.Sprintf("tenant%04d", g)})
	}
	require.NoError(t, cat.Tenancy().Update(ctx, func(tx tenancy.Tx) error {
		for _, g := range e.groups {
			if err := tx.PutGroup(g); err != nil {
				return err
			}
		}
		return nil
	}))
	now := time.Now()
	require.NoError(t, cat.Backup().Update(ctx, func(tx backup.Tx) error {
		for g, group := range e.groups {
			r := backup.Repo{ID: volspec.RepositoryID("r" + group.ID), Group: group.ID, Name: "main", State: "online", Place: string(group.ID), Stored: 1 << 30}
			if err := tx.PutRepository(r); err != nil {
				return err
			}
			for n := range policies {
				v := e.volume(g, n)
				p := backup.Policy{ID: volspec.PolicyID(fmt.Sprintf("p%04d-%02d", g, n)), Group: group.ID, Name: fmt.Sprintf("job%02d", n),
					PolicyBody: backup.PolicyBody{Spec: wire.Policy{Volumes: []string{v.Name.Volume}, Repository: "main", Schedule: fmt.Sprintf("%02d:%02d", n%24, g%60), Timezone: "Europe/Berlin", RPO: "26h"}, Changed: now.AddDate(0, 0, -60)}}
				if err := tx.PutPolicy(p); err != nil {
					return err
				}
				for i := range points {
					at := now.Add(-time.Duration(i) * 24 * time.Hour)
					if err := tx.PutPoint(backup.Point{ID: volspec.PointID(fmt.Sprintf("%04x%02x%02x-0000", g, n, i)), Group: group.ID, Repository: r.ID, VolumeID: v.ID, Volume: v.Name.Volume, Datastore: "ds", Created: at, State: volspec.Verified}); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}))
	require.NoError(t, cat.Jobs().Update(ctx, func(tx job.Tx) error {
		for g, group := range e.groups {
			for n := range policies {
				for i := range points / 2 {
					at := now.Add(-time.Duration(i)*24*time.Hour - time.Duration(g%60)*time.Minute)
					v := e.volume(g, n)
					j := job.Job{ID: volspec.JobID(fmt.Sprintf("%04x%02x%02x-job", g, n, i)), Group: group.ID, Kind: "backup", Object: string(v.ID), State: job.Done, Created: at, Begun: at, EndedAt: at.Add(time.Minute),
						Policy: volspec.PolicyID(fmt.Sprintf("p%04d-%02d", g, n)), Unique: fmt.Sprintf("u%d-%d-%d", g, n, i)}
					if i%2 == 0 { // every second one is the run of which others are parts
						j.Kind, j.Object = "policy", string(j.Policy)
					}
					if err := tx.PutJob(j); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}))
	s := backup.New(backup.Options{Store: cat.Backup(), Volumes: e})
	e.backups = s
	s.Use(job.New(job.Options{Store: cat.Jobs()}))
	return e, overview.New(overview.Options{Store: cat.Overview(), Backups: seam{s}, Shares: &world{}, Keep: 90 * 24 * time.Hour})
}

// BenchmarkManyTenants asks for what the first page of the master shows, and for
// that of one tenant.
func BenchmarkManyTenants(b *testing.B) {
	e, s := newEstate(b, 1000, 20, 30)
	for name, ask := range map[string]func() error{
		"dashboard of all": func() error { _, err := s.Dashboard(b.Context(), "", "Europe/Berlin"); return err },
		"dashboard of one": func() error {
			_, err := s.Dashboard(b.Context(), e.groups[len(e.groups)/2].Name, "Europe/Berlin")
			return err
		},
		"calendar of all": func() error { _, err := s.Calendar(b.Context(), "", overview.Request{}); return err },
		"calendar of one": func() error {
			_, err := s.Calendar(b.Context(), e.groups[len(e.groups)/2].Name, overview.Request{})
			return err
		},
		"search in all": func() error {
			_, err := s.Search(b.Context(), volspec.Caller{Role: volspec.MasterAdmin}, "", "db07")
			return err
		},
	} {
		b.Run(name, func(b *testing.B) {
			require.NoError(b, ask()) // what Run keeps up to date is there
			for b.Loop() {
				require.NoError(b, ask())
			}
		})
	}
}

// What one tenant sees is its own, out of real services on a real catalog.
func TestNothingOfAnotherTenant(t *testing.T) {
	e, s := newEstate(t, 3, 4, 6)
	ctx := t.Context()
	own := e.groups[1].Name
	d, err := s.Dashboard(ctx, own, "UTC")
	require.NoError(t, err)
	require.Equal(t, []int{4, 24, 4}, []int{d.Protected, d.Points, len(d.Next) * 4 / 10})
	for _, r := range d.Next {
		require.Equal(t, own, r.VMGroup)
	}
	all, err := s.Dashboard(ctx, "", "UTC")
	require.NoError(t, err)
	again, err := s.Dashboard(ctx, own, "UTC")
	require.NoError(t, err)
	if again.Day.Done != d.Day.Done { // a quarter of an hour began
		d = again
		all, err = s.Dashboard(ctx, "", "UTC")
		require.NoError(t, err)
	}
	require.Equal(t, []int{12, 72, 3 * d.Day.Done}, []int{all.Protected, all.Points, all.Day.Done})
	c, err := s.Calendar(ctx, own, overview.Request{})
	require.NoError(t, err)
	require.NotEmpty(t, c.Runs)
	for _, r := range c.Runs {
		require.Equal(t, own, r.VMGroup)
	}
	for _, text := range []string{"job", "db", "tenant", "main", "0001", "0002"} {
		found, err := s.Search(ctx, volspec.Caller{Role: volspec.TenantAdmin}, own, text)
		require.NoError(t, err)
		for _, f := range found {
			require.Equal(t, own, f.VMGroup, text)
		}
	}
	_, err = s.Calendar(ctx, own, overview.Request{Policy: "other"})
	require.Equal(t, errkind.NotFound, errkind.Of(err))
}

// However many tenants there are, a page asks the catalog as often.
func TestPagesAskAsOftenForManyTenants(t *testing.T) {
	ask := func(tenants int) map[string]int64 {
		e, s := newEstate(t, tenants, 2, 2)
		own := e.groups[1].Name
		list := tenancy.New(tenancy.Options{Store: e.cat.Tenancy()})
		asked := map[string]int64{}
		for name, page := range map[string]func(context.Context) error{
			"dashboard of all": func(ctx context.Context) error { _, err := s.Dashboard(ctx, "", ""); return err },
			"dashboard of one": func(ctx context.Context) error { _, err := s.Dashboard(ctx, own, ""); return err },
			"calendar of all":  func(ctx context.Context) error { _, err := s.Calendar(ctx, "", overview.Request{}); return err },
			"calendar of one":  func(ctx context.Context) error { _, err := s.Calendar(ctx, own, overview.Request{}); return err },
			"tenants":          func(ctx context.Context) error { _, err := list.Tenants(ctx, tenancy.TenantQuery{}); return err },
			"tenants by health": func(ctx context.Context) error {
				_, err := list.Tenants(ctx, tenancy.TenantQuery{Sort: "health"})
				return err
			},
			"pool":        func(ctx context.Context) error { _, err := list.Pool(ctx); return err },
			"jobs of all": func(ctx context.Context) error { _, err := e.backups.Jobs(ctx, "", backup.JobFilter{}); return err },
			"jobs of one": func(ctx context.Context) error { _, err := e.backups.Jobs(ctx, own, backup.JobFilter{}); return err },
			"points of one": func(ctx context.Context) error {
				_, err := e.backups.Points(ctx, own, backup.PointFilter{})
				return err
			},
			"policies of one":     func(ctx context.Context) error { _, err := e.backups.Policies(ctx, own); return err },
			"protection of one":   func(ctx context.Context) error { _, err := e.backups.Protection(ctx, own); return err },
			"alarms of all":       func(ctx context.Context) error { _, err := e.backups.Alarms(ctx, ""); return err },
			"repositories of all": func(ctx context.Context) error { _, err := e.backups.Repositories(ctx, ""); return err },
			"search in all": func(ctx context.Context) error {
				_, err := s.Search(ctx, volspec.Caller{Role: volspec.MasterAdmin}, "", "db")
				return err
			},
			"look at schedules": func(ctx context.Context) error { _, err := e.backups.Scheduled(ctx); return err },
		} {
			for range 4 { // what Run keeps up to date may be found anew in one of them
				before := e.cat.Statements()
				require.NoError(t, page(t.Context()), name)
				n := e.cat.Statements() - before
				asked[name] = min(n, cmp.Or(asked[name], n))
			}
		}
		return asked
	}
	few := ask(3)
	require.Equal(t, few, ask(30))
	require.LessOrEqual(t, few["dashboard of all"], int64(20))
}
