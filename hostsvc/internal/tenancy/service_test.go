package tenancy_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// TestGuide is the example of the tenancy guide, step by step.
func TestGuide(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.EnsureDefault(ctx, true))
	all, err := w.List(ctx)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, volspec.VMGroupID("11111111-1111-1111-1111-111111111111"), all[0].ID)
	assert.Equal(t, "_DEFAULT", all[0].Name)
	assert.Equal(t, "This is a default vmgroup", all[0].Description)
	assert.Empty(t, all[0].DefaultDatastore)
	assert.Empty(t, all[0].VMs)

	w.group("Product1Dev")
	w.group("Product1Test")
	require.NoError(t, w.Remove(ctx, root, "_DEFAULT", false, false))
	all, err = w.List(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	for i, name := range []string{"Product1Dev", "Product1Test"} {
		assert.Equal(t, name, all[i].Name)
		assert.Empty(t, all[i].Access, "no row but those that are added")
	}
	require.NoError(t, w.AddVMs(ctx, root, "Product1Dev", []string{"Photon3", "Photon1", "Photon2"}))
	require.NoError(t, w.AddVMs(ctx, root, "Product1Test", []string{"Photon4", "Photon5", "Photon6"}))
	assert.Equal(t, []string{"Photon1", "Photon2", "Photon3"}, w.members("Product1Dev"))

	require.NoError(t, w.AddAccess(ctx, root, "Product1Dev", wire.SetAccess{
		Datastore: "datastore3", AllowCreate: p(true), DefaultDatastore: true, MaxSize: p(gib), TotalSize: p(20 * gib)}))
	dev := w.get("Product1Dev")
	assert.Equal(t, "datastore3", dev.DefaultDatastore)
	assert.Equal(t, []wire.Access{{Datastore: "datastore3", AllowCreate: true, MaxSize: gib, TotalSize: 20 * gib}}, dev.Access)

	check := func(name string) error {
		n, err := volspec.ParseName(name)
		require.NoError(t, err)
		return w.cat.Volumes().View(ctx, func(tx volume.Tx) error {
			r, err := tx.Rights(dev.ID)
			require.NoError(t, err)
			ds, err := tenancy.Resolve(r, onDS1, n)
			require.NoError(t, err)
			return tenancy.Check(r, volspec.Usage{}, volspec.Request{Action: volspec.DoCreate, Name: n, Datastore: ds, Caller: onDS1, Add: 2 * gib, Full: 2 * gib})
		})
	}
	refused(t, check("MyVolume"), errkind.Quota, "Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed for vmgroup Product1Dev on datastore3")
	refused(t, check("MyVolume@datastore1"), errkind.Denied, "No create privilege")
}

func TestCreateRefusals(t *testing.T) {
	w := newWorld(t)
	w.group("taken", "Photon1")
	w.volume("taken", "v", "Photon2", volspec.Ready)
	for _, c := range []struct {
		req  wire.CreateVMGroup
		kind errkind.Kind
		text string
	}{
		{wire.CreateVMGroup{Name: "taken"}, errkind.Exists, "Vmgroup taken already exists"},
		{wire.CreateVMGroup{Name: "*"}, errkind.Invalid, "Vmgroup name * is invalid, only [a-zA-Z0-9_][a-zA-Z0-9_.-]* is allowed"},
		{wire.CreateVMGroup{Name: ""}, errkind.Invalid, "Vmgroup name  is invalid"},
		{wire.CreateVMGroup{Name: "g", DefaultDatastore: "none"}, errkind.NotFound, "Datastore none does not exist"},
		{wire.CreateVMGroup{Name: "g", DefaultDatastore: "_ALL_DS"}, errkind.Invalid, "Cannot use _ALL_DS as default datastore. Please use specific datastore name or _VM_DS special datastore"},
		{wire.CreateVMGroup{Name: "g", Description: strings.Repeat("x", 257)}, errkind.Invalid, "Vmgroup description exceeds 256 characters: x"},
		{wire.CreateVMGroup{Name: "g", Description: "two\nlines"}, errkind.Invalid, "Vmgroup description"},
		{wire.CreateVMGroup{Name: "g", Description: "txt\u202egpj"}, errkind.Invalid, "Vmgroup description \"txt\\u202egpj\" contains control characters"},
		{wire.CreateVMGroup{Name: "g", VMs: []string{"Photon3", "nope", "neither"}}, errkind.NotFound, "Cannot find vm nope,neither"},
		{wire.CreateVMGroup{Name: "g", VMs: []string{""}}, errkind.NotFound, "Cannot find vm "},
		{wire.CreateVMGroup{Name: "g", VMs: []string{"Photon3", "Photon3"}}, errkind.Invalid, "VMs ['Photon3', 'Photon3'] contain duplicates, they should be unique"},
		{wire.CreateVMGroup{Name: "g", VMs: []string{"Photon3", "id-Photon3"}}, errkind.Invalid, "VMs ['Photon3', 'id-Photon3'] contain duplicates, they should be unique"},
		{wire.CreateVMGroup{Name: "g", VMs: []string{"Photon3", "Photon1"}}, errkind.Exists, "VM 'Photon1' has already been associated with tenant 'taken', can't add it"},
		{wire.CreateVMGroup{Name: "g", VMs: []string{"Photon3", "Photon2"}}, errkind.InUse, "Cannot add VM to vmgroup VM 'Photon2' has volumes mounted."},
		{wire.CreateVMGroup{Name: "_DEFAULT", VMs: []string{"Photon3"}}, errkind.Invalid, "Invalid Argument(['Photon3'])"},
	} {
		_, err := w.Create(t.Context(), root, c.req)
		refused(t, err, c.kind, c.text)
	}
	all, err := w.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, all, 1, "a refusal leaves nothing behind")
}

func TestCreateWithDefaultDatastore(t *testing.T) {
	w := newWorld(t)
	for given, want := range map[string]string{"datastore1": "datastore1", "mixed": "Mixed", "_VM_DS": "_VM_DS"} {
		g, err := w.Create(t.Context(), root, wire.CreateVMGroup{Name: "g-" + given, Description: "d", DefaultDatastore: given, VMs: nil})
		require.NoError(t, err)
		assert.Equal(t, want, g.DefaultDatastore)
		assert.Equal(t, "d", g.Description)
		assert.Equal(t, []wire.Access{{Datastore: want, AllowCreate: true}}, g.Access)
	}
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.EnsureDefault(ctx, true))
	w.group("g", "Photon1")
	w.group("other")
	id := w.volume("g", "v", "Photon1", volspec.Ready)
	before := w.get("g")

	update := func(name string, req wire.UpdateVMGroup) error {
		_, err := w.Update(ctx, root, name, req)
		return err
	}
	refused(t, update("none", wire.UpdateVMGroup{Description: p("x")}), errkind.NotFound, "Vmgroup none does not exist")
	refused(t, update("g", wire.UpdateVMGroup{NewName: p("other")}), errkind.Exists, "Vmgroup other already exists")
	refused(t, update("g", wire.UpdateVMGroup{NewName: p("*")}), errkind.Invalid, "Vmgroup name * is invalid")
	refused(t, update("g", wire.UpdateVMGroup{NewName: p("")}), errkind.Invalid, "Vmgroup name  is invalid")
	refused(t, update("g", wire.UpdateVMGroup{NewName: p("_DEFAULT")}), errkind.Invalid, "Vmgroup name _DEFAULT is invalid")
	refused(t, update("_DEFAULT", wire.UpdateVMGroup{NewName: p("x")}), errkind.Invalid, "Vmgroup name _DEFAULT is invalid, only rename of vmgroups other than _DEFAULT is allowed")
	refused(t, update("g", wire.UpdateVMGroup{DefaultDatastore: p("none")}), errkind.NotFound, "Datastore none does not exist")
	refused(t, update("g", wire.UpdateVMGroup{DefaultDatastore: p("_ALL_DS")}), errkind.Invalid, "Cannot use _ALL_DS as default datastore")
	refused(t, update("g", wire.UpdateVMGroup{Description: p("new"), NewName: p("other")}), errkind.Exists, "Vmgroup other already exists")
	assert.Equal(t, before, w.get("g"), "all or nothing")

	require.NoError(t, update("g", wire.UpdateVMGroup{NewName: p("renamed"), Description: p("text"), DefaultDatastore: p("datastore1")}))
	g := w.get("renamed")
	assert.Equal(t, before.ID, g.ID)
	assert.Equal(t, "text", g.Description)
	assert.Equal(t, []string{"Photon1"}, w.members("renamed"))
	assert.Equal(t, []wire.Access{{Datastore: "datastore1", AllowCreate: true, UsedBytes: int64(gib)}}, g.Access)
	_, err := w.Get(ctx, "g")
	refused(t, err, errkind.NotFound, "Vmgroup g does not exist")
	require.NoError(t, w.cat.Volumes().View(ctx, func(tx volume.Tx) error {
		r, err := tx.Volume(id)
		assert.True(t, r.MetaStale, "the records beside the disks carry the name")
		return err
	}))

	require.NoError(t, w.SetAccess(ctx, root, "renamed", "datastore1", wire.SetAccess{MaxSize: p(gib)}))
	require.NoError(t, update("renamed", wire.UpdateVMGroup{NewName: p("renamed"), Description: p(""), DefaultDatastore: p("_VM_DS")}))
	g = w.get("renamed")
	assert.Empty(t, g.Description, "it can be emptied")
	assert.Equal(t, "_VM_DS", g.DefaultDatastore)
	assert.Len(t, g.Access, 2, "the old default keeps its row")
	require.NoError(t, update("renamed", wire.UpdateVMGroup{DefaultDatastore: p("datastore1")}))
	assert.Equal(t, gib, w.get("renamed").Access[1].MaxSize, "an existing row stays as it is")
	require.NoError(t, update("renamed", wire.UpdateVMGroup{DefaultDatastore: p("")}))
	assert.Empty(t, w.get("renamed").DefaultDatastore)
	require.NoError(t, update("_DEFAULT", wire.UpdateVMGroup{Description: p("mine")}), "_DEFAULT can be described")
}

func TestAccessRules(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g")
	add := func(req wire.SetAccess) error { return w.AddAccess(ctx, root, "g", req) }
	set := func(ds string, req wire.SetAccess) error { return w.SetAccess(ctx, root, "g", ds, req) }
	refused(t, w.AddAccess(ctx, root, "none", wire.SetAccess{Datastore: "datastore1"}), errkind.NotFound, "Vmgroup none does not exist")
	refused(t, add(wire.SetAccess{Datastore: "none"}), errkind.NotFound, "Datastore none does not exist")
	refused(t, add(wire.SetAccess{Datastore: ""}), errkind.NotFound, "Datastore  does not exist")
	refused(t, add(wire.SetAccess{Datastore: "datastore1", MaxSize: p(2 * gib), TotalSize: p(gib)}), errkind.Invalid, "Volume max size 2048MB exceeds the total size 1024MB")
	refused(t, add(wire.SetAccess{Datastore: "datastore1", MaxSize: p(volspec.Size(-1))}), errkind.Invalid, "Invalid volume size specified.")
	refused(t, add(wire.SetAccess{Datastore: "_ALL_DS", DefaultDatastore: true}), errkind.Invalid, "Cannot use _ALL_DS as default datastore")
	refused(t, set("datastore1", wire.SetAccess{AllowCreate: p(true)}), errkind.NotFound, "No access privilege exists for (g, datastore1)")
	refused(t, w.RemoveAccess(ctx, root, "g", "datastore1"), errkind.NotFound, "No access privilege exists for (g, datastore1)")
	assert.Empty(t, w.get("g").Access)

	require.NoError(t, add(wire.SetAccess{Datastore: "DATASTORE1"}), "upper and lower case are the same")
	assert.Equal(t, []wire.Access{{Datastore: "datastore1"}}, w.get("g").Access, "without the flag no create right")
	refused(t, add(wire.SetAccess{Datastore: "datastore1"}), errkind.Exists, "Access privilege for (g, datastore1) already exists")

	require.NoError(t, set("datastore1", wire.SetAccess{AllowCreate: p(true), TotalSize: p(2 * gib)}))
	require.NoError(t, set("datastore1", wire.SetAccess{MaxSize: p(gib)}))
	assert.Equal(t, []wire.Access{{Datastore: "datastore1", AllowCreate: true, MaxSize: gib, TotalSize: 2 * gib}}, w.get("g").Access, "only what is given changes")
	refused(t, set("datastore1", wire.SetAccess{MaxSize: p(3 * gib)}), errkind.Invalid, "Volume max size 3072MB exceeds the total size 2048MB")
	refused(t, set("datastore1", wire.SetAccess{TotalSize: p(512*volspec.MiB + 512*volspec.KiB)}), errkind.Invalid, "Volume max size 1024MB exceeds the total size 512.5MB")
	require.NoError(t, set("datastore1", wire.SetAccess{MaxSize: p(volspec.Size(0)), AllowCreate: p(false)}), "a limit can be removed")
	require.NoError(t, set("datastore1", wire.SetAccess{TotalSize: p(volspec.Size(0))}))
	assert.Equal(t, []wire.Access{{Datastore: "datastore1"}}, w.get("g").Access)

	for _, special := range []string{"_VM_DS", "_ALL_DS"} {
		require.NoError(t, add(wire.SetAccess{Datastore: special, AllowCreate: p(true)}))
	}
	require.NoError(t, add(wire.SetAccess{Datastore: "datastore3", DefaultDatastore: true}))
	assert.Equal(t, "datastore3", w.get("g").DefaultDatastore)
	refused(t, w.RemoveAccess(ctx, root, "g", "datastore3"), errkind.Invalid, "Removing of access privilege to 'default_datastore' is not supported")
	require.NoError(t, set("_VM_DS", wire.SetAccess{DefaultDatastore: true}))
	refused(t, w.RemoveAccess(ctx, root, "g", "_VM_DS"), errkind.Invalid, "Removing of access privilege to 'default_datastore' is not supported")
	w.stores = nil // the datastores are gone, their rows can still be changed
	require.NoError(t, set("datastore3", wire.SetAccess{AllowCreate: p(true)}))
	require.NoError(t, w.RemoveAccess(ctx, root, "g", "datastore3"))
	require.NoError(t, w.RemoveAccess(ctx, root, "g", "_ALL_DS"))
	assert.Len(t, w.get("g").Access, 2)
}

func TestDefaultGroup(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.EnsureDefault(ctx, false))
	_, err := w.Get(ctx, "_DEFAULT")
	refused(t, err, errkind.NotFound, "Vmgroup _DEFAULT does not exist")
	for range 2 {
		require.NoError(t, w.EnsureDefault(ctx, true))
	}
	g := w.get("_DEFAULT")
	assert.Equal(t, []wire.Access{{Datastore: "_ALL_DS", AllowCreate: true}, {Datastore: "_VM_DS", AllowCreate: true}}, g.Access)
	for name, verb := range map[string]func() error{
		"add":     func() error { return w.AddVMs(ctx, root, "_DEFAULT", []string{"Photon1"}) },
		"rm":      func() error { return w.RemoveVMs(ctx, root, "_DEFAULT", []string{"Photon1"}) },
		"replace": func() error { return w.ReplaceVMs(ctx, root, "_DEFAULT", []string{"Photon1"}) },
	} {
		refused(t, verb(), errkind.Invalid, "This feature is not supported for vmgroup _DEFAULT.")
		assert.NotEmpty(t, name)
	}
	_, err = w.Service.VMs(ctx, "_DEFAULT")
	refused(t, err, errkind.Invalid, "_DEFAULT tenant contains all VMs which were not added to other tenants")
	_, err = w.Create(ctx, root, wire.CreateVMGroup{Name: "_DEFAULT"})
	refused(t, err, errkind.Exists, "Vmgroup _DEFAULT already exists")

	require.NoError(t, w.Remove(ctx, root, "_DEFAULT", false, false))
	require.NoError(t, w.EnsureDefault(ctx, true))
	_, err = w.Get(ctx, "_DEFAULT")
	refused(t, err, errkind.NotFound, "Vmgroup _DEFAULT does not exist")
	again, err := w.Create(ctx, root, wire.CreateVMGroup{Name: "_DEFAULT", DefaultDatastore: "_VM_DS"})
	require.NoError(t, err)
	assert.Equal(t, volspec.DefaultGroupID, again.ID, "volumes it had are its own again")
	assert.Equal(t, []wire.Access{{Datastore: "_VM_DS", AllowCreate: true}}, again.Access)
}

// One of the installation's makers of _DEFAULT finds it there already.
func TestDefaultGroupIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	_, err := w.Create(t.Context(), root, wire.CreateVMGroup{Name: "_DEFAULT", Description: "mine"})
	require.NoError(t, err)
	require.NoError(t, w.EnsureDefault(t.Context(), true))
	assert.Equal(t, "mine", w.get("_DEFAULT").Description)
	assert.Empty(t, w.get("_DEFAULT").Access)
}

func TestRestoreGroup(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	id, err := w.RestoreGroup(ctx, "id-1", "lost")
	require.NoError(t, err)
	assert.Equal(t, volspec.VMGroupID("id-1"), id)
	g := w.get("lost")
	assert.Equal(t, id, g.ID)
	assert.Empty(t, g.Access, "rights are the admin's to give")
	_, err = w.Update(ctx, root, "lost", wire.UpdateVMGroup{NewName: p("found")})
	require.NoError(t, err)
	id, err = w.RestoreGroup(ctx, "id-1", "lost")
	require.NoError(t, err)
	assert.Equal(t, volspec.VMGroupID("id-1"), id, "the id is the group, whatever its name is now")
	id, err = w.RestoreGroup(ctx, "id-2", "found")
	require.NoError(t, err)
	assert.Equal(t, volspec.VMGroupID("id-1"), id, "made again by hand under another id")
	id, err = w.RestoreGroup(ctx, "whatever", "_DEFAULT")
	require.NoError(t, err)
	assert.Equal(t, volspec.DefaultGroupID, id)
	_, err = w.RestoreGroup(ctx, "id-3", "../x")
	refused(t, err, errkind.Invalid, "Vmgroup name ../x is invalid")
	_, err = w.RestoreGroup(ctx, "", "x")
	refused(t, err, errkind.Invalid, "vmgroup x has no id")
}

func TestListing(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("b", "Photon2", "Photon1")
	w.group("a")
	w.volume("b", "v", "Photon1", volspec.Ready)
	require.NoError(t, w.AddAccess(ctx, root, "b", wire.SetAccess{Datastore: "datastore1"}))
	all, err := w.List(ctx)
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, "a", all[0].Name)
	assert.Equal(t, int64(gib), all[1].Access[0].UsedBytes)
	assert.Equal(t, wire.VM{ID: "id-Photon1", Name: "Photon1", VMGroup: "b", Datastore: "datastore1", Power: "on"}, all[1].VMs[0])
	vms, err := w.Service.VMs(ctx, "b")
	require.NoError(t, err)
	assert.Equal(t, 1, vms[0].Attached)

	w.vms[0].Name = "Renamed"
	assert.Equal(t, []string{"Photon2", "Renamed"}, w.members("b"), "VMs appear under their present names")
	w.away = errkind.New(errkind.Unavailable, "the hypervisor does not answer")
	w.vms = nil
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("b"), "or, while the hypervisor is away, those they were added with")
	refused(t, w.AddVMs(ctx, root, "a", []string{"Photon3"}), errkind.Unavailable, "the hypervisor does not answer")
}

func TestEveryVerbIsAudited(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for _, v := range []struct {
		action, object string
		run            func() error
	}{
		{"vmgroup create", "g", func() error { _, err := w.Create(ctx, root, wire.CreateVMGroup{Name: "g"}); return err }},
		{"vmgroup update", "g -> h", func() error { _, err := w.Update(ctx, root, "g", wire.UpdateVMGroup{NewName: p("h")}); return err }},
		{"vmgroup vm add", "Photon1,Photon2", func() error { return w.AddVMs(ctx, root, "h", []string{"Photon1", "Photon2"}) }},
		{"vmgroup vm rm", "Photon1", func() error { return w.RemoveVMs(ctx, root, "h", []string{"Photon1"}) }},
		{"vmgroup vm replace", "Photon3", func() error { return w.ReplaceVMs(ctx, root, "h", []string{"Photon3"}) }},
		{"vmgroup access add", "datastore1 allow-create=true volume-maxsize=1.00GB", func() error {
			return w.AddAccess(ctx, root, "h", wire.SetAccess{Datastore: "datastore1", AllowCreate: p(true), MaxSize: p(gib)})
		}},
		{"vmgroup access set", "datastore1 volume-totalsize=Unset", func() error {
			return w.SetAccess(ctx, root, "h", "datastore1", wire.SetAccess{TotalSize: p(volspec.Size(0))})
		}},
		{"vmgroup access rm", "datastore1", func() error { return w.RemoveAccess(ctx, root, "h", "datastore1") }},
		{"vmgroup rm", "h", func() error { return w.Remove(ctx, root, "h", true, false) }},
		{"vmgroup rm", "h", func() error { return w.Remove(ctx, root, "h", true, false) }}, // refused
		{"vmgroup vm add", "Photon1", func() error { return w.AddVMs(ctx, root, "h", []string{"Photon1"}) }},
		{"vmgroup vm add", "nope", func() error { return w.AddVMs(ctx, root, "h", []string{"nope"}) }},
	} {
		before := len(w.audit())
		err := v.run()
		lines := w.audit()
		require.Len(t, lines, before+1, "%s: %v", v.action, err)
		l := lines[0]
		assert.Equal(t, v.action, l.Action)
		assert.Equal(t, v.object, l.Object)
		assert.Equal(t, "admin:0", l.Actor)
		assert.False(t, l.Time.IsZero())
		if err == nil {
			assert.Equal(t, "ok", l.Outcome)
			continue
		}
		assert.Equal(t, "not-found", l.Outcome)
		assert.Equal(t, errkind.Text(err), l.Detail)
	}
}

// One VM, many groups that want it at once: exactly one gets it.
func TestParallelAdds(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	for _, name := range names {
		w.group(name)
	}
	var won atomic.Int64
	var wg sync.WaitGroup
	for _, name := range names {
		wg.Go(func() {
			err := w.AddVMs(t.Context(), root, name, []string{"Photon1"})
			if err == nil {
				won.Add(1)
			} else {
				assert.Equal(t, errkind.Exists, errkind.Of(err))
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, won.Load())
}
