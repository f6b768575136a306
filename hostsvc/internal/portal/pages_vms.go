package portal

import (
	"net/http"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var vmsRoutes = []*route{
	{method: http.MethodGet, path: "/vms", who: tenants, permission: "vmgroup.read", handle: showVMs},
	{method: http.MethodGet, path: "/vms/{vm}", who: tenants, permission: "vmgroup.read", handle: showVM},
	{method: http.MethodPost, path: "/vms/{vm}/backup", who: tenants, permission: "backup.run", form: showVM, handle: backupVM},
}

// vmPrefix stands before the name of a VM where a volume's could stand.
const vmPrefix = "vm/"

// vmRow is a VM with how it is protected as a whole.
type vmRow struct {
	wire.VM
	Protection wire.Protection
	Folder     string // that was granted and holds it, "" for a member
}

type vmsPage struct {
	Rows          []vmRow
	All, Found    int // before filters, and that fit them
	Part          part
	Search, State string
}

// vms are the tenant's members and what lies in its folders.
func (q *request) vms() ([]vmRow, error) {
	members, err := q.api.GroupVMs(q.ctx(), q.tenant())
	if err != nil {
		return nil, err
	}
	folders, err := q.api.GroupFolders(q.ctx(), q.tenant())
	if err != nil {
		return nil, err
	}
	protection, err := q.protection()
	if err != nil {
		return nil, err
	}
	var rows []vmRow
	seen := map[string]bool{}
	add := func(vm wire.VM, folder string) {
		if !seen[string(vm.ID)] {
			seen[string(vm.ID)] = true
			rows = append(rows, vmRow{vm, protection[vmPrefix+vm.Name], folder})
		}
	}
	for _, vm := range members {
		add(vm, "")
	}
	for _, f := range folders {
		for _, vm := range f.VMs {
			add(vm, string(f.Folder))
		}
	}
	slices.SortStableFunc(rows, func(a, b vmRow) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

func showVMs(q *request) error {
	rows, err := q.vms()
	if err != nil {
		return err
	}
	p := vmsPage{All: len(rows), Search: q.text("q"), State: q.text("protection")}
	for _, r := range rows {
		state := r.Protection.State
		if state == "" {
			state = "unprotected"
		}
		if strings.Contains(strings.ToLower(r.Name), strings.ToLower(p.Search)) && (p.State == "" || p.State == state) {
			p.Rows = append(p.Rows, r)
		}
	}
	p.Found = len(p.Rows)
	p.Rows, p.Part = pageOf(q, p.Rows, func(r vmRow) string { return r.Name + " " + string(r.ID) })
	return q.render("vms", "VMs", p)
}

type vmPage struct {
	vmRow
	Points []wire.Point
	Line   timelineChart
}

func showVM(q *request) error {
	rows, err := q.vms()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(rows, func(r vmRow) bool { return r.Name == q.path("vm") })
	if i < 0 {
		return errkind.New(errkind.NotFound, "this tenant has no VM %s: see the list of VMs", q.path("vm"))
	}
	p := vmPage{vmRow: rows[i]}
	if q.can("backup.read") {
		points, err := q.api.Points(q.ctx(), q.tenant(), hostclient.PointsQuery{Volume: vmPrefix + p.Name, Limit: 200})
		if err != nil {
			return err
		}
		p.Line, p.Points = q.timeline(points.Points), points.Points[:min(len(points.Points), 10)]
	}
	return q.render("vm", "VM "+p.Name, p)
}

func backupVM(q *request) error { return q.backUp(wire.RunBackup{VMs: []string{q.path("vm")}}) }
