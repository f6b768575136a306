package portal

import (
	"net/http"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var tenantRoutes = []*route{
	{method: http.MethodGet, path: "/tenants", who: masters, permission: "service.read", handle: listTenants},
	{method: http.MethodGet, path: "/new/tenant", who: masters, permission: "vmgroup.manage", handle: newTenant},
	{method: http.MethodPost, path: "/new/tenant", who: masters, permission: "vmgroup.manage", handle: createTenant},
	{method: http.MethodGet, path: "/tenants/{tenant}", who: masters, permission: "service.read", handle: showTenant},
	{method: http.MethodGet, path: "/tenants/{tenant}/edit", who: masters, permission: "vmgroup.manage", handle: editTenant},
	{method: http.MethodPost, path: "/tenants/{tenant}/edit", who: masters, permission: "vmgroup.manage", handle: saveTenant},
	{method: http.MethodGet, path: "/tenants/{tenant}/act", who: masters, permission: "service.read", handle: askToAct},
	{method: http.MethodPost, path: "/tenants/{tenant}/act", who: masters, permission: "service.read", handle: act},
	{method: http.MethodPost, path: "/tenants/{tenant}/enable", who: masters, permission: "vmgroup.manage", form: showTenant, handle: enableTenant},
	{method: http.MethodGet, path: "/tenants/{tenant}/disable", who: masters, permission: "vmgroup.manage", handle: askToDisable},
	{method: http.MethodPost, path: "/tenants/{tenant}/disable", who: masters, permission: "vmgroup.manage", handle: disableTenant},
	{method: http.MethodGet, path: "/tenants/{tenant}/delete", who: masters, permission: "vmgroup.manage", handle: askToDelete},
	{method: http.MethodPost, path: "/tenants/{tenant}/delete", who: masters, permission: "vmgroup.manage", handle: deleteTenant},
}

// tenantCard is a tenant with what its card says.
type tenantCard struct {
	wire.Tenant
	Shares []shareView
}

func cardOf(t wire.Tenant) tenantCard { return tenantCard{t, sharesOf(t.Allowance)} }

// tenantPage is the data of tenants.html.
type tenantPage struct {
	Tenants                         []tenantCard
	Next, View                      string
	Shown, Total                    int
	Filtered, First                 bool
	Q, State, Health, Label, Sort   string
	Desc                            bool
	Sorts, States, Healths          []option
	CardsURL, TableURL, ClearFilter string
}

// cardsOnPage fill rows of two and of three.
const cardsOnPage = 24

func listTenants(q *request) error {
	if done, err := q.toOnly(); done || err != nil {
		return err
	}
	p := tenantPage{
		View: q.text("view"), Q: q.text("q"), State: q.text("state"), Health: q.text("health"), Label: q.text("label"),
		Sort: q.text("sort"), Desc: q.bool("desc"), First: q.text("after") != "",
		Sorts:   []option{{"name", "Name"}, {"health", "Health"}, {"storage", "Storage in use"}, {"users", "Users"}},
		States:  []option{{"", "Any state"}, {wire.TenantEnabled, "Enabled"}, {wire.TenantDisabled, "Disabled"}, {wire.TenantDeleted, "Deleted"}},
		Healths: []option{{"", "Any health"}, {wire.HealthGood, "Good"}, {wire.HealthNotices, "Notices"}, {wire.HealthAlarms, "Alarms"}},
	}
	if p.View != "table" {
		p.View = "cards"
	}
	if p.Sort == "" {
		p.Sort = "name"
	}
	p.Filtered = p.Q+p.State+p.Health+p.Label != ""
	list, err := q.api.Tenants(q.ctx(), hostclient.TenantQuery{
		Words: p.Q, State: p.State, Health: p.Health, Label: p.Label, Sort: p.Sort, Desc: p.Desc, After: q.text("after"), Limit: cardsOnPage,
	})
	if err != nil {
		return err
	}
	for _, t := range list.Tenants {
		p.Tenants = append(p.Tenants, cardOf(t))
	}
	p.Next, p.Total, p.Shown = list.Next, list.Total, len(list.Tenants)
	p.CardsURL, p.TableURL = viewURL(q, ""), viewURL(q, "table")
	p.ClearFilter = "/tenants"
	if p.View == "table" {
		p.ClearFilter += "?view=table"
	}
	return q.render("tenants", "Tenants", p)
}

// viewURL is the same list in another view.
func viewURL(q *request, view string) string {
	v := q.r.URL.Query()
	v.Del("view")
	if view != "" {
		v.Set("view", view)
	}
	return withQuery("/tenants", v)
}

// tenantDetail is the data of tenant.html.
type tenantDetail struct {
	wire.Tenant
	Crumbs       []action
	Base         string
	Steps        []stepView
	Shares       []shareView
	Group        wire.VMGroup
	VMs          []wire.VM
	Transporters []wire.Transporter
	Repositories []wire.Repository
	People       []wire.User // of which Tenant.Users tells the number
	More         map[string]int
	SeesUsers    bool
	Audit        []auditView
	LogIn        string
}

func showTenant(q *request) error {
	name := q.path("tenant")
	t, err := q.api.Tenant(q.ctx(), name)
	if err != nil {
		return err
	}
	d := tenantDetail{Tenant: t, Base: pathOf("tenants", name), Crumbs: q.tenantCrumbs(""), Shares: sharesOf(t.Allowance),
		Steps: stepsOf(t), More: map[string]int{}, SeesUsers: q.can("tenant.manage"), LogIn: pathOf("t", name)}
	if d.Group, err = q.api.VMGroup(q.ctx(), name); err != nil {
		return err
	}
	if d.Transporters, err = q.api.Transporters(q.ctx(), name); err != nil {
		return err
	}
	if d.Repositories, err = q.api.GroupRepositories(q.ctx(), name); err != nil {
		return err
	}
	if d.SeesUsers {
		if d.People, err = q.api.Users(q.ctx(), name); err != nil {
			return err
		}
	}
	d.VMs, d.More["vms"] = firstOf(d.Group.VMs)
	d.Repositories, d.More["repositories"] = firstOf(d.Repositories)
	d.Transporters, d.More["transporters"] = firstOf(d.Transporters)
	d.People, d.More["users"] = firstOf(d.People)
	page, err := q.api.Audit(q.ctx(), hostclient.AuditQuery{VMGroup: name, Limit: 8})
	if err != nil {
		return err
	}
	d.Audit = auditViews(page.Entries)
	return q.render("tenant", name, d)
}

// tenantCrumbs lead to a tenant, or without a name to all.
func (q *request) tenantCrumbs(name string) []action {
	var crumbs []action
	if !q.single() {
		crumbs = append(crumbs, action{Label: "Tenants", URL: "/tenants"})
	}
	if name != "" {
		crumbs = append(crumbs, action{Label: name, URL: pathOf("tenants", name)})
	}
	return crumbs
}

// actPage is the data of tenant_act.html.
type actPage struct {
	Name, Back string
	Crumbs     []action
	Minutes    []option
	ReadOnly   bool
}

func askToAct(q *request) error {
	name := q.path("tenant")
	if _, err := q.api.Tenant(q.ctx(), name); err != nil {
		return err
	}
	return q.render("tenant_act", "Act for "+name, actPage{
		Name: name, Back: pathOf("tenants", name), Crumbs: q.tenantCrumbs(name), ReadOnly: !q.can("vmgroup.manage"),
		Minutes: []option{{"15", "15 minutes"}, {"30", "30 minutes"}, {"60", "1 hour"}, {"240", "4 hours"}},
	})
}

func act(q *request) error {
	minutes := int(q.int("minutes")) // 0: the service's default
	if err := q.wrong(); err != nil {
		return err
	}
	name := q.path("tenant")
	if _, err := q.api.ActAs(q.ctx(), wire.ActAs{VMGroup: name, Minutes: minutes, Reason: q.text("reason")}); err != nil {
		return err
	}
	return q.redirect("/", "")
}

func enableTenant(q *request) error {
	name := q.path("tenant")
	if _, err := q.api.UpdateTenant(q.ctx(), name, wire.UpdateTenant{State: new(wire.TenantEnabled)}); err != nil {
		return err
	}
	return q.redirect(pathOf("tenants", name), name+" is enabled: its users can log in and its schedules run.")
}

func askToDisable(q *request) error {
	name := q.path("tenant")
	if _, err := q.api.Tenant(q.ctx(), name); err != nil {
		return err
	}
	return q.render("tenant_disable", "Disable "+name, actPage{Name: name, Back: pathOf("tenants", name), Crumbs: q.tenantCrumbs(name)})
}

func disableTenant(q *request) error {
	name := q.path("tenant")
	if _, err := q.api.UpdateTenant(q.ctx(), name, wire.UpdateTenant{State: new(wire.TenantDisabled), CancelJobs: q.bool("cancel")}); err != nil {
		return err
	}
	return q.redirect(pathOf("tenants", name), name+" is disabled. Its data and recovery points are untouched.")
}

// deletePage is the data of tenant_delete.html.
type deletePage struct {
	wire.Tenant
	Back         string
	Crumbs       []action
	Points       int
	Repositories int
}

func askToDelete(q *request) error {
	name := q.path("tenant")
	t, err := q.api.Tenant(q.ctx(), name)
	if err != nil {
		return err
	}
	p := deletePage{Tenant: t, Back: pathOf("tenants", name), Crumbs: q.tenantCrumbs(name)}
	repos, err := q.api.GroupRepositories(q.ctx(), name)
	if err != nil {
		return err
	}
	p.Repositories = len(repos)
	for _, r := range repos {
		p.Points += r.Points
	}
	return q.render("tenant_delete", "Delete "+name, p)
}

func deleteTenant(q *request) error {
	name := q.path("tenant")
	if !q.confirmed(name) {
		return q.wrong()
	}
	if err := q.api.DeleteTenant(q.ctx(), name, q.bool("with_data"), q.bool("now")); err != nil {
		return err
	}
	if q.bool("now") {
		return q.redirect("/tenants", name+" is deleted.")
	}
	return q.redirect("/tenants", name+" is deleted. Until its grace period ends it can be brought back.")
}
