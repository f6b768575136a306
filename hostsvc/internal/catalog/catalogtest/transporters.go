package catalogtest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// groupC is a vmgroup that transporters share.
const groupC = volspec.VMGroupID("cccccccc-0000-4000-8000-000000000000")

func movers(t require.TestingT, c Catalog, fn func(transporter.Tx) error) {
	require.NoError(t, c.Transporters().Update(context.Background(), fn))
}

// transporters: the built-in one is there and has every new vmgroup; others come
// and go, and bindings are replaced whole.
func transporters(t *testing.T, b Backend) {
	c := open(t, b)
	site := transporter.Transporter{
		Name: "site-b", Instance: "i", Seen: time.Unix(7, 8).UTC(), Expires: time.Unix(9, 1).UTC(),
		Body: transporter.Body{Description: "d", Declared: "e", Host: "h", Version: "v"},
	}
	movers(t, c, func(tx transporter.Tx) error {
		all, err := tx.Transporters()
		require.NoError(t, err)
		assert.Equal(t, []transporter.Transporter{{Name: wire.BuiltInTransporter}}, all)
		bound, err := tx.Bindings("")
		require.NoError(t, err)
		assert.Equal(t, []transporter.Binding{{Group: groupA, Name: "A", Transporter: wire.BuiltInTransporter}, {Group: groupB, Name: "B", Transporter: wire.BuiltInTransporter}}, bound)

		require.NoError(t, tx.PutTransporter(transporter.Transporter{Name: "site-b"}))
		require.NoError(t, tx.PutTransporter(site))
		return tx.Bind(groupA, []string{"site-b", wire.BuiltInTransporter})
	})
	movers(t, c, func(tx transporter.Tx) error {
		got, err := tx.Transporter("site-b")
		require.NoError(t, err)
		assert.Equal(t, site, got)
		_, err = tx.Transporter("site-c")
		assert.Equal(t, errkind.NotFound, errkind.Of(err))
		bound, err := tx.Bindings(groupA)
		require.NoError(t, err)
		assert.Equal(t, []transporter.Binding{{Group: groupA, Name: "A", Transporter: wire.BuiltInTransporter}, {Group: groupA, Name: "A", Transporter: "site-b"}}, bound)
		names, err := tx.(tenancy.Tx).Bound(groupA)
		require.NoError(t, err)
		assert.Equal(t, []string{wire.BuiltInTransporter, "site-b"}, names)
		names, err = tx.(tenancy.Tx).TransporterNames()
		require.NoError(t, err)
		assert.Equal(t, []string{wire.BuiltInTransporter, "site-b"}, names)
		require.NoError(t, tx.Bind(groupA, nil))
		bound, err = tx.Bindings(groupA)
		require.NoError(t, err)
		assert.Empty(t, bound)
		require.NoError(t, tx.DeleteTransporter("site-b"))
		_, err = tx.Transporter("site-b")
		assert.Equal(t, errkind.NotFound, errkind.Of(err))
		return nil
	})
	jobs(t, c, func(tx job.Tx) error {
		for n, s := range []job.State{job.Running, job.Running, job.Queued, job.Done} {
			j := jobN(n, groupA, s)
			j.Owner = "i"
			require.NoError(t, tx.PutJob(j))
		}
		return nil
	})
	movers(t, c, func(tx transporter.Tx) error {
		all, err := tx.RunningJobs()
		assert.Equal(t, []transporter.Running{{Instance: "i", Group: groupA, Jobs: 2}}, all)
		return err
	})
}

// boundRunners: of two transporters on one catalog each takes the jobs of the
// vmgroups that are bound to it, both those that are bound to both. What a dead
// one ran another takes that is bound, and no other.
func boundRunners(t *testing.T, b Backend) {
	c := open(t, b)
	groups(t, c, func(tx tenancy.Tx) error { return tx.PutGroup(volspec.VMGroup{ID: groupC, Name: "C"}) })
	movers(t, c, func(tx transporter.Tx) error {
		require.NoError(t, tx.PutTransporter(transporter.Transporter{Name: "site-b"}))
		require.NoError(t, tx.Bind(groupB, []string{"site-b"}))
		return tx.Bind(groupC, []string{"site-b", wire.BuiltInTransporter})
	})
	jobs(t, c, func(tx job.Tx) error {
		for n, g := range []volspec.VMGroupID{groupA, groupB, groupC} {
			j := jobN(n, g, job.Running)
			j.Owner, j.Fence, j.Attempts, j.Expires = "dead", 1, 1, time.Unix(1, 0)
			require.NoError(t, tx.PutJob(j))
		}
		return tx.PutJob(jobN(9, "a vmgroup that is gone", job.Queued))
	})
	var mu sync.Mutex
	by := map[volspec.VMGroupID]map[string]int{}
	runner := func(handle Catalog, name string) *job.Runner {
		run := func(_ context.Context, task *job.Task) error {
			mu.Lock()
			defer mu.Unlock()
			g := task.Job().Group
			if by[g] == nil {
				by[g] = map[string]int{}
			}
			by[g][name]++
			return nil
		}
		return job.New(job.Options{
			Store: handle.Jobs(), Instance: name, Transporter: name, Poll: 20 * time.Millisecond, Lease: 5 * time.Second,
			Kinds: map[string]job.Handler{"k": {Run: run, Resume: true}},
		})
	}
	ended := func(r *job.Runner, id volspec.JobID) {
		t.Helper()
		j, err := r.Wait(t.Context(), id)
		require.NoError(t, err)
		assert.Equal(t, job.Done, j.State, j.Error)
	}
	start := func(r *job.Runner) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		return func() { cancel(); assert.NoError(t, <-done) }
	}

	main := runner(c, wire.BuiltInTransporter)
	stop := start(main)
	ended(main, "j000")
	ended(main, "j002")
	ended(main, "j009")
	later, err := main.Enqueue(t.Context(), job.Job{Group: groupA, Kind: "k"})
	require.NoError(t, err)
	ended(main, later.ID)
	left, err := main.Get(t.Context(), "j001")
	require.NoError(t, err)
	assert.Equal(t, job.Queued, left.State, "nobody online works for B, whose job is taken from the dead")

	site := runner(b.Again(t, c), "site-b")
	stopSite := start(site)
	ended(site, "j001")
	stop()
	alone, err := site.Enqueue(t.Context(), job.Job{Group: groupC, Kind: "k"})
	require.NoError(t, err)
	ended(site, alone.ID)
	foreign, err := site.Enqueue(t.Context(), job.Job{Group: groupA, Kind: "k"})
	require.NoError(t, err)
	after, err := site.Enqueue(t.Context(), job.Job{Group: groupB, Kind: "k"})
	require.NoError(t, err)
	ended(site, after.ID)
	stopSite()
	left, err = site.Get(t.Context(), foreign.ID)
	require.NoError(t, err)
	assert.Equal(t, job.Queued, left.State)

	assert.Equal(t, map[string]int{wire.BuiltInTransporter: 2}, by[groupA])
	assert.Equal(t, map[string]int{"site-b": 2}, by[groupB])
	assert.Equal(t, map[string]int{wire.BuiltInTransporter: 1, "site-b": 1}, by[groupC])
}
