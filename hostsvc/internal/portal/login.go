package portal

import (
	"cmp"
	"net/http"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

var loginRoutes = []*route{
	{method: http.MethodGet, path: "/login", who: visitors, handle: showLogin},
	{method: http.MethodPost, path: "/login", who: visitors, handle: doLogin},
	{method: http.MethodGet, path: "/t/{tenant}", who: visitors, handle: showLogin},
	{method: http.MethodGet, path: "/first", who: visitors, handle: showFirst},
	{method: http.MethodPost, path: "/first", who: visitors, handle: doFirst},
	{method: http.MethodPost, path: "/logout", who: everyUser, always: true, handle: doLogout},
	{method: http.MethodPost, path: "/act/stop", who: tenants, permission: "self.manage", always: true, handle: stopActing},
	{method: http.MethodPost, path: "/theme", who: anybody, always: true, handle: doTheme},
}

// loginPage is the data of login.html. Step names a log-in that only lacks the
// code of the second factor, "" at its beginning.
type loginPage struct {
	Tenant, Next, Step, User string
	OIDC                     bool // there is, or may be, another way
}

// showLogin never says whether a tenant exists.
func showLogin(q *request) error {
	p := loginPage{Tenant: cmp.Or(q.path("tenant"), q.text("tenant")), Next: q.text("next")}
	p.OIDC = p.Tenant != "" || slices.Contains(q.welcome.OIDC, "")
	if r, ok := q.p.steps.get(q.text("step")); ok {
		p.Step, p.User = q.text("step"), r.User
	}
	return q.render("login", "Log in", p)
}

func doLogin(q *request) error {
	r := wire.Login{Tenant: q.text("tenant"), User: q.text("user"), Password: q.secret("password")}
	step := q.text("step")
	if step != "" {
		begun, ok := q.p.steps.get(step)
		if !ok {
			return errkind.New(errkind.Denied, "the log-in took too long: begin again")
		}
		r = begun
		r.Code = q.text("code")
	}
	s, secret, err := q.p.o.Login(q.ctx(), q.caller, r, q.r.UserAgent())
	if err == nil && s.NeedsCode {
		return q.render("login", "Log in", loginPage{Step: q.p.steps.put(r), User: r.User, Next: q.text("next")})
	}
	if err == nil {
		q.p.steps.drop(step)
	}
	return q.enter(secret, err)
}

// enter gives the browser its session.
func (q *request) enter(secret string, err error) error {
	if err != nil {
		return err
	}
	api.SetSessionCookie(q.w.Header(), secret)
	return q.redirect(local(q.text("next")), "")
}

func showFirst(q *request) error {
	if !q.welcome.First {
		return q.redirect("/login", "")
	}
	return q.render("first", "Welcome", nil)
}

func doFirst(q *request) error {
	if q.secret("password") != q.secret("again") {
		q.note("again", "This is not the same password as above: type both again")
		return q.wrong()
	}
	_, secret, err := q.p.o.FirstAdmin(q.ctx(), q.caller, wire.FirstAdmin{
		Code: q.text("code"), User: q.text("user"), Password: q.secret("password"), Email: q.text("email"), Mode: q.text("mode"),
	}, q.r.UserAgent())
	return q.enter(secret, err)
}

func doLogout(q *request) error {
	if err := q.api.Logout(q.ctx()); err != nil {
		return err
	}
	api.ClearSessionCookie(q.w.Header())
	return q.redirect("/login", "You have logged out.")
}

func stopActing(q *request) error {
	was := q.tenant()
	if _, err := q.api.StopActing(q.ctx()); err != nil {
		return err
	}
	return q.redirect("/", "You no longer act for tenant "+was+".")
}

// doTheme keeps the colours that somebody likes.
func doTheme(q *request) error {
	q.setCookie(themeCookie, q.text("theme"), 365*24*3600, false)
	return q.redirect(local(q.text("next")), "")
}
