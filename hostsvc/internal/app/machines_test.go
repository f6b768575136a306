package app

import (
	"path/filepath"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// VMs are seen by backup with the vmgroup they are members of, _DEFAULT if they
// are of no other, and a restored one becomes a member of its tenant's.
func TestVMsOfVMGroups(t *testing.T) {
	ids := []volspec.VMID{volspec.VMID(uuid.NewString()), volspec.VMID(uuid.NewString())}
	m := memory.New(memory.Options{
		Datastores: []hypervisor.Datastore{{Name: "one"}},
		VMs:        []hypervisor.VM{{ID: ids[0], Name: "a", Datastore: "one"}, {ID: ids[1], Name: "b", Datastore: "one"}},
	})
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close()) }()
	tenants := tenancy.New(tenancy.Options{Store: c.Tenancy(), Machines: m, Datastores: m, Folders: m})
	admin := volspec.Caller{Admin: true, Actor: "admin:0"}
	require.NoError(t, tenants.EnsureDefault(t.Context(), true))
	_, err = tenants.Create(t.Context(), admin, wire.CreateVMGroup{Name: "Dev", VMs: []string{"a"}})
	require.NoError(t, err)

	w := machinesOf(m, tenants)
	groups := func() map[string]string {
		all, err := w.Machines(t.Context(), "")
		require.NoError(t, err)
		out := map[string]string{}
		for _, v := range all {
			out[v.Name] = v.Group.Name
		}
		return out
	}
	assert.Equal(t, map[string]string{"a": "Dev", "b": volspec.DefaultGroup}, groups())
	only, err := w.Machines(t.Context(), volspec.DefaultGroupID)
	require.NoError(t, err)
	require.Len(t, only, 1)
	for range 2 {
		require.NoError(t, w.Adopt(t.Context(), admin, "Dev", ids[1]))
		require.NoError(t, w.Adopt(t.Context(), admin, volspec.DefaultGroup, ids[1]))
	}
	assert.Equal(t, map[string]string{"a": "Dev", "b": "Dev"}, groups())

	// A VM of a folder is in the scope of the vmgroup without being its member, and
	// has no vmgroup as a guest.
	c2 := volspec.VMID(uuid.NewString())
	m.MakeFolder("tenants/test")
	m.AddVM(hypervisor.VM{ID: c2, Name: "c", Datastore: "one", Folder: memory.AllVMs + "/tenants/test"})
	_, err = tenants.Create(t.Context(), admin, wire.CreateVMGroup{Name: "Test"})
	require.NoError(t, err)
	require.NoError(t, tenants.Remove(t.Context(), admin, volspec.DefaultGroup, false, false))
	assert.Equal(t, map[string]string{"a": "Dev", "b": "Dev"}, groups())
	require.NoError(t, tenants.AddFolder(t.Context(), admin, "Test", "tenants"))
	assert.Equal(t, map[string]string{"a": "Dev", "b": "Dev", "c": "Test"}, groups())
	all, err := w.Machines(t.Context(), "")
	require.NoError(t, err)
	assert.Equal(t, memory.AllVMs+"/tenants/test", all[2].Folder)
	require.NoError(t, w.Adopt(t.Context(), admin, "Test", c2))
	require.NoError(t, c.Volumes().View(t.Context(), func(tx volume.Tx) error {
		_, err := tx.GroupOfVM(c2)
		assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
		return nil
	}))
	test := all[2].Group.ID
	for f, want := range map[volspec.Folder]bool{memory.AllVMs + "/tenants/test": true, memory.AllVMs + "/tenants/gone": false, memory.AllVMs: false} {
		got, err := w.Granted(t.Context(), test, f)
		require.NoError(t, err)
		assert.Equal(t, want, got, f)
	}
	m.MoveFolder("tenants", "old")
	assert.Equal(t, map[string]string{"a": "Dev", "b": "Dev"}, groups())
	assert.Nil(t, machinesOf(struct{ hypervisor.Hypervisor }{m}, tenants), "without images of VMs there are none")
}
