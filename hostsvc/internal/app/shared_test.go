package app_test

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog/pgtest"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// pair is two daemons with one catalog and the same datastores, each with a
// VM of its own.
func pair(t *testing.T) (a, b *process, server *pgtest.Server) {
	t.Helper()
	server = pgtest.For(t)
	db, err := server.NewDatabase(t.Context())
	require.NoError(t, err)
	settings := func(p *process) string {
		require.NoError(t, os.WriteFile(p.path("dsn"), []byte(server.DSN(db)+"\n"), 0o600))
		return fmt.Sprintf("[catalog]\ndriver='postgres'\ndsn_file=%q\n[volume]\nreconcile='1s'\n", p.path("dsn"))
	}
	a = newProcess(t, []string{"vma"}, "")
	b = newProcess(t, []string{"vmb"}, "")
	for _, p := range []*process{a, b} {
		text, err := os.ReadFile(p.path("mooring.toml"))
		require.NoError(t, err)
		p.write(t, string(text)+settings(p))
	}
	for _, ds := range []string{"datastore1", "datastore3"} {
		require.NoError(t, os.Remove(b.path(ds)))
		require.NoError(t, os.Symlink(a.path(ds), b.path(ds)))
	}
	a.start(t)
	key, err := os.ReadFile(a.path("state/master.key"))
	require.NoError(t, err)
	assert.False(t, b.begins(t), "another master key than that of the catalog")
	assert.Contains(t, b.out.String(), "copy its file master.key to "+b.path("state/master.key"))
	require.NoError(t, os.WriteFile(b.path("state/master.key"), key, 0o600))
	b.start(t)
	return a, b, server
}

// One authority for two hosts: the quota is exact, and a disk has one holder.
func TestTwoDaemonsOnOneCatalog(t *testing.T) {
	a, b, server := pair(t)
	_, err := a.admin(t).CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: "team"})
	require.NoError(t, err)
	yes, total := true, volspec.Size(10*(16<<20))
	require.NoError(t, a.admin(t).AddAccess(t.Context(), "team", wire.SetAccess{Datastore: "datastore1", AllowCreate: &yes, TotalSize: &total, DefaultDatastore: true}))
	require.NoError(t, a.admin(t).AddVMs(t.Context(), "team", []string{"vma"}))
	require.NoError(t, b.admin(t).AddVMs(t.Context(), "team", []string{"vmb"}))

	var made atomic.Int32
	var creators sync.WaitGroup
	for i := range 20 {
		c := a.guest(t, "vma")
		if i%2 == 1 {
			c = b.guest(t, "vmb")
		}
		creators.Go(func() {
			_, err := c.Create(t.Context(), wire.CreateVolume{Name: fmt.Sprintf("v%d", i), Options: map[string]string{"size": "16mb"}})
			if err == nil {
				made.Add(1)
			} else {
				assert.Equal(t, errkind.Quota, errkind.Of(err), "%v", err)
			}
		})
	}
	creators.Wait()
	assert.EqualValues(t, 10, made.Load())

	volumes, err := a.guest(t, "vma").List(t.Context())
	require.NoError(t, err)
	require.Len(t, volumes, 10)
	name := volumes[0].Name
	held, err := b.guest(t, "vmb").Attach(t.Context(), name, wire.Attach{BootID: "b"})
	require.NoError(t, err)
	_, err = a.guest(t, "vma").Attach(t.Context(), name, wire.Attach{BootID: "a"})
	assert.Equal(t, errkind.InUse, errkind.Of(err), "%v", err)
	time.Sleep(3 * time.Second) // the other one compares with its hypervisor meanwhile
	v, err := a.guest(t, "vma").Get(t.Context(), name)
	require.NoError(t, err)
	assert.Equal(t, "vmb", v.AttachedTo)
	assert.Equal(t, held.Epoch, v.Epoch)
	assert.FileExists(t, b.path("dev-vmb/mooring/"+held.Serial))
	require.NoError(t, b.guest(t, "vmb").Detach(t.Context(), name, wire.Detach{Epoch: held.Epoch}))

	// Without its server the service says so, and goes on when it is back.
	require.NoError(t, server.Kill())
	_, err = a.guest(t, "vma").Get(t.Context(), name)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	require.NoError(t, server.Up())
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := b.guest(t, "vmb").Get(t.Context(), name)
		assert.NoError(c, err)
	}, 20*time.Second, 100*time.Millisecond)
}
