package portal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Settings are the installation's, or for the users of a tenant its own.
var settingsRoutes = []*route{
	{method: http.MethodGet, path: "/settings", who: everyUser, permission: "service.read", inTenant: "tenant.manage", handle: showSettings},
	{method: http.MethodPost, path: "/settings", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: saveSettings},
	{method: http.MethodPost, path: "/settings/security", who: tenants, permission: "tenant.manage", form: showProfile, handle: saveSecurity},
	{method: http.MethodGet, path: "/settings/login", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: showOIDC},
	{method: http.MethodPost, path: "/settings/login", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: saveOIDC},
	{method: http.MethodPost, path: "/settings/login/remove", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", form: showOIDC, handle: removeOIDC},
}

// settingsTabs lead to all pages of settings.
func (q *request) settingsTabs() []action {
	tabs := []action{{Label: "General", URL: "/settings"}}
	if q.opens("/settings/login") {
		tabs = append(tabs, action{Label: "Single sign-on", URL: "/settings/login"})
	}
	return tabs
}

// settingsPage is the data of settings.html.
type settingsPage struct {
	wire.Settings
	Tabs    []action
	Changes bool
}

func showSettings(q *request) error {
	if !q.caller.Admin {
		return showProfile(q)
	}
	s, err := q.api.Settings(q.ctx())
	if err != nil {
		return err
	}
	return q.render("settings", "Settings", settingsPage{s, q.settingsTabs(), q.can("service.manage")})
}

func saveSettings(q *request) error {
	if !q.caller.Admin {
		return saveProfile(q)
	}
	s, err := q.api.Settings(q.ctx())
	if err != nil {
		return err
	}
	s.Product, s.Mode, s.URL = q.text("product"), q.text("mode"), q.text("url")
	s.FactorRequired = q.bool("factor_required")
	logo, err := q.logo()
	switch {
	case err != nil:
		q.note("logo", "%s", errkind.Text(err))
	case logo != "":
		s.Logo = logo
	case q.bool("no_logo"):
		s.Logo = ""
	}
	if err := q.wrong(); err != nil {
		return err
	}
	if _, err := q.api.PutSettings(q.ctx(), s); err != nil {
		return err
	}
	return q.redirect("/settings", "The settings are saved.")
}

// logo is the picture that was sent as a data URL, "" if none was.
func (q *request) logo() (string, error) {
	f, _, err := q.r.FormFile("logo")
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) {
		return "", nil
	}
	if err != nil {
		return "", errkind.New(errkind.Invalid, "the picture did not arrive whole: choose it again")
	}
	defer f.Close()
	picture, err := io.ReadAll(f)
	if err != nil || !bytes.HasPrefix(picture, []byte("\x89PNG\r\n\x1a\n")) {
		return "", errkind.New(errkind.Invalid, "this is not a PNG picture: choose one")
	}
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(picture), nil
}

// profilePage is the data of profile.html.
type profilePage struct {
	wire.Tenant
	Tabs   []action
	Labels string
	Own    bool // a user of the tenant itself looks
}

func showProfile(q *request) error {
	t, err := q.api.Tenant(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	return q.render("profile", "Settings", profilePage{t, q.settingsTabs(), strings.Join(t.Profile.Labels, ", "), q.session.As == ""})
}

func saveProfile(q *request) error {
	p := q.profile()
	if err := q.wrong(); err != nil {
		return err
	}
	if _, err := q.api.SetProfile(q.ctx(), q.tenant(), p); err != nil {
		return err
	}
	return q.redirect("/settings", "The contact data are saved.")
}

func saveSecurity(q *request) error {
	r := wire.UpdateSecurity{ContentRefused: new(q.bool("content_refused")), FactorRequired: new(q.bool("factor_required"))}
	if _, err := q.api.SetSecurity(q.ctx(), q.tenant(), r); err != nil {
		return err
	}
	return q.redirect("/settings", "The security settings are saved.")
}

// oidcPage is the data of oidc.html. There is none as long as Issuer is "".
type oidcPage struct {
	wire.OIDC
	Tabs  []action
	Roles []option
}

func showOIDC(q *request) error {
	o, err := q.api.OIDC(q.ctx(), q.tenant())
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return err
	}
	p := oidcPage{OIDC: o, Tabs: q.settingsTabs(), Roles: []option{{"", "Nobody: only users that exist already log in"}}}
	if p.Callback == "" { // as long as there is no provider: what it will be, as this browser sees it
		p.Callback = "https://" + q.r.Host + "/oidc/callback"
	}
	for _, r := range rolesFor(q.tenant()) {
		p.Roles = append(p.Roles, option{string(r.Role), roleName(r.Role)})
	}
	return q.render("oidc", "Single sign-on", p)
}

func saveOIDC(q *request) error {
	_, err := q.api.PutOIDC(q.ctx(), q.tenant(), wire.OIDC{
		Issuer: q.text("issuer"), ClientID: q.text("client_id"), Secret: q.secret("secret"), Claim: q.text("claim"), Role: volspec.Role(q.text("role")),
	})
	if err != nil {
		return err
	}
	return q.redirect("/settings/login", "Single sign-on is set up: the log-in page offers it.")
}

func removeOIDC(q *request) error {
	if err := q.api.RemoveOIDC(q.ctx(), q.tenant()); err != nil {
		return err
	}
	return q.redirect("/settings/login", "Single sign-on is off.")
}
