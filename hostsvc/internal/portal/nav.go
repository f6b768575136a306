package portal

import "strings"

// navGroup is one part of the menu, without a heading if Label is "".
type navGroup struct {
	Label string
	Items []navItem
}

// navItem leads to a page. Current: to the one that is shown, or to what that
// one is a part of.
type navItem struct {
	Path, Label, Icon string
	Current           bool
}

// menu is the whole of it; somebody sees the pages that are there for him.
var menu = []navGroup{
	{"", []navItem{
		{Path: "/", Label: "Overview", Icon: "home"},
		{Path: "/tenants", Label: "Tenants", Icon: "tenants"},
	}},
	{"Protect", []navItem{
		{Path: "/volumes", Label: "Volumes", Icon: "volume"},
		{Path: "/vms", Label: "VMs", Icon: "vm"},
		{Path: "/jobs", Label: "Jobs", Icon: "job"},
		{Path: "/calendar", Label: "Calendar", Icon: "calendar"},
		{Path: "/activities", Label: "Activities", Icon: "activity"},
	}},
	{"Recover", []navItem{
		{Path: "/points", Label: "Recovery points", Icon: "point"},
		{Path: "/recover", Label: "Recover", Icon: "recover"},
	}},
	{"Infrastructure", []navItem{
		{Path: "/repositories", Label: "Repositories", Icon: "repository"},
		{Path: "/transporters", Label: "Transporters", Icon: "transporter"},
		{Path: "/pool", Label: "Allowances", Icon: "pool"},
	}},
	{"Administration", []navItem{
		{Path: "/users", Label: "Users", Icon: "user"},
		{Path: "/notifications", Label: "Notifications", Icon: "bell"},
		{Path: "/audit", Label: "Audit log", Icon: "audit"},
		{Path: "/settings", Label: "Settings", Icon: "settings"},
	}},
}

// nav is the menu of the caller.
func (q *request) nav() []navGroup {
	if q.caller.Held() {
		return nil
	}
	one := q.single() // which has nobody to share a pool with
	var groups []navGroup
	for _, g := range menu {
		var items []navItem
		for _, i := range g.Items {
			switch {
			case one && i.Path == "/tenants":
				i.Label = "Tenant"
			case one && i.Path == "/pool":
				continue
			}
			if i.Path == "/" || q.opens(i.Path) {
				i.Current = i.Path == q.r.URL.Path || i.Path != "/" && strings.HasPrefix(q.r.URL.Path, i.Path+"/")
				items = append(items, i)
			}
		}
		if items != nil {
			groups = append(groups, navGroup{g.Label, items})
		}
	}
	return groups
}
