package portal

import (
	"net/url"
	"strings"

	"mooring.dev/mooring/pkg/wire"
)

// tenantForm is the data of tenant_new.html and tenant_edit.html.
type tenantForm struct {
	Back   string
	Crumbs []action
	wire.Tenant
	Labels  string
	Amounts map[string]string // what the fields of the allowance show at first
	Hints   []string          // below them
}

func newTenant(q *request) error {
	pool, err := q.api.Pool(q.ctx())
	if err != nil {
		return err
	}
	return q.render("tenant_new", "Create new tenant", tenantForm{Back: "/tenants", Crumbs: q.tenantCrumbs(""),
		Amounts: map[string]string{}, Hints: hintsOf(pool)})
}

// profile is the contact data in a form. What people type as a web site mostly
// has no scheme.
func (q *request) profile() wire.Profile {
	p := wire.Profile{Email: q.text("email"), Phone: q.text("phone"), Website: q.text("website"),
		Address: q.text("address"), Labels: q.words("labels")}
	if p.Website != "" && !strings.Contains(p.Website, "://") {
		p.Website = "https://" + p.Website
	}
	if u, err := url.Parse(p.Website); err != nil || p.Website != "" && u.Host == "" {
		q.note("website", "This is not a web address: write one such as https://example.com")
	}
	if p.Email != "" && !strings.Contains(p.Email, "@") {
		q.note("email", "This is not an e-mail address: write one such as ops@example.com")
	}
	return p
}

// madePage is the data of tenant_made.html and user_made.html.
type madePage struct {
	Name, Next, LogIn string
	Crumbs            []action
	User              *wire.User
	Reset             bool
}

func createTenant(q *request) error {
	r := wire.CreateTenant{
		CreateVMGroup: wire.CreateVMGroup{Name: q.text("name"), Description: q.text("description")},
		Profile:       q.profile(), GuestAccess: q.bool("guest_access"), GuestFiles: q.bool("guest_files"),
	}
	if r.Name == "" {
		q.note("name", "Give the tenant a name")
	}
	if a := q.amounts(); a != (wire.Amounts{}) {
		r.Allowance = &a
	}
	user, password := q.text("user"), q.secret("password")
	switch {
	case user == "" && password != "":
		q.note("user", "Name the user whose password this is")
	case user != "" && !q.bool("generate") && password == "":
		q.note("password", "Type a password, or have one generated")
	case user != "":
		r.Admin = &wire.CreateUser{Name: user, Email: r.Profile.Email}
		if !q.bool("generate") {
			r.Admin.Password = password
		}
	}
	if err := q.wrong(); err != nil {
		return err
	}
	made, err := q.api.CreateTenant(q.ctx(), r)
	if err != nil {
		return err
	}
	name := made.Tenant.Name
	if made.Admin != nil && made.Admin.Password != "" {
		return q.render("tenant_made", name+" is created", madePage{Name: name, Crumbs: q.tenantCrumbs(""), User: made.Admin,
			Next: pathOf("tenants", name, "setup"), LogIn: pathOf("t", name)})
	}
	return q.redirect(pathOf("tenants", name), name+" is created. Configure its service next.")
}

func editTenant(q *request) error {
	name := q.path("tenant")
	t, err := q.api.Tenant(q.ctx(), name)
	if err != nil {
		return err
	}
	return q.render("tenant_edit", "Edit "+name, tenantForm{Back: pathOf("tenants", name), Crumbs: q.tenantCrumbs(name),
		Tenant: t, Labels: strings.Join(t.Profile.Labels, ", ")})
}

func saveTenant(q *request) error {
	name := q.path("tenant")
	p := q.profile()
	if err := q.wrong(); err != nil {
		return err
	}
	_, err := q.api.UpdateTenant(q.ctx(), name, wire.UpdateTenant{
		Description: new(q.text("description")), Profile: &p, GuestAccess: new(q.bool("guest_access")), GuestFiles: new(q.bool("guest_files")),
	})
	if err != nil {
		return err
	}
	return q.redirect(pathOf("tenants", name), "The changes are saved.")
}
