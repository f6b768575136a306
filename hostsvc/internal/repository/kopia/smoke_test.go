package kopia_test

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/volspec"
)

func TestSmoke(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	o := kopia.New(kopia.Options{Dir: filepath.Join(dir, "state"), Owner: "inst"})
	p := repository.Place{Location: repository.Location{Type: repository.Directory, Path: filepath.Join(dir, "repo")}}
	id, err := o.Create(ctx, p, "key", repository.Identity{ID: "r1", Tenant: "t1"})
	require.NoError(t, err)
	t.Log(id)
	r, err := o.Open(ctx, p, "key", "r1")
	require.NoError(t, err)
	d := repositorytest.NewDisk(200<<20 + 512)
	rnd := rand.New(rand.NewPCG(1, 2))
	require.NoError(t, d.Fill(rnd, 3<<20, 50<<20))
	require.NoError(t, d.Fill(rnd, 190<<20, 10<<20+512))
	s, _ := d.Snapshot()
	start := time.Now()
	src := repository.Source{Tenant: "t1", TenantName: "Tenant", Volume: "v1", Name: "db@local"}
	pt, err := r.Write(ctx, repository.Backup{Point: repository.Point{ID: "p1", Source: src, Created: time.Now()}, Image: s}, nil)
	require.NoError(t, err)
	t.Log(pt, time.Since(start))
	require.NoError(t, d.Fill(rnd, 100<<20, 100<<10))
	s2, ch := d.Snapshot()
	start = time.Now()
	pt, err = r.Write(ctx, repository.Backup{Point: repository.Point{ID: "p2", Source: src, Created: time.Now()}, Image: s2, Parent: "p1", Changed: repositorytest.Extents(ch), Sample: 0.01}, nil)
	require.NoError(t, err)
	t.Log(pt, time.Since(start), s2.Read())
	ps, err := r.Points(ctx)
	require.NoError(t, err)
	require.Len(t, ps, 2)
	for i, s := range []*repositorytest.Snapshot{s, s2} {
		m, err := r.Open(ctx, ps[i].ID)
		require.NoError(t, err)
		at, err := repositorytest.Differ(s, m)
		require.NoError(t, err)
		require.EqualValues(t, -1, at)
		require.NoError(t, m.Close())
	}
	run := func(args ...string) string {
		c := exec.Command("../../../../.cache/bin/kopia", args...)
		c.Env = append(os.Environ(), "KOPIA_PASSWORD=key", "HOME="+dir, "KOPIA_CONFIG_PATH="+filepath.Join(dir, "k.config"), "KOPIA_CHECK_FOR_UPDATES=false")
		b, err := c.CombinedOutput()
		require.NoError(t, err, "%s", b)
		return string(b)
	}
	t.Log(run("repository", "connect", "filesystem", "--path", p.Location.Path))
	t.Log(run("snapshot", "list", "--all"))
	t.Log(run("snapshot", "verify", "--verify-files-percent=100"))
	require.NoError(t, r.Delete(ctx, volspec.PointID("p1")))
	require.NoError(t, r.Close(ctx))
	r, err = o.Open(ctx, p, "key", "r1")
	require.NoError(t, err)
	ps, err = r.Points(ctx)
	require.NoError(t, err)
	require.Len(t, ps, 1)
	require.NoError(t, r.Close(ctx))
}
