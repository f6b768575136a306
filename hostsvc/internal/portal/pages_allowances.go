package portal

import (
	"fmt"
	"net/http"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var allowanceRoutes = []*route{
	{method: http.MethodGet, path: "/pool", who: everyUser, permission: "vmgroup.read", handle: showPool},
	{method: http.MethodGet, path: "/pool/edit", who: masters, permission: "service.manage", handle: editPool},
	{method: http.MethodPost, path: "/pool/edit", who: masters, permission: "service.manage", handle: savePool},
	{method: http.MethodGet, path: "/tenants/{tenant}/allowance", who: masters, permission: "vmgroup.manage", handle: editAllowance},
	{method: http.MethodPost, path: "/tenants/{tenant}/allowance", who: masters, permission: "vmgroup.manage", handle: saveAllowance},
}

// shareView is one line about what a tenant may use. Bound is the Effective of
// the API: what counts.
type shareView struct {
	Key, Label, Icon string
	Used, Size       int64
	Bounded          bool
	Text, Note       string
}

// kinds are what is delegated, in the order in which it is shown.
var kinds = []struct{ key, label, icon string }{
	{"sockets", "CPU sockets", "cpu"}, {"vms", "Protected VMs", "vm"}, {"volumes", "Protected volumes", "volume"}, {"storage", "Backup storage", "repository"},
}

func sharesOf(a wire.Allowance) []shareView {
	var views []shareView
	for i, s := range []wire.Share{a.Sockets, a.VMs, a.Volumes, a.Storage} {
		k := kinds[i]
		v := shareView{Key: k.key, Label: k.label, Icon: k.icon, Used: s.Used, Size: s.Desired, Bounded: s.Bounded}
		v.Text = amountText(k.key, s.Used) + " in use, no limit"
		if s.Bounded {
			v.Text = amountText(k.key, s.Used) + " of " + amountText(k.key, s.Desired)
		}
		if s.Bounded && s.Effective > s.Desired {
			v.Note = fmt.Sprintf("More is in use than allowed: nothing new is accepted, and %s still count against the pool.", amountText(k.key, s.Effective))
		}
		views = append(views, v)
	}
	return views
}

// poolView is one line about the pool.
type poolView struct {
	shareView
	Delegated int64
	Free      string // what can still be delegated
}

func poolViews(p wire.Pool) []poolView {
	var views []poolView
	for i, s := range []wire.PoolShare{p.Sockets, p.VMs, p.Volumes, p.Storage} {
		k := kinds[i]
		v := poolView{shareView: shareView{Key: k.key, Label: k.label, Icon: k.icon, Used: s.Used, Size: s.Size, Bounded: s.Bounded}, Delegated: s.Delegated}
		v.Text = amountText(k.key, s.Delegated) + " delegated, no limit"
		v.Free = "as much as you like"
		if s.Bounded {
			v.Text = amountText(k.key, s.Delegated) + " of " + amountText(k.key, s.Size) + " delegated"
			v.Free = amountText(k.key, max(s.Size-s.Delegated, 0)) + " left"
		}
		v.Note = amountText(k.key, s.Used) + " in use"
		views = append(views, v)
	}
	return views
}

// hintsOf say what of the pool is left, for each field.
func hintsOf(p wire.Pool) []string {
	var hints []string
	for _, v := range poolViews(p) {
		hint := "The pool has no limit."
		if v.Bounded {
			hint = "In the pool: " + v.Free + "."
		}
		hints = append(hints, hint)
	}
	return hints
}

// amountText is a number of one kind of thing.
func amountText(key string, n int64) string {
	if key == "storage" {
		return bytesText(n)
	}
	return fmt.Sprint(n)
}

// fieldText is what the field for an amount shows, so that it reads back as the
// same.
func fieldText(key string, bounded bool, n int64) string {
	switch {
	case !bounded:
		return ""
	case key == "storage":
		return volspec.Size(n).String()
	}
	return fmt.Sprint(n)
}

// amounts reads the fields of an allowance; an empty one is no bound.
func (q *request) amounts() wire.Amounts {
	a := wire.Amounts{Sockets: q.optionalInt("sockets"), VMs: q.optionalInt("vms"), Volumes: q.optionalInt("volumes")}
	if n := q.optionalSize("storage"); n != nil {
		a.Storage = new(int64(*n))
	}
	return a
}

// poolPage is the data of pool.html.
type poolPage struct {
	Pool    []poolView
	Tenants []tenantCard
	Next    string
	First   bool
	Shown   int
	Total   int
	Shares  []shareView // of a tenant, whose page it is then
}

func showPool(q *request) error {
	if !q.caller.Admin {
		a, err := q.api.Allowance(q.ctx(), q.tenant())
		if err != nil {
			return err
		}
		return q.render("allowance", "Allowances", poolPage{Shares: sharesOf(a)})
	}
	pool, err := q.api.Pool(q.ctx())
	if err != nil {
		return err
	}
	list, err := q.api.Tenants(q.ctx(), hostclient.TenantQuery{After: q.text("after"), Limit: 50})
	if err != nil {
		return err
	}
	p := poolPage{Pool: poolViews(pool), Next: list.Next, Total: list.Total, Shown: len(list.Tenants), First: q.text("after") != ""}
	for _, t := range list.Tenants {
		p.Tenants = append(p.Tenants, tenantCard{t, sharesOf(t.Allowance)})
	}
	return q.render("pool", "Allowances", p)
}

// amountsForm is the data of amounts.html: of the pool, or of one tenant.
type amountsForm struct {
	Title, Lead, Back string
	Crumbs, Actions   []action
	Amounts           map[string]string
	Hints             []string
	Pool              []poolView
	Shares            []shareView
}

func editPool(q *request) error {
	pool, err := q.api.Pool(q.ctx())
	if err != nil {
		return err
	}
	f := amountsForm{Title: "Edit the pool", Lead: "What all tenants together can be given. An empty field means no limit.",
		Back: "/pool", Crumbs: []action{{Label: "Allowances", URL: "/pool"}}, Amounts: map[string]string{}, Pool: poolViews(pool)}
	for i, s := range []wire.PoolShare{pool.Sockets, pool.VMs, pool.Volumes, pool.Storage} {
		f.Amounts[kinds[i].key] = fieldText(kinds[i].key, s.Bounded, s.Size)
		f.Hints = append(f.Hints, amountText(kinds[i].key, s.Delegated)+" delegated.")
	}
	return q.render("amounts", f.Title, f)
}

func savePool(q *request) error {
	a := q.amounts()
	if err := q.wrong(); err != nil {
		return err
	}
	if _, err := q.api.SetPool(q.ctx(), a); err != nil {
		return err
	}
	return q.redirect("/pool", "The pool is changed.")
}

func editAllowance(q *request) error {
	name := q.path("tenant")
	a, err := q.api.Allowance(q.ctx(), name)
	if err != nil {
		return err
	}
	pool, err := q.api.Pool(q.ctx())
	if err != nil {
		return err
	}
	f := amountsForm{Title: "Allowance of " + name, Back: pathOf("tenants", name), Crumbs: q.tenantCrumbs(name),
		Lead:    "It counts at once. Less than is in use blocks what is new, and deletes nothing. An empty field means no limit.",
		Amounts: map[string]string{}, Hints: hintsOf(pool), Shares: sharesOf(a), Actions: reachable(action{Label: "The pool", URL: q.to("/pool"), Icon: "pool"})}
	for i, s := range []wire.Share{a.Sockets, a.VMs, a.Volumes, a.Storage} {
		f.Amounts[kinds[i].key] = fieldText(kinds[i].key, s.Bounded, s.Desired)
	}
	return q.render("amounts", f.Title, f)
}

func saveAllowance(q *request) error {
	name := q.path("tenant")
	a := q.amounts()
	if err := q.wrong(); err != nil {
		return err
	}
	if _, err := q.api.SetAllowance(q.ctx(), name, a); err != nil {
		return err
	}
	return q.redirect(pathOf("tenants", name), "The allowance is changed.")
}
