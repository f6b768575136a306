package tenancy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// protectors are the vmgroups that may protect VMs, by VM; one that may because
// of a folder has a slash behind it.
func (w *world) protectors(t *testing.T) map[string]string {
	t.Helper()
	all, err := w.Protected(t.Context())
	require.NoError(t, err)
	out := map[string]string{}
	for _, p := range all {
		out[p.VM.Name] = p.Group.Name + map[bool]string{true: "/"}[p.Granted]
	}
	return out
}

func TestFoldersOfAVMGroup(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("acme", "Photon1")
	w.group("globex", "Photon2")
	w.place("Photon2", "/DC0/vm/tenants/acme")
	w.place("Photon3", "/DC0/vm/tenants/acme/web")
	w.place("Photon4", "/DC0/vm/tenants/acmeplus")
	w.place("Photon5", "/DC0/vm/tenants")
	require.NoError(t, w.AddFolder(ctx, root, "acme", "tenants/acme/"))
	assert.Equal(t, []volspec.Folder{"/DC0/vm/tenants/acme"}, w.get("acme").Folders)
	assert.Equal(t, map[string]string{"Photon1": "acme", "Photon2": "globex", "Photon3": "acme/"}, w.protectors(t), "membership wins")

	require.NoError(t, w.AddFolder(ctx, root, "acme", "/DC0/vm/tenants/acme/web"), "a vmgroup's folders may hold each other")
	refused(t, w.AddFolder(ctx, root, "acme", "tenants/acme"), errkind.Exists, "Folder /DC0/vm/tenants/acme has already been granted to vmgroup acme")
	for _, folder := range []string{"tenants", "tenants/acme", "tenants/acme/web"} {
		err := w.AddFolder(ctx, root, "globex", folder)
		refused(t, err, errkind.Exists, "Folder /DC0/vm/"+folder+" cannot be granted to vmgroup globex: folder /DC0/vm/tenants/acme")
		assert.Contains(t, errkind.Text(err), "to vmgroup acme, ", "the administrator is told whose it is")
	}
	require.NoError(t, w.AddFolder(ctx, root, "globex", "tenants/globex"))
	refused(t, w.AddFolder(ctx, root, "none", "acme"), errkind.NotFound, "Vmgroup none does not exist")
	refused(t, w.AddFolder(ctx, root, "acme", "nowhere"), errkind.NotFound, "no folder")
	refused(t, w.AddFolder(ctx, root, "acme", "a/../b"), errkind.Invalid, `Folder "a/../b" is not valid`)

	list, err := w.Folders(ctx, "acme")
	require.NoError(t, err)
	require.Len(t, list, 2)
	assert.Equal(t, []any{"there", "there"}, []any{list[0].State, list[1].State})
	require.Len(t, list[0].VMs, 1)
	assert.Equal(t, "Photon3", list[0].VMs[0].Name, "those of other vmgroups are not its")

	// What is moved is out, or in, at once.
	w.place("Photon3", "/DC0/vm/tenants")
	w.place("Photon5", "/DC0/vm/tenants/globex/db")
	assert.Equal(t, map[string]string{"Photon1": "acme", "Photon2": "globex", "Photon5": "globex/"}, w.protectors(t))

	// One that is gone is said to be missing, and goes by the path it had.
	w.tree = nil
	list, err = w.Folders(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "missing", list[0].State)
	require.NoError(t, w.RemoveFolder(ctx, root, "acme", "acme/web"))
	refused(t, w.RemoveFolder(ctx, root, "acme", "tenants/globex"), errkind.NotFound, "Folder tenants/globex has not been granted to vmgroup acme")
	w.away = errkind.New(errkind.Unavailable, "away")
	list, err = w.Folders(ctx, "acme")
	require.NoError(t, err)
	assert.Equal(t, "unknown", list[0].State)
	require.NoError(t, w.RemoveFolder(ctx, root, "acme", "/DC0/vm/tenants/acme"))
	assert.Empty(t, w.get("acme").Folders)

	var lines []string
	for _, a := range w.audit() {
		if a.Action == "vmgroup folder rm" {
			lines = append(lines, a.Outcome)
		}
	}
	assert.ElementsMatch(t, []string{"ok", "not-found", "ok"}, lines)
}

// _DEFAULT has what nobody else may protect, and is granted nothing.
func TestFoldersAndTheDefaultVMGroup(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.EnsureDefault(ctx, true))
	w.group("acme", "Photon1")
	w.vms = w.vms[:3]
	w.place("Photon2", "/DC0/vm/acme")
	refused(t, w.AddFolder(ctx, root, "_DEFAULT", "acme"), errkind.Invalid, "This feature is not supported for vmgroup _DEFAULT.")
	assert.Equal(t, map[string]string{"Photon1": "acme", "Photon2": "_DEFAULT", "Photon3": "_DEFAULT"}, w.protectors(t))
	require.NoError(t, w.AddFolder(ctx, root, "acme", "acme"))
	assert.Equal(t, map[string]string{"Photon1": "acme", "Photon2": "acme/", "Photon3": "_DEFAULT"}, w.protectors(t))
}

// A folder gives no right to volumes: the VM in it is of no vmgroup.
func TestAFolderIsNoMembership(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("acme")
	w.place("Photon1", "/DC0/vm/acme")
	require.NoError(t, w.AddFolder(ctx, root, "acme", "acme"))
	require.Equal(t, "acme/", w.protectors(t)["Photon1"])
	err := w.cat.Volumes().View(ctx, func(tx volume.Tx) error {
		_, err := tx.GroupOfVM("id-Photon1")
		return err
	})
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	assert.Empty(t, w.members("acme"))
	require.NoError(t, w.Remove(ctx, root, "acme", false, false), "its VMs do not keep a vmgroup")
	w.group("globex")
	require.NoError(t, w.AddFolder(ctx, root, "globex", "acme"), "the folder went with the vmgroup")
}

func TestNoFolders(t *testing.T) {
	w := newWorld(t)
	w.group("acme")
	s := tenancy.New(tenancy.Options{Store: w.cat.Tenancy(), Machines: w, Datastores: w})
	refused(t, s.AddFolder(t.Context(), root, "acme", "acme"), errkind.Unsupported, "Folder acme cannot be granted: this hypervisor has no folders of VMs")
	all, err := s.Folders(t.Context(), "acme")
	require.NoError(t, err)
	assert.Empty(t, all)
}

func TestApplyFolders(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	a := tenancy.Declared{Name: "a", Folders: []string{"tenants/acme", "/DC0/vm/acme"}}
	b := tenancy.Declared{Name: "b", Folders: []string{"tenants/globex"}}
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{a, b}))
	assert.Equal(t, []volspec.Folder{"/DC0/vm/acme", "/DC0/vm/tenants/acme"}, w.get("a").Folders)
	refused(t, w.AddFolder(ctx, root, "a", "tenants/acme/web"), errkind.Denied, "Vmgroup a is declared")
	before := len(w.audit())
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{a, b}))
	assert.Len(t, w.audit(), before, "nothing changes")

	// Folders move between declared vmgroups, in any order, and one that is gone
	// stays where it is.
	w.tree = slices.DeleteFunc(w.tree, func(f volspec.Folder) bool { return f == "/DC0/vm/tenants/globex" })
	a.Folders, b.Folders = []string{"acme"}, []string{"tenants/globex", "tenants/acme/web"}
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{b, a}))
	assert.Equal(t, []volspec.Folder{"/DC0/vm/acme"}, w.get("a").Folders)
	assert.Equal(t, []volspec.Folder{"/DC0/vm/tenants/acme/web", "/DC0/vm/tenants/globex"}, w.get("b").Folders)

	w.group("hand")
	for _, c := range []struct {
		folders []string
		kind    errkind.Kind
		text    string
	}{
		{[]string{"nowhere"}, errkind.NotFound, "no folder /DC0/vm/nowhere"},
		{[]string{"a", ".."}, errkind.Invalid, `Folder ".." is not valid`},
		{[]string{"acme", "/DC0/vm/acme"}, errkind.Exists, "has already been granted to vmgroup a"},
		{[]string{"tenants"}, errkind.Exists, "has been granted to vmgroup"},
	} {
		a.Folders = c.folders
		err := w.Apply(ctx, file, []tenancy.Declared{b, a})
		require.Error(t, err)
		assert.ErrorContains(t, err, c.text)
		assert.Equal(t, []volspec.Folder{"/DC0/vm/acme"}, w.get("a").Folders, "all or none")
	}
	err := w.Apply(ctx, file, []tenancy.Declared{{Name: "_DEFAULT", Folders: []string{"acme"}}})
	assert.ErrorContains(t, err, "This feature is not supported for vmgroup _DEFAULT.")
}

// Whatever is granted and taken away in whatever order: no VM is in the scope of
// two vmgroups, and a refused grant would have made it so.
func TestFoldersNeverOverlap(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.tree, w.vms = nil, nil
	for _, a := range "abc" {
		top := allVMs + volspec.Folder("/"+string(a))
		w.tree = append(w.tree, top)
		for _, b := range "ab" {
			w.tree = append(w.tree, top+volspec.Folder("/"+string(b)), top+volspec.Folder("/"+string(b)+"/c"))
		}
	}
	for i, f := range w.tree {
		w.vms = append(w.vms, hypervisor.VM{ID: volspec.VMID(fmt.Sprint(i)), Name: string(f), Folder: f})
	}
	groups := []string{"x", "y", "z"}
	for _, g := range groups {
		w.group(g)
	}
	in := func(g wire.VMGroup, vm hypervisor.VM) bool {
		return slices.ContainsFunc(g.Folders, func(f volspec.Folder) bool { return f.Holds(vm.Folder) })
	}
	random := rand.New(rand.NewPCG(1, 2))
	met := map[bool]int{}
	for range 300 {
		g, f := groups[random.IntN(len(groups))], w.tree[random.IntN(len(w.tree))]
		if random.IntN(3) == 0 {
			_ = w.RemoveFolder(ctx, root, g, string(f))
		} else if err := w.AddFolder(ctx, root, g, string(f)); err != nil {
			require.Equal(t, errkind.Exists, errkind.Of(err))
			taken := slices.Contains(w.get(g).Folders, f)
			for _, other := range groups {
				for _, vm := range w.vms {
					taken = taken || other != g && f.Holds(vm.Folder) && in(w.get(other), vm)
				}
			}
			require.True(t, taken, "%s was refused to %s without a reason", f, g)
			met[true]++
		} else {
			met[false]++
		}
		all, err := w.List(ctx)
		require.NoError(t, err)
		for _, vm := range w.vms {
			var owners []string
			for _, g := range all {
				if in(g, vm) {
					owners = append(owners, g.Name)
				}
			}
			require.LessOrEqual(t, len(owners), 1, "%s: %v", vm.Folder, owners)
		}
	}
	assert.Greater(t, met[true], 20)
	assert.Greater(t, met[false], 20)
}
