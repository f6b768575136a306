package portal

import (
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Users of the master and of a tenant have the same pages; a user of the master
// finds those of a tenant below the tenant.
var userRoutes = []*route{
	{method: http.MethodGet, path: "/users", who: everyUser, permission: "service.read", inTenant: "tenant.manage", handle: listUsers},
	{method: http.MethodGet, path: "/new/user", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: newUser},
	{method: http.MethodPost, path: "/new/user", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: createUser},
	{method: http.MethodGet, path: "/users/{user}", who: everyUser, permission: "service.read", inTenant: "tenant.manage", handle: showUser},
	{method: http.MethodPost, path: "/users/{user}", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: saveUser},
	{method: http.MethodPost, path: "/users/{user}/do", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", form: showUser, handle: doUser},
	{method: http.MethodGet, path: "/users/{user}/delete", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: askToDeleteUser},
	{method: http.MethodPost, path: "/users/{user}/delete", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: deleteUser},

	{method: http.MethodGet, path: "/tenants/{tenant}/users", who: masters, permission: "tenant.manage", handle: listUsers},
	{method: http.MethodGet, path: "/tenants/{tenant}/new/user", who: masters, permission: "tenant.manage", handle: newUser},
	{method: http.MethodPost, path: "/tenants/{tenant}/new/user", who: masters, permission: "tenant.manage", handle: createUser},
	{method: http.MethodGet, path: "/tenants/{tenant}/users/{user}", who: masters, permission: "tenant.manage", handle: showUser},
	{method: http.MethodPost, path: "/tenants/{tenant}/users/{user}", who: masters, permission: "tenant.manage", handle: saveUser},
	{method: http.MethodPost, path: "/tenants/{tenant}/users/{user}/do", who: masters, permission: "tenant.manage", form: showUser, handle: doUser},
	{method: http.MethodGet, path: "/tenants/{tenant}/users/{user}/delete", who: masters, permission: "tenant.manage", handle: askToDeleteUser},
	{method: http.MethodPost, path: "/tenants/{tenant}/users/{user}/delete", who: masters, permission: "tenant.manage", handle: deleteUser},
}

// roleAbout explains the roles, the most powerful first.
var roleAbout = []struct {
	Role   volspec.Role
	Master bool
	Text   string
}{
	{volspec.MasterAdmin, true, "Everything: tenants, allowances, users, settings; can act for tenants."},
	{volspec.MasterViewer, true, "Sees everything and changes nothing; can look around for a tenant."},
	{volspec.TenantAdmin, false, "Everything inside the tenant: jobs, repositories, recoveries, users, notifications."},
	{volspec.Operator, false, "Runs backups and recovers to new places; cannot delete, replace or change settings."},
	{volspec.RestoreOperator, false, "Recovers to new places and downloads files; runs nothing else."},
	{volspec.TenantGuest, false, "Looks only, and only while guest access is on; downloads files if that is allowed."},
}

// usersOf is whose users the page is about, "" for the master's, and where
// their pages are.
func (q *request) usersOf() (tenant string, pages []any, crumbs []action) {
	if t := q.path("tenant"); t != "" {
		return t, []any{"tenants", t}, append(q.tenantCrumbs(t), action{Label: "Users", URL: pathOf("tenants", t, "users")})
	}
	return q.tenant(), nil, []action{{Label: "Users", URL: "/users"}}
}

// usersPage is the data of users.html.
type usersPage struct {
	Tenant  string
	Crumbs  []action
	Users   []userView
	Part    part
	New     string
	Changes bool
	Roles   []roleView
}

type userView struct {
	wire.User
	URL    string
	Locked bool
}

type roleView struct {
	Role volspec.Role
	Text string
}

func rolesFor(tenant string) []roleView {
	var views []roleView
	for _, r := range roleAbout {
		if r.Master == (tenant == "") {
			views = append(views, roleView{r.Role, r.Text})
		}
	}
	return views
}

func listUsers(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	l, err := q.api.UserList(q.ctx(), tenant, q.listQuery())
	if err != nil {
		return err
	}
	p := usersPage{Part: partOf(q, l), Tenant: tenant, New: pathOf(append(pages, "new", "user")...), Roles: rolesFor(tenant), Crumbs: crumbs[:len(crumbs)-1],
		Changes: q.can("tenant.manage")}
	for _, u := range l.Rows {
		p.Users = append(p.Users, userView{u, pathOf(append(pages, "users", u.Name)...), u.LockedUntil.After(time.Now())})
	}
	return q.render("users", "Users", p)
}

// userForm is the data of user_new.html and user.html.
type userForm struct {
	userView
	Back        string
	Crumbs      []action
	RoleOptions []any
	Self        bool
	Changes     bool
}

// roleOptions are radio buttons for the roles.
func roleOptions(tenant string) []any {
	var options []any
	for _, r := range rolesFor(tenant) {
		options = append(options, map[string]any{"value": string(r.Role), "label": roleName(r.Role), "hint": r.Text})
	}
	return options
}

func newUser(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	f := userForm{Back: pathOf(append(pages, "users")...), Crumbs: crumbs, RoleOptions: roleOptions(tenant)}
	f.Role = volspec.MasterAdmin
	if tenant != "" {
		f.Role = volspec.Operator
	}
	return q.render("user_new", "Create new user", f)
}

func createUser(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	r := wire.CreateUser{Name: q.text("name"), Role: volspec.Role(q.text("role")), Email: q.text("email"), Description: q.text("description")}
	if r.Name == "" {
		q.note("name", "Give the user a name")
	}
	if !q.bool("generate") {
		if r.Password = q.secret("password"); r.Password == "" {
			q.note("password", "Type a password, or have one generated")
		}
	}
	if err := q.wrong(); err != nil {
		return err
	}
	u, err := q.api.CreateUser(q.ctx(), tenant, r)
	if err != nil {
		return err
	}
	list := pathOf(append(pages, "users")...)
	if u.Password == "" {
		return q.redirect(list, "The user "+u.Name+" is created.")
	}
	return q.render("user_made", u.Name+" is created", madePage{Name: u.Name, Crumbs: crumbs, User: &u, Next: list, LogIn: logInPage(tenant)})
}

// logInPage is where users of a tenant, or with "" of the master, log in.
func logInPage(tenant string) string {
	if tenant == "" {
		return "/login"
	}
	return pathOf("t", tenant)
}

func showUser(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	u, err := q.api.User(q.ctx(), tenant, q.path("user"))
	if err != nil {
		return err
	}
	here := pathOf(append(pages, "users", u.Name)...)
	return q.render("user", u.Name, userForm{
		userView: userView{u, here, u.LockedUntil.After(time.Now())}, Back: pathOf(append(pages, "users")...), Crumbs: crumbs,
		RoleOptions: roleOptions(tenant), Self: u.Name == q.session.User && u.Tenant == q.session.Tenant,
		Changes: q.can("tenant.manage"),
	})
}

func saveUser(q *request) error {
	tenant, pages, _ := q.usersOf()
	name := q.path("user")
	r := wire.UpdateUser{Email: new(q.text("email")), Description: new(q.text("description"))}
	if role := volspec.Role(q.text("role")); role != "" {
		r.Role = &role
	}
	if _, err := q.api.UpdateUser(q.ctx(), tenant, name, r); err != nil {
		return err
	}
	return q.redirect(pathOf(append(pages, "users", name)...), "The changes are saved.")
}

// doUser does one thing to a user.
func doUser(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	name := q.path("user")
	deeds := map[string]struct {
		r    wire.UpdateUser
		said string
	}{
		"enable":  {wire.UpdateUser{Enabled: new(true)}, "can log in again."},
		"disable": {wire.UpdateUser{Enabled: new(false)}, "is disabled, and all sessions and tokens with it."},
		"unlock":  {wire.UpdateUser{Unlock: true}, "can try to log in again."},
		"totp":    {wire.UpdateUser{ResetTOTP: true}, "logs in without a second factor until a new one is set up."},
		"reset":   {wire.UpdateUser{ResetPassword: true}, "has a new password."},
	}
	deed, ok := deeds[q.text("do")]
	if !ok {
		return errkind.New(errkind.Invalid, "the portal does not know how to %q a user: open the page again", q.text("do"))
	}
	u, err := q.api.UpdateUser(q.ctx(), tenant, name, deed.r)
	if err != nil {
		return err
	}
	back := pathOf(append(pages, "users", name)...)
	if u.Password != "" {
		return q.render("user_made", "New password of "+name, madePage{Name: name, Crumbs: crumbs, User: &u, Next: back, LogIn: logInPage(tenant), Reset: true})
	}
	return q.redirect(back, name+" "+deed.said)
}

func askToDeleteUser(q *request) error {
	tenant, pages, crumbs := q.usersOf()
	u, err := q.api.User(q.ctx(), tenant, q.path("user"))
	if err != nil {
		return err
	}
	return q.ask(confirm{
		Title: "Delete user " + u.Name, Crumbs: crumbs, Button: "Delete user", Back: pathOf(append(pages, "users", u.Name)...),
		Effects: []string{"All sessions and tokens of the user end at once.", "What the user did stays in the audit log.", "This cannot be undone; to keep the user for later, disable it instead."},
	})
}

func deleteUser(q *request) error {
	tenant, pages, _ := q.usersOf()
	if err := q.api.RemoveUser(q.ctx(), tenant, q.path("user")); err != nil {
		return err
	}
	return q.redirect(pathOf(append(pages, "users")...), "The user "+q.path("user")+" is deleted.")
}
