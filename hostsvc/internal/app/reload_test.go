package app

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

func TestReloadAddsAndRemovesVMsDatastoresAndVMGroups(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	s.write(t, "[log]\nlevel='debug'\n"+twoVMs) // invalid: [log] twice
	err := s.d.reload(t.Context())
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	_, err = s.guest(t, "vm1").Hello(t.Context())
	require.NoError(t, err)

	s.write(t, `
[[datastore]]
name = "d1"
path = "/d1"
[[datastore]]
name = "d2"
path = "/d2"
[[vm]]
name = "vm1"
datastore = "d1"
[[vm]]
name = "vm3"
datastore = "d2"
[[vmgroup]]
name = "g"
vms = ["vm3"]
default_datastore = "d2"
`)
	require.NoError(t, s.d.reload(t.Context()))
	v, err := s.guest(t, "vm3").Create(t.Context(), wire.CreateVolume{Name: "db"})
	require.NoError(t, err)
	assert.Equal(t, "g", v.VMGroup)
	assert.Equal(t, "d2", v.Datastore)
	assert.NoFileExists(t, s.dir+"/run/guest/vm2.sock")
	_, err = s.guest(t, "vm1").Hello(t.Context())
	require.NoError(t, err)
	st, err := s.admin(t).Status(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, st.Counts["vms"])
	assert.EqualValues(t, 2, st.Counts["datastores"])

	// d2 has a volume now: it cannot go, and nothing else of that file is taken.
	s.write(t, twoVMs)
	err = s.d.reload(t.Context())
	assert.Equal(t, errkind.InUse, errkind.Of(err))
	assert.ErrorContains(t, err, "datastore d2 has 1 volume: it keeps its name and path until they are gone")
	assert.NoFileExists(t, s.dir+"/run/guest/vm2.sock")
	_, err = s.guest(t, "vm3").Get(t.Context(), "db")
	require.NoError(t, err)
}

// Whatever step of a reload is refused, everything stays as it was.
func TestReloadIsAllOrNothing(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	more := twoVMs + "[[vm]]\nname='vm3'\ndatastore='d1'\n[[vmgroup]]\nname='g'\nvms=['vm3']\n"

	refused := func(t *testing.T, why string) {
		t.Helper()
		require.ErrorContains(t, s.d.reload(t.Context()), why)
		assert.NoFileExists(t, s.dir+"/run/guest/vm3.sock")
		st, err := s.admin(t).Status(t.Context())
		require.NoError(t, err)
		assert.EqualValues(t, 2, st.Counts["vms"])
		assert.EqualValues(t, 1, st.Counts["vmgroups"])
		_, err = s.guest(t, "vm2").Hello(t.Context())
		require.NoError(t, err)
	}
	t.Run("a socket's place is taken", func(t *testing.T) {
		s.write(t, more+"[[vm]]\nname='vm4'\ndatastore='d1'\nsocket='"+s.path+"'\n")
		refused(t, "a file that is not a socket is there")
	})
	t.Run("the hypervisor refuses", func(t *testing.T) {
		s.host.mu.Lock()
		s.host.refuse = errors.New("the hypervisor refuses")
		s.host.mu.Unlock()
		s.write(t, more)
		refused(t, "refuses")
		s.host.mu.Lock()
		s.host.refuse = nil
		s.host.mu.Unlock()
	})
	t.Run("a vmgroup cannot be applied", func(t *testing.T) {
		// vm1 holds a volume and cannot change its vmgroup.
		_, err := s.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "db"})
		require.NoError(t, err)
		a, err := s.guest(t, "vm1").Attach(t.Context(), "db", wire.Attach{BootID: "b"})
		require.NoError(t, err)
		s.write(t, more+"[[vmgroup]]\nname='h'\nvms=['vm1']\n")
		refused(t, "has volumes mounted")
		// Nor can vm1 vanish or be elsewhere.
		s.write(t, twoVMs[:len(twoVMs)-len("[[vm]]\nname = \"vm2\"\ndatastore = \"d1\"\n")]+"dev='/elsewhere'\n[[vm]]\nname='vm3'\ndatastore='d1'\n")
		refused(t, "VM vm1 has db@d1 attached")
		require.NoError(t, s.guest(t, "vm1").Detach(t.Context(), "db", wire.Detach{Epoch: a.Epoch}))
	})
	t.Run("only a restart can change it", func(t *testing.T) {
		s.write(t, more+"[volume]\ntrash_keep='1h'\n")
		refused(t, "volume cannot change while mooringd runs")
	})
	s.write(t, more)
	require.NoError(t, s.d.reload(t.Context()))
	_, err := s.guest(t, "vm3").Hello(t.Context())
	require.NoError(t, err)
}

func TestReloadChangesTheLogLevel(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	defer func() { require.NoError(t, log.Setup(log.Options{Level: "error", Format: "text"})) }()
	require.NoError(t, os.MkdirAll(s.path+".d", 0o755))
	require.NoError(t, os.WriteFile(s.path+".d/log.toml", []byte("[log]\nlevel='warn'\n"), 0o600))
	s.reload <- syscall.SIGHUP
	s.reload <- syscall.SIGHUP // taken when the first is done
	assert.Equal(t, "warn", log.Level())
}

func TestFixedNamesEveryKeyThatNeedsARestart(t *testing.T) {
	old, err := config.Parse("x", []byte(twoVMs))
	require.NoError(t, err)
	require.NoError(t, fixed(old, old))
	next := old
	next.StateDir, next.RunDir, next.Metrics.Listen = "/other", "/other", ":1"
	next.Catalog.Path, next.Admin.Group, next.Volume.Reconcile = "/x", "x", config.Duration(time.Hour)
	next.VMs = append([]config.VM{}, old.VMs...)
	next.VMs[1].SocketMode = 0o666
	err = fixed(old, next)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	for _, key := range []string{"state_dir", "run_dir", "metrics.listen", "catalog", "admin", "volume", "vm[1]"} {
		assert.ErrorContains(t, err, key)
	}
}
