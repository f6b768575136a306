package portal

import (
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The wizard leads through what a tenant's service needs: inventory,
// transporters, repositories. Each step can be visited at any time, and says
// what is there and what is missing.
var wizardRoutes = []*route{
	{method: http.MethodGet, path: "/tenants/{tenant}/setup", who: masters, permission: "vmgroup.manage", handle: startSetup},
	{method: http.MethodGet, path: "/tenants/{tenant}/setup/inventory", who: masters, permission: "vmgroup.manage", handle: setupInventory},
	{method: http.MethodPost, path: "/tenants/{tenant}/setup/inventory", who: masters, permission: "vmgroup.manage", handle: saveInventory},
	{method: http.MethodPost, path: "/tenants/{tenant}/setup/folder", who: masters, permission: "vmgroup.manage", form: setupInventory, handle: saveFolder},
	{method: http.MethodGet, path: "/tenants/{tenant}/setup/transporters", who: masters, permission: "vmgroup.manage", handle: setupTransporters},
	{method: http.MethodPost, path: "/tenants/{tenant}/setup/transporters", who: masters, permission: "vmgroup.manage", handle: saveTransporters},
	{method: http.MethodGet, path: "/tenants/{tenant}/setup/repositories", who: masters, permission: "backup.manage", handle: setupRepositories},
	{method: http.MethodPost, path: "/tenants/{tenant}/setup/repositories", who: masters, permission: "backup.manage", handle: saveRepository},
	{method: http.MethodGet, path: "/tenants/{tenant}/setup/done", who: masters, permission: "vmgroup.manage", handle: setupDone},
}

// stepView is one step of the wizard as it stands.
type stepView struct {
	Key, Label, URL, Text string
	Done                  bool
}

// stepsOf is how far a tenant's service is configured.
func stepsOf(t wire.Tenant) []stepView {
	base := []any{"tenants", t.Name, "setup"}
	steps := []stepView{
		{Key: wire.PartInventory, Label: "Inventory", Text: "Which VMs and volumes are protected"},
		{Key: wire.PartTransporters, Label: "Transporters", Text: "What moves their data"},
		{Key: wire.PartRepositories, Label: "Repositories", Text: "Where their recovery points are kept"},
	}
	for i := range steps {
		steps[i].URL = pathOf(append(base, steps[i].Key)...)
		steps[i].Done = !slices.Contains(t.Readiness.Missing, steps[i].Key)
	}
	return steps
}

// setup is what all its pages show. Current is the number of the step.
type setup struct {
	wire.Tenant
	Crumbs         []action
	Steps          []stepView
	Items          []action
	Current        int
	Action         string
	Previous, Next string
}

func (q *request) setup(current int) (setup, error) {
	name := q.path("tenant")
	t, err := q.api.Tenant(q.ctx(), name)
	if err != nil {
		return setup{}, err
	}
	z := setup{Tenant: t, Crumbs: q.tenantCrumbs(name), Steps: stepsOf(t), Current: current, Previous: pathOf("tenants", name)}
	for _, s := range z.Steps {
		z.Items = append(z.Items, action{Label: s.Label, URL: s.URL})
	}
	if current < len(z.Steps) {
		z.Action = z.Steps[current].URL
	}
	z.Next = pathOf("tenants", name, "setup", "done")
	z.Items = append(z.Items, action{Label: "Configured"})
	if current > 0 {
		z.Previous = z.Steps[min(current, len(z.Steps))-1].URL
	}
	if current+1 < len(z.Steps) {
		z.Next = z.Steps[current+1].URL
	}
	return z, nil
}

// startSetup begins where something is missing.
func startSetup(q *request) error {
	z, err := q.setup(0)
	if err != nil {
		return err
	}
	for _, s := range z.Steps {
		if !s.Done {
			return q.redirect(s.URL, "")
		}
	}
	return q.redirect(z.Steps[0].URL, "")
}

// onward follows a saved step: the next, or the same again.
func (q *request) onward(z setup, said string) error {
	if q.text("go") == "next" {
		return q.redirect(z.Next, said)
	}
	return q.redirect(z.Steps[z.Current].URL, said)
}

// inventoryPage is the data of setup_inventory.html.
type inventoryPage struct {
	setup
	VMs        []vmChoice
	Folders    []wire.Folder
	HasFolders bool
	Datastores []storeChoice
	Default    string
	Defaults   []option
	Members    int
}

// vmChoice is a VM that the tenant has, or could get.
type vmChoice struct {
	wire.VM
	Member bool
}

// storeChoice is a datastore with the tenant's rights to it.
type storeChoice struct {
	wire.Datastore
	Right, MaxSize, TotalSize string
}

// Rights to a datastore, as they stand in forms.
const (
	rightNone   = "none"
	rightUse    = "use"
	rightCreate = "create"
)

func setupInventory(q *request) error {
	z, err := q.setup(0)
	if err != nil {
		return err
	}
	p := inventoryPage{setup: z}
	group, err := q.api.VMGroup(q.ctx(), z.Name)
	if err != nil {
		return err
	}
	status, err := q.api.Status(q.ctx())
	if err != nil {
		return err
	}
	p.HasFolders, p.Default, p.Defaults = status.Hypervisor != "local", group.DefaultDatastore, []option{{"", "That of the VM"}}
	vms, err := q.api.VMs(q.ctx())
	if err != nil {
		return err
	}
	for _, vm := range vms {
		member := vm.VMGroup == z.Name
		if member {
			p.Members++
		}
		if member || vm.VMGroup == "" || vm.VMGroup == volspec.DefaultGroup {
			p.VMs = append(p.VMs, vmChoice{vm, member})
		}
	}
	stores, err := q.api.Datastores(q.ctx())
	if err != nil {
		return err
	}
	for _, ds := range stores {
		c := storeChoice{Datastore: ds, Right: rightNone}
		for _, a := range group.Access {
			if a.Datastore != ds.Name {
				continue
			}
			c.Right, c.MaxSize, c.TotalSize = rightUse, limitText(a.MaxSize), limitText(a.TotalSize)
			if a.AllowCreate {
				c.Right = rightCreate
			}
		}
		p.Datastores, p.Defaults = append(p.Datastores, c), append(p.Defaults, option{ds.Name, ds.Name})
	}
	if p.HasFolders {
		if p.Folders, err = q.api.GroupFolders(q.ctx(), z.Name); err != nil && !errkind.Is(err, errkind.Unsupported) {
			return err
		}
	}
	return q.render("setup_inventory", "Inventory of "+z.Name, p)
}

// limitText is a limit of an access row, "" for none.
func limitText(s volspec.Size) string {
	if s == 0 {
		return ""
	}
	return s.String()
}

// saveInventory sets VMs and rights as they were ticked. What is set already
// stays as it is, so that a repeat after an error is harmless.
func saveInventory(q *request) error {
	z, err := q.setup(0)
	if err != nil {
		return err
	}
	group, err := q.api.VMGroup(q.ctx(), z.Name)
	if err != nil {
		return err
	}
	stores, err := q.api.Datastores(q.ctx())
	if err != nil {
		return err
	}
	want := map[string]wire.SetAccess{}
	for _, ds := range stores {
		right := q.text("right-" + ds.Name)
		if right == rightUse || right == rightCreate {
			want[ds.Name] = wire.SetAccess{Datastore: ds.Name, AllowCreate: new(right == rightCreate),
				MaxSize: new(q.size("max-" + ds.Name)), TotalSize: new(q.size("total-" + ds.Name))}
		}
	}
	if err := q.wrong(); err != nil {
		return err
	}
	var have []string
	for _, vm := range group.VMs {
		have = append(have, vm.Name)
	}
	vms := q.list("vm")
	if slices.Sort(have); !slices.Equal(have, slices.Sorted(slices.Values(vms))) {
		if err := q.api.ReplaceVMs(q.ctx(), z.Name, vms); err != nil {
			return err
		}
	}
	if err := q.setRights(group, stores, want); err != nil {
		return err
	}
	if d := q.text("default"); d != group.DefaultDatastore {
		if _, err := q.api.UpdateVMGroup(q.ctx(), z.Name, wire.UpdateVMGroup{DefaultDatastore: &d}); err != nil {
			return err
		}
	}
	return q.onward(z, "The inventory is saved.")
}

// setRights adds, changes and removes access rows.
func (q *request) setRights(group wire.VMGroup, stores []wire.Datastore, want map[string]wire.SetAccess) error {
	for _, ds := range stores {
		row, wanted := want[ds.Name]
		has := slices.ContainsFunc(group.Access, func(a wire.Access) bool { return a.Datastore == ds.Name })
		var err error
		switch {
		case wanted && has:
			err = q.api.SetAccess(q.ctx(), group.Name, ds.Name, row)
		case wanted:
			err = q.api.AddAccess(q.ctx(), group.Name, row)
		case has:
			err = q.api.RemoveAccess(q.ctx(), group.Name, ds.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// saveFolder grants a folder of VMs, or takes it back.
func saveFolder(q *request) error {
	z, err := q.setup(0)
	if err != nil {
		return err
	}
	folder := q.text("folder")
	if q.text("do") == "remove" {
		if err := q.api.RemoveFolder(q.ctx(), z.Name, folder); err != nil {
			return err
		}
		return q.redirect(z.Steps[0].URL, "The folder "+folder+" is taken back.")
	}
	if err := q.api.AddFolder(q.ctx(), z.Name, folder); err != nil {
		return err
	}
	return q.redirect(z.Steps[0].URL, "The folder "+folder+" is granted: the VMs in it can be protected.")
}

// transportersPage is the data of setup_transporters.html.
type transportersPage struct {
	setup
	Transporters []transporterChoice
}

type transporterChoice struct {
	wire.Transporter
	Bound bool
}

func setupTransporters(q *request) error {
	z, err := q.setup(1)
	if err != nil {
		return err
	}
	p := transportersPage{setup: z}
	all, err := q.api.Transporters(q.ctx(), "")
	if err != nil {
		return err
	}
	for _, x := range all {
		p.Transporters = append(p.Transporters, transporterChoice{x, slices.Contains(x.Tenants, z.Name)})
	}
	return q.render("setup_transporters", "Transporters of "+z.Name, p)
}

func saveTransporters(q *request) error {
	z, err := q.setup(1)
	if err != nil {
		return err
	}
	if _, err := q.api.SetTransporters(q.ctx(), z.Name, wire.SetTransporters{Transporters: q.list("transporter")}); err != nil {
		return err
	}
	return q.onward(z, "The transporters are saved.")
}

// donePage is the data of setup_done.html.
type donePage struct {
	setup
	LogIn string
}

func setupDone(q *request) error {
	z, err := q.setup(3)
	if err != nil {
		return err
	}
	title := z.Name + " is configured"
	if !z.Readiness.Ready {
		title = z.Name + " is not configured yet"
	}
	return q.render("setup_done", title, donePage{z, pathOf("t", z.Name)})
}
