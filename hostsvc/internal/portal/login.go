package portal

import (
	"cmp"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

var loginRoutes = []*route{
	{method: http.MethodGet, path: "/login", who: visitors, handle: showLogin},
	{method: http.MethodPost, path: "/login", who: visitors, handle: doLogin},
	{method: http.MethodGet, path: "/t/{tenant}", who: visitors, handle: showLogin},
	{method: http.MethodGet, path: "/first", who: visitors, handle: showFirst},
	{method: http.MethodPost, path: "/first", who: visitors, handle: doFirst},
	{method: http.MethodPost, path: "/logout", who: everyUser, always: true, handle: doLogout},
	{method: http.MethodPost, path: "/theme", who: anybody, always: true, handle: doTheme},
}

// loginPage is the data of login.html. Code asks for the second factor.
type loginPage struct {
	Tenant, Next string
	Code         bool
}

// showLogin never says whether a tenant exists.
func showLogin(q *request) error {
	if q.welcome.First {
		http.Redirect(q.w, q.r, "/first", http.StatusSeeOther)
		return nil
	}
	return q.render("login", "Log in", loginPage{Tenant: cmp.Or(q.path("tenant"), q.text("tenant")), Next: q.text("next")})
}

func doLogin(q *request) error {
	s, secret, err := q.p.o.Login(q.ctx(), q.caller, wire.Login{
		Tenant: q.text("tenant"), User: q.text("user"), Password: q.secret("password"), Code: q.text("code"),
	}, q.r.UserAgent())
	return q.enter(s, secret, err)
}

// enter gives the browser its session.
func (q *request) enter(s wire.Session, secret string, err error) error {
	if err != nil {
		return err
	}
	setSession(q.w, secret, s.Expires)
	http.Redirect(q.w, q.r, local(q.text("next")), http.StatusSeeOther)
	return nil
}

func showFirst(q *request) error {
	if !q.welcome.First {
		http.Redirect(q.w, q.r, "/login", http.StatusSeeOther)
		return nil
	}
	return q.render("first", "Welcome", nil)
}

func doFirst(q *request) error {
	if q.secret("password") != q.secret("again") {
		q.note("again", "This is not the same password as above: type both again")
		return q.wrong()
	}
	s, secret, err := q.p.o.FirstAdmin(q.ctx(), q.caller, wire.FirstAdmin{
		Code: q.text("code"), User: q.text("user"), Password: q.secret("password"), Email: q.text("email"), Mode: q.text("mode"),
	}, q.r.UserAgent())
	return q.enter(s, secret, err)
}

func doLogout(q *request) error {
	if _, err := fetch[wire.Message](q, http.MethodPost, "logout"); err != nil {
		return err
	}
	setSession(q.w, "", time.Time{})
	return q.redirect("/login", "You have logged out.")
}

// doTheme keeps the colours that somebody likes.
func doTheme(q *request) error {
	q.setCookie(themeCookie, q.text("theme"), 365*24*3600, false)
	next, err := url.Parse(local(q.text("next")))
	if err != nil {
		return q.redirect("/", "")
	}
	return q.redirect(next.RequestURI(), "")
}

// setSession gives a browser the cookie of its session; "" takes it away.
func setSession(w http.ResponseWriter, secret string, expires time.Time) {
	c := &http.Cookie{Name: "__Host-mooring", Value: secret, Path: "/", Expires: expires, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}
