package tenancy_test

import (
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const file = "/etc/mooring/mooringd.toml"

func dev() tenancy.Declared {
	return tenancy.Declared{
		Name: "dev", Description: "d", DefaultDatastore: "datastore3", VMs: []string{"Photon1", "Photon2"},
		Access: []volspec.Access{{Datastore: "datastore3", AllowCreate: true, MaxSize: gib, TotalSize: 20 * gib}},
	}
}

func TestApply(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	test := tenancy.Declared{Name: "test", VMs: []string{"Photon3"}, DefaultDatastore: "_VM_DS", Source: file + ".d/test.toml"}
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev(), test}))
	g := w.get("dev")
	assert.Equal(t, file, g.Source)
	assert.Equal(t, "datastore3", g.DefaultDatastore)
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("dev"))
	assert.Equal(t, []wire.Access{{Datastore: "datastore3", AllowCreate: true, MaxSize: gib, TotalSize: 20 * gib}}, g.Access)
	assert.Equal(t, []wire.Access{{Datastore: "_VM_DS", AllowCreate: true}}, w.get("test").Access, "the default has a row")
	assert.Equal(t, file+".d/test.toml", w.get("test").Source)
	lines := w.audit()
	require.Len(t, lines, 2)
	assert.Contains(t, []string{"config:" + file, "config:" + file + ".d/test.toml"}, lines[0].Actor)

	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev(), test}))
	assert.Equal(t, g, w.get("dev"))
	assert.Len(t, w.audit(), 2, "the same again is no change")

	// Rows, text and members follow the file; VMs move between its groups.
	d := dev()
	d.Description, d.VMs, d.Access = "", []string{"Photon2", "Photon3"}, nil
	test.VMs = []string{"Photon1"}
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{d, test}))
	assert.Equal(t, []string{"Photon2", "Photon3"}, w.members("dev"))
	assert.Equal(t, []string{"Photon1"}, w.members("test"))
	assert.Equal(t, []wire.Access{{Datastore: "datastore3", AllowCreate: true}}, w.get("dev").Access)
	assert.Equal(t, g.ID, w.get("dev").ID)
}

func TestDeclaredGroupsAreReadOnly(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev()}))
	_, err := w.Update(ctx, root, "dev", wire.UpdateVMGroup{Description: p("x")})
	text := "Vmgroup dev is declared in " + file + " and cannot be changed here: change that file, then reload mooringd"
	for what, err := range map[string]error{
		"update":     err,
		"rm":         w.Remove(ctx, root, "dev", true, true),
		"vm add":     w.AddVMs(ctx, root, "dev", []string{"Photon3"}),
		"vm rm":      w.RemoveVMs(ctx, root, "dev", []string{"Photon1"}),
		"vm replace": w.ReplaceVMs(ctx, root, "dev", []string{"Photon3"}),
		"access add": w.AddAccess(ctx, root, "dev", wire.SetAccess{Datastore: "datastore1"}),
		"access set": w.SetAccess(ctx, root, "dev", "datastore3", wire.SetAccess{AllowCreate: p(false)}),
		"access rm":  w.RemoveAccess(ctx, root, "dev", "datastore3"),
	} {
		assert.Equal(t, errkind.Denied, errkind.Of(err), what)
		assert.Equal(t, text, errkind.Text(err), what)
	}

	// Out of the file it stays, with all it has, and is the admin's again.
	w.volume("dev", "v", "Photon1", volspec.Ready)
	before := w.get("dev")
	require.NoError(t, w.Apply(ctx, file, nil))
	before.Source = ""
	assert.Equal(t, before, w.get("dev"))
	require.NoError(t, w.AddVMs(ctx, root, "dev", []string{"Photon3"}))
}

func TestApplyAdoptsGroupsMadeByHand(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("dev", "Photon1", "Photon4")
	require.NoError(t, w.EnsureDefault(ctx, true))
	id := w.get("dev").ID
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev(), {Name: "_DEFAULT", Access: []volspec.Access{{Datastore: "datastore1"}}}}))
	assert.Equal(t, id, w.get("dev").ID)
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("dev"))
	def := w.get("_DEFAULT")
	assert.Equal(t, volspec.DefaultGroupID, def.ID)
	assert.Equal(t, []wire.Access{{Datastore: "datastore1"}}, def.Access)
}

// The name of a declared group changes in the file: the old one is left
// behind, its VMs belong to the new one.
func TestApplyRenamedInTheFile(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev()}))
	d := dev()
	d.Name = "development"
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{d}))
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("development"))
	assert.Empty(t, w.members("dev"))
	assert.Empty(t, w.get("dev").Source)
}

func TestApplyRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("hand", "Photon5")
	w.volume("hand", "v", "Photon6", volspec.Ready)
	good := tenancy.Declared{Name: "good"}
	for _, c := range []struct {
		groups []tenancy.Declared
		kind   errkind.Kind
		text   string
	}{
		{[]tenancy.Declared{{Name: "*"}}, errkind.Invalid, "vmgroup * (" + file + "): Vmgroup name * is invalid"},
		{[]tenancy.Declared{{Name: "d"}, {Name: "d"}}, errkind.Invalid, "vmgroup d (" + file + "): it is declared twice"},
		{[]tenancy.Declared{{Name: "d", VMs: []string{"nope"}}}, errkind.NotFound, "vmgroup d (" + file + "): Cannot find vm nope"},
		{[]tenancy.Declared{{Name: "d", VMs: []string{"Photon1"}}, {Name: "e", VMs: []string{"Photon1"}}}, errkind.Invalid, "vmgroup e (" + file + "): VM 'Photon1' has already been associated with tenant 'd'"},
		{[]tenancy.Declared{{Name: "d", VMs: []string{"Photon1", "Photon1"}}}, errkind.Invalid, "vmgroup d (" + file + "): VMs ['Photon1', 'Photon1'] contain duplicates"},
		{[]tenancy.Declared{{Name: "d", VMs: []string{"Photon5"}}}, errkind.Exists, "vmgroup d (" + file + "): VM 'Photon5' has already been associated with tenant 'hand', can't add it"},
		{[]tenancy.Declared{{Name: "d", VMs: []string{"Photon6"}}}, errkind.InUse, "vmgroup d (" + file + "): Cannot complete vmgroup apply. VM 'Photon6' has volumes mounted."},
		{[]tenancy.Declared{{Name: "_DEFAULT", VMs: []string{"Photon1"}}}, errkind.Invalid, "vmgroup _DEFAULT (" + file + "): This feature is not supported for vmgroup _DEFAULT."},
		{[]tenancy.Declared{{Name: "d", DefaultDatastore: "none"}}, errkind.NotFound, "vmgroup d (" + file + "): Datastore none does not exist"},
		{[]tenancy.Declared{{Name: "d", DefaultDatastore: "_ALL_DS"}}, errkind.Invalid, "vmgroup d (" + file + "): Cannot use _ALL_DS as default datastore"},
		{[]tenancy.Declared{{Name: "d", Access: []volspec.Access{{Datastore: "none"}}}}, errkind.NotFound, "vmgroup d (" + file + "): Datastore none does not exist"},
		{[]tenancy.Declared{{Name: "d", Access: []volspec.Access{{Datastore: "mixed"}, {Datastore: "Mixed"}}}}, errkind.Invalid, "vmgroup d (" + file + "): Access privilege for (d, Mixed) already exists"},
		{[]tenancy.Declared{{Name: "d", Access: []volspec.Access{{Datastore: "Mixed", MaxSize: 2, TotalSize: 1}}}}, errkind.Invalid, "vmgroup d (" + file + "): Volume max size"},
	} {
		err := w.Apply(ctx, file, append([]tenancy.Declared{good}, c.groups...))
		require.Error(t, err)
		assert.Equal(t, c.kind, errkind.Of(err), "%v", err)
		assert.Contains(t, err.Error(), c.text)
		all, err := w.List(ctx)
		require.NoError(t, err)
		assert.Len(t, all, 1, "all or none")
	}
	err := w.Apply(ctx, file, []tenancy.Declared{{Name: "a", DefaultDatastore: "x"}, {Name: "b", VMs: []string{"y"}}})
	assert.Contains(t, errkind.Text(err), "Datastore x does not exist")
	assert.Contains(t, errkind.Text(err), "Cannot find vm y", "all problems at once")
}

// A declared VM that the hypervisor has forgotten does not stop the service
// from starting; a VM with volumes mounted does not change its group.
func TestApplyKeepsWhatIsInUse(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev()}))
	vms := w.vms
	w.vms = w.vms[1:]
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev()}))
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("dev"))
	w.vms = vms

	w.volume("dev", "v", "Photon1", volspec.Ready)
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{dev()}))
	d := dev()
	d.VMs = []string{"Photon2"}
	err := w.Apply(ctx, file, []tenancy.Declared{d})
	assert.Equal(t, errkind.InUse, errkind.Of(err))
	assert.ErrorContains(t, err, "VM 'Photon1' has volumes mounted.")
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("dev"))
}

func TestExport(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	_, err := w.Create(ctx, root, wire.CreateVMGroup{Name: "dev", Description: `say "hi" \ = #`, VMs: []string{"Photon2", "Photon1"}})
	require.NoError(t, err)
	require.NoError(t, w.AddAccess(ctx, root, "dev", wire.SetAccess{Datastore: "datastore3", AllowCreate: p(true), DefaultDatastore: true, MaxSize: p(1536 * volspec.MiB), TotalSize: p(20 * gib)}))
	require.NoError(t, w.AddAccess(ctx, root, "dev", wire.SetAccess{Datastore: "_ALL_DS"}))
	require.NoError(t, w.AddFolder(ctx, root, "dev", "tenants/acme"))
	_, err = w.SetAllowance(ctx, root, "dev", wire.Amounts{Sockets: n(4), VMs: n(0), Storage: n(int64(3 * gib))})
	require.NoError(t, err)
	text, err := w.Export(ctx, "dev")
	require.NoError(t, err)
	assert.Equal(t, `[[vmgroup]]
  name = "dev"
  description = "say \"hi\" \\ = #"
  default_datastore = "datastore3"
  vms = ["Photon1", "Photon2"]
  vm_folders = ["/DC0/vm/tenants/acme"]
  transporters = ["built-in"]
  backup_totalsize = "3gb"
  [vmgroup.allowance]
    sockets = 4
    vms = 0

  [[vmgroup.access]]
    datastore = "_ALL_DS"
    allow_create = false

  [[vmgroup.access]]
    datastore = "datastore3"
    allow_create = true
    volume_maxsize = "1536mb"
    volume_totalsize = "20gb"
`, text)

	// What is exported declares the same group.
	var file struct {
		VMGroup []struct {
			Name, Description string
			DefaultDatastore  string `toml:"default_datastore"`
			VMs               []string
			Folders           []string `toml:"vm_folders"`
			Transporters      []string
			Allowance         struct{ Sockets, VMs int64 }
			Access            []struct {
				Datastore   string
				AllowCreate bool         `toml:"allow_create"`
				MaxSize     volspec.Size `toml:"volume_maxsize"`
				TotalSize   volspec.Size `toml:"volume_totalsize"`
			}
		} `toml:"vmgroup"`
	}
	_, err = toml.Decode(text, &file)
	require.NoError(t, err)
	require.Len(t, file.VMGroup, 1)
	g := file.VMGroup[0]
	d := tenancy.Declared{Name: g.Name, Description: g.Description, DefaultDatastore: g.DefaultDatastore, VMs: g.VMs, Folders: g.Folders, Transporters: g.Transporters,
		Allowance: &volspec.Amounts{Sockets: g.Allowance.Sockets, VMs: g.Allowance.VMs, Volumes: volspec.Unbounded},
	}
	for _, a := range g.Access {
		d.Access = append(d.Access, volspec.Access{Datastore: a.Datastore, AllowCreate: a.AllowCreate, MaxSize: a.MaxSize, TotalSize: a.TotalSize})
	}
	before, allowance := w.get("dev"), w.allowance("dev")
	require.NoError(t, w.Apply(ctx, "f", []tenancy.Declared{d}))
	before.Source = "f"
	assert.Equal(t, before, w.get("dev"))
	assert.Equal(t, allowance, w.allowance("dev"))
	again, err := w.Export(ctx, "dev")
	require.NoError(t, err)
	assert.Equal(t, text, again)

	_, err = w.Export(ctx, "none")
	refused(t, err, errkind.NotFound, "Vmgroup none does not exist")
}
