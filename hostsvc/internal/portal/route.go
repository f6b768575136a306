package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
)

// audience says for whom a page exists. For all others it is as unknown as one
// that was never written.
type audience string

const (
	anybody   audience = "anybody"
	visitors  audience = "visitors"   // who has not logged in
	everyUser audience = "every user" // who has
	masters   audience = "masters"    // users of the master, as long as they act for no tenant
	tenants   audience = "tenants"    // a tenant's users, and users of the master who act for it
)

// route is one row of the table: a page, or what a form of it does.
type route struct {
	method string // GET or POST
	path   string // a pattern of net/http without method and host
	who    audience
	// permission is the API's that the page needs first, "" for none; see
	// api.PermissionsOf.
	permission string
	// inTenant is that permission where the page is about one tenant, if it is
	// another one there.
	inTenant string
	// always lets it be used before a generated password is changed and a
	// second factor that is required is set up.
	always  bool
	endless bool // its answer is events, for as long as the page is open
	// form shows the form again when a POST failed. nil: the page with the same
	// path, or else a page of its own with the error.
	form   func(*request) error
	handle func(*request) error
}

// nowhere is every path that is not in the table.
var nowhere = &route{who: anybody, always: true, handle: func(*request) error { return noPage }}

// noPage is said of every path that does not exist for somebody.
var noPage = errkind.New(errkind.NotFound, "there is no such page: it was removed, or the address is not complete")

// routes are all pages. Each file with pages has its own table.
func routes() []*route {
	return slices.Concat(
		loginRoutes,
		providerRoutes,
		homeRoutes,
		liveRoutes,
		alarmRoutes,
		accountRoutes,
		tenantRoutes,
		wizardRoutes,
		allowanceRoutes,
		transporterRoutes,
		userRoutes,
		settingsRoutes,
		notificationRoutes,
		auditRoutes,
		volumesRoutes, vmsRoutes, jobsRoutes, calendarRoutes, activitiesRoutes, pointsRoutes, recoveryRoutes, repositoriesRoutes, searchRoutes,
	)
}

// open says why somebody may not, nil if he may.
func (rt *route) open(q *request) error {
	switch {
	case rt.who == masters && !q.caller.Admin:
		return noPage
	case rt.who == tenants && q.caller.Admin:
		return errkind.New(errkind.NotFound, "this page shows the data of one tenant: choose a tenant and act for it")
	}
	need := rt.permission
	if rt.inTenant != "" && !q.caller.Admin {
		need = rt.inTenant
	}
	if need != "" && !q.can(need) {
		return errkind.New(errkind.Denied, "this needs the permission %s, which the role %s does not have: ask an administrator", need, q.caller.Role)
	}
	return nil
}

// can tells whether the API would let the caller use a permission.
func (q *request) can(permission string) bool {
	if q.permissions == nil {
		q.permissions = api.PermissionsOf(q.caller)
	}
	return slices.Contains(q.permissions, permission)
}

// opens tells whether the page at a path is there for the caller.
func (q *request) opens(path string) bool {
	return slices.ContainsFunc(q.p.routes, func(rt *route) bool {
		return rt.method == http.MethodGet && rt.path == path && rt.open(q) == nil
	})
}

// pageOf is the page with a path of the table, nil if there is none.
func (q *request) pageOf(path string) *route {
	for _, rt := range q.p.routes {
		if rt.method == http.MethodGet && rt.path == path {
			return rt
		}
	}
	return nil
}

// to is the address of a page with parameters, names and values by turns; ""
// if the page is not there for the caller.
func (q *request) to(path string, pairs ...string) string {
	if !q.opens(path) {
		return ""
	}
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return withQuery(path, v)
}

// page is the address of the page of one thing: of a pattern of the table that
// ends in the name of a segment; "" if the page is not there for the caller.
func (q *request) page(pattern, name string) string {
	if !q.opens(pattern) {
		return ""
	}
	return pattern[:strings.LastIndex(pattern, "/")] + pathOf(name)
}
