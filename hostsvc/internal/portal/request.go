package portal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// request is one request of a browser and what is known of it. Handlers ask
// api with ctx(), and end with render or redirect.
type request struct {
	p       *portal
	w       http.ResponseWriter
	r       *http.Request
	route   *route
	api     *hostclient.Admin
	caller  volspec.Caller
	session wire.Session // of a user
	welcome wire.Welcome // to a visitor

	permissions []string
	mode        string            // of the installation, see single
	described   *wire.Tenant      // see tenantNow
	at          string            // see address, "": where the request went
	status      int               // of the answer, 0: 200
	problem     error             // why a form is shown again
	fields      map[string]string // what is wrong with one of its fields
}

// ctx is the context of calls of the API, in the name of the caller.
func (q *request) ctx() context.Context { return q.r.Context() }

// tenant is the vmgroup that the pages are about: that of a tenant's user, or
// the one for which a user of the master acts. "" for the master.
func (q *request) tenant() string { return q.caller.GroupName }

// path is the unescaped segment of the path with a name in the route.
func (q *request) path(name string) string { return q.r.PathValue(name) }

// here is the address of the page itself, without parameters.
func (q *request) here() string { return q.r.URL.EscapedPath() }

// zone is the time zone of the user: the one chosen in the profile, else the
// one that the browser told.
func (q *request) zone() *time.Location {
	name := q.session.Zone
	if c, err := q.r.Cookie(zoneCookie); name == "" && err == nil {
		name, _ = url.QueryUnescape(c.Value) // "" is UTC
	}
	if loc, err := time.LoadLocation(name); err == nil && name != "Local" {
		return loc
	}
	return time.UTC
}

// Cookies that hold a person's taste, and nothing that anybody relies on.
const (
	zoneCookie  = "mooring-zone"  // set by app.js
	themeCookie = "mooring-theme" // light or dark
	flashCookie = "mooring-flash"
)

// flash is a sentence for the page to which a redirect leads.
type flash struct {
	Bad  bool   `json:"bad,omitempty"`
	Text string `json:"text"`
}

// redirect ends a request by another page, which says what was done. Secrets
// do not belong into said: it travels in a cookie. Show them with render.
func (q *request) redirect(to, said string) error {
	if said != "" {
		q.setFlash(flash{Text: said})
	}
	http.Redirect(q.w, q.r, to, http.StatusSeeOther)
	return nil
}

func (q *request) setFlash(f flash) {
	text, err := json.Marshal(f)
	if err != nil { // a string and a bool: cannot happen
		return
	}
	q.setCookie(flashCookie, base64.RawURLEncoding.EncodeToString(text), 60, true)
}

// takeFlash returns the sentence once.
func (q *request) takeFlash() *flash {
	c, err := q.r.Cookie(flashCookie)
	if err != nil || c.Value == "" {
		return nil
	}
	q.setCookie(flashCookie, "", -1, true)
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	f := &flash{}
	if err != nil || json.Unmarshal(text, f) != nil || f.Text == "" {
		return nil // not ours
	}
	return f
}

func (q *request) setCookie(name, value string, age int, hidden bool) {
	http.SetCookie(q.w, &http.Cookie{Name: name, Value: value, Path: "/", MaxAge: age, Secure: true, HttpOnly: hidden, SameSite: http.SameSiteLaxMode})
}

// again shows the form of a POST that failed, with the error and with what was
// typed.
func (q *request) again(err error) error {
	form := q.route.form
	if rt := q.pageOf(q.route.path); form == nil && rt != nil {
		form = rt.handle
	}
	if form == nil || errkind.Is(err, errkind.Internal) {
		return err
	}
	q.problem, q.status = err, errkind.Of(err).HTTPStatus()
	if failed := form(q); failed != nil {
		return errors.Join(err, failed)
	}
	return nil
}

// fail answers with a page that shows an error.
func (q *request) fail(err error) {
	kind := errkind.Of(err)
	q.status, q.problem = kind.HTTPStatus(), nil
	if kind == errkind.Internal {
		log.G(q.ctx()).WithField(log.Err, err.Error()).Error("page")
		err = errkind.New(kind, "the page could not be made: see the log of mooringd for request %s", log.Request(q.ctx()))
	}
	title := map[errkind.Kind]string{
		errkind.NotFound: "Not found", errkind.Denied: "Not allowed", errkind.Unavailable: "Not available now", errkind.Busy: "Too many requests", errkind.Invalid: "Not possible",
	}[kind]
	switch {
	case title == "":
		title = "Something went wrong"
	case kind == errkind.NotFound && q.route.who == tenants && q.caller.Admin:
		title = "Choose a tenant"
	}
	if failed := q.render("error", title, errorPage{title, sentence(errkind.Text(err)), string(kind), q.ways(kind)}); failed != nil {
		log.G(q.ctx()).WithField(log.Err, failed.Error()).Error("error page")
		http.Error(q.w, title, q.status)
	}
}

// errorPage is the data of error.html.
type errorPage struct {
	Title, Text, Kind string
	Actions           []action
}

// ways lead out of an error.
func (q *request) ways(kind errkind.Kind) []action {
	var ways []action
	if back := q.back(); back != "/" {
		ways = append(ways, action{Label: "Back", URL: back, Icon: "left"})
	}
	switch {
	case kind == errkind.Busy:
		return ways
	case !q.user():
		return append(ways, action{Label: "Log in", URL: "/login", Kind: "primary"})
	case kind == errkind.NotFound && q.route.who == tenants && q.opens("/tenants"):
		return append(ways, action{Label: "Choose a tenant", URL: "/tenants", Kind: "primary"})
	}
	return append(ways, action{Label: "Overview", URL: "/", Icon: "home"})
}

// back is the page from which the request came, "/" if that is not known.
func (q *request) back() string {
	u, err := url.Parse(q.r.Referer())
	if err != nil || u.Host != q.r.Host || u.Path == q.r.URL.Path {
		return "/"
	}
	return local(u.RequestURI())
}

// local is to, if it is a path on this site, else "/".
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}

// nextQuery keeps the page that was asked for during a log-in.
func nextQuery(r *http.Request) url.Values {
	if r.Method != http.MethodGet || r.URL.Path == "/" {
		return nil
	}
	return url.Values{"next": {r.URL.RequestURI()}}
}
