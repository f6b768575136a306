package portal

import (
	"net/http"
	"net/url"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

var searchRoutes = []*route{
	{method: http.MethodGet, path: "/search", who: everyUser, permission: "backup.read", handle: showSearch},
}

// hit is one thing that was found, with its page.
type hit struct {
	wire.Found
	URL, Icon string
}

type searchPage struct {
	Text, Problem string
	Kinds         []hitKind
}

type hitKind struct {
	Label string
	Hits  []hit
}

var hitKinds = []struct{ kind, label, icon string }{
	{"vmgroup", "Tenants", "tenants"}, {"volume", "Volumes", "volume"}, {"vm", "VMs", "vm"}, {"policy", "Jobs", "job"}, {"repository", "Repositories", "repository"},
	{"point", "Recovery points", "point"}, {"job", "Activities", "activity"}, {"user", "Users", "user"},
}

func showSearch(q *request) error {
	p := searchPage{Text: q.text("q")}
	found, err := q.api.Search(q.ctx(), q.tenant(), p.Text)
	if errkind.Is(err, errkind.Invalid) {
		p.Problem, err = errkind.Text(err), nil
	}
	if err != nil {
		return err
	}
	for _, k := range hitKinds {
		g := hitKind{Label: k.label}
		for _, f := range found {
			if f.Kind == k.kind {
				g.Hits = append(g.Hits, hit{f, q.hitURL(f), k.icon})
			}
		}
		if g.Hits != nil {
			p.Kinds = append(p.Kinds, g)
		}
	}
	return q.render("search", "Search", p)
}

// hitURL is the page of something that was found, "" where there is none. For a user of the master
// what a tenant has lies behind the tenant's own page.
func (q *request) hitURL(f wire.Found) string {
	switch {
	case f.Kind == "job":
		v := url.Values{}
		if q.tenant() == "" {
			v.Set("vmgroup", f.VMGroup)
		}
		return withQuery(pathOf("activities", f.Name), v)
	case f.Kind == "user" && (q.tenant() != "" || f.VMGroup == ""):
		if q.opens("/users") {
			return "/users"
		}
		return ""
	case f.Kind == "vmgroup" && q.tenant() == "":
		return pathOf("tenants", f.Name)
	case q.tenant() == "":
		return pathOf("tenants", f.VMGroup)
	case f.Kind == "volume":
		return pathOf("volumes", f.Name)
	case f.Kind == "vm":
		return pathOf("vms", f.Name)
	case f.Kind == "policy":
		return pathOf("jobs", f.Name)
	case f.Kind == "repository":
		return pathOf("repositories", f.Name)
	case f.Kind == "point":
		return pathOf("points", f.Name)
	}
	return ""
}
