package transporter_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const dev = volspec.VMGroupID("aaaaaaaa-0000-4000-8000-000000000000")

var admin = volspec.Caller{Admin: true, Actor: "admin:0"}

// newStore is a catalog with the vmgroup Dev.
func newStore(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutGroup(volspec.VMGroup{ID: dev, Name: "Dev"})
	}))
	return c
}

// process is one that runs a transporter, with signs of life that last.
func process(c *catalog.Catalog, name, instance string, expire time.Duration) *transporter.Service {
	return transporter.New(transporter.Options{Store: c.Transporters(), Name: name, Instance: instance, Host: "host-" + instance, Beat: time.Hour, Expire: expire})
}

// stop ends a process in good order.
func stop(t *testing.T, s *transporter.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, s.Run(ctx))
}

func state(t *testing.T, s *transporter.Service, name string) wire.Transporter {
	t.Helper()
	all, err := s.List(t.Context(), admin, "")
	require.NoError(t, err)
	for _, w := range all {
		if w.Name == name {
			return w
		}
	}
	require.Fail(t, "not listed", name)
	return wire.Transporter{}
}

func TestRemoveRefusesWhatIsNeeded(t *testing.T) {
	c := newStore(t)
	s := process(c, "", "main", time.Hour)
	site := process(c, "site-b", "b", time.Hour)
	require.NoError(t, site.Register(t.Context()))
	refused := func(name string, kind errkind.Kind, text string) {
		t.Helper()
		err := s.Remove(t.Context(), admin, name)
		require.Equal(t, kind, errkind.Of(err), err)
		assert.Contains(t, errkind.Text(err), text)
	}
	refused(wire.BuiltInTransporter, errkind.Denied, "part of the service")
	refused("site-c", errkind.NotFound, "mooring transporter ls")
	_, err := s.Set(t.Context(), admin, "Dev", []string{"site-b"})
	require.NoError(t, err)
	refused("site-b", errkind.InUse, "works for vmgroup Dev")
	_, err = s.Set(t.Context(), admin, "Dev", nil)
	require.NoError(t, err)
	refused("site-b", errkind.InUse, "stop mooringd on host-b")
	stop(t, site)
	require.NoError(t, s.Remove(t.Context(), admin, "site-b"))
	refused("site-b", errkind.NotFound, "not found")
}

// A transporter without a sign of life is offline, and a vmgroup that has no
// other one is told of.
func TestOfflineAfterExpiry(t *testing.T) {
	c := newStore(t)
	s := process(c, "", "main", time.Hour)
	require.NoError(t, s.Register(t.Context()))
	none, err := s.Away(t.Context(), dev)
	require.NoError(t, err)
	assert.Empty(t, none)

	_, err = s.Set(t.Context(), admin, "Dev", []string{"site-b"})
	require.Equal(t, errkind.NotFound, errkind.Of(err))
	require.NoError(t, process(c, "site-b", "b", time.Nanosecond).Register(t.Context()))
	_, err = s.Set(t.Context(), admin, "Dev", []string{"site-b"})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return state(t, s, "site-b").State == wire.TransporterOffline }, 30*time.Second, 5*time.Millisecond)
	all, err := s.Away(t.Context(), dev)
	require.NoError(t, err)
	require.Contains(t, all, dev)
	assert.Equal(t, []string{"site-b"}, all[dev].Names)
	assert.Less(t, all[dev].For, time.Hour)

	_, err = s.Set(t.Context(), admin, "Dev", []string{"site-b", wire.BuiltInTransporter})
	require.NoError(t, err)
	none, err = s.Away(t.Context(), dev)
	require.NoError(t, err)
	assert.Empty(t, none, "one is enough")
	_, err = s.Set(t.Context(), admin, "Dev", nil)
	require.NoError(t, err)
	all, err = s.Away(t.Context(), dev)
	require.NoError(t, err)
	assert.Equal(t, map[volspec.VMGroupID]transporter.Away{dev: {}}, all)
}

// Several processes can run one transporter: it is online as long as one of
// them is, and the jobs of all count.
func TestProcessesOfOneTransporter(t *testing.T) {
	c := newStore(t)
	first, second := process(c, "", "one", time.Hour), process(c, "", "two", time.Hour)
	require.NoError(t, first.Register(t.Context()))
	require.NoError(t, second.Register(t.Context()))
	require.NoError(t, c.Jobs().Update(t.Context(), func(tx job.Tx) error {
		for _, owner := range []string{"one", "two", "foreign"} {
			j := job.Job{ID: volspec.JobID(owner), Group: dev, Kind: "k", State: job.Running, Owner: owner, Created: time.Now()}
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		return nil
	}))
	assert.Equal(t, 2, state(t, first, wire.BuiltInTransporter).Jobs)
	stop(t, second)
	assert.Equal(t, wire.TransporterOnline, state(t, first, wire.BuiltInTransporter).State)
	stop(t, first)
	assert.Equal(t, wire.TransporterOffline, state(t, first, wire.BuiltInTransporter).State)
}
