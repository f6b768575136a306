package portal

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var accountRoutes = []*route{
	{method: http.MethodGet, path: "/account", who: everyUser, permission: "self.manage", handle: showAccount},
	{method: http.MethodPost, path: "/account", who: everyUser, permission: "self.manage", handle: saveAccount},
	{method: http.MethodGet, path: "/account/password", who: everyUser, permission: "self.manage", always: true, handle: showPassword},
	{method: http.MethodPost, path: "/account/password", who: everyUser, permission: "self.manage", always: true, handle: savePassword},
	{method: http.MethodGet, path: "/account/factor", who: everyUser, permission: "self.manage", always: true, handle: showFactor},
	{method: http.MethodPost, path: "/account/factor", who: everyUser, permission: "self.manage", always: true, handle: beginFactor},
	{method: http.MethodPost, path: "/account/factor/confirm", who: everyUser, permission: "self.manage", always: true, form: showFactor, handle: confirmFactor},
	{method: http.MethodGet, path: "/account/factor/remove", who: everyUser, permission: "self.manage", handle: askFactor},
	{method: http.MethodPost, path: "/account/factor/remove", who: everyUser, permission: "self.manage", handle: removeFactor},
	{method: http.MethodGet, path: "/account/sessions", who: everyUser, permission: "self.manage", handle: showSessions},
	{method: http.MethodPost, path: "/account/sessions/{session}/end", who: everyUser, permission: "self.manage", form: showSessions, handle: endSession},
	{method: http.MethodGet, path: "/account/tokens", who: everyUser, permission: "self.manage", handle: showTokens},
	{method: http.MethodPost, path: "/account/tokens", who: everyUser, permission: "self.manage", handle: createToken},
	{method: http.MethodGet, path: "/account/tokens/{token}/remove", who: everyUser, permission: "self.manage", handle: askToken},
	{method: http.MethodPost, path: "/account/tokens/{token}/remove", who: everyUser, permission: "self.manage", handle: removeToken},
}

// accountTabs are the pages about oneself.
func accountTabs() []action {
	return []action{
		{Label: "Profile", URL: "/account", Icon: "user"}, {Label: "Password", URL: "/account/password", Icon: "lock"},
		{Label: "Second factor", URL: "/account/factor", Icon: "phone"}, {Label: "Sessions", URL: "/account/sessions", Icon: "vm"},
		{Label: "Tokens", URL: "/account/tokens", Icon: "key"},
	}
}

// accountPage is the data of account.html.
type accountPage struct {
	wire.Session
	Zones []string
}

func showAccount(q *request) error {
	return q.render("account", "Account", accountPage{q.session, zones})
}

func saveAccount(q *request) error {
	zone, email := q.text("zone"), q.text("email")
	if _, err := q.api.SetSessionProfile(q.ctx(), wire.SessionProfile{Zone: &zone, Email: &email}); err != nil {
		return err
	}
	return q.redirect("/account", "Your profile is saved.")
}

func showPassword(q *request) error {
	return q.render("password", "Password", q.caller.MustChange)
}

func savePassword(q *request) error {
	if q.secret("new") != q.secret("again") {
		q.note("again", "This is not the same password as above: type both again")
		return q.wrong()
	}
	if err := q.api.ChangePassword(q.ctx(), wire.ChangePassword{Old: q.secret("old"), New: q.secret("new")}); err != nil {
		return err
	}
	if q.caller.MustChange {
		return q.redirect("/", "Your password is changed. Welcome.")
	}
	return q.redirect("/account/password", "Your password is changed, and your other sessions have ended.")
}

// factorPage is the data of factor.html. Secret is there once, while a second
// factor is set up.
type factorPage struct {
	On     bool
	Must   bool // it is required, and nothing else is possible before
	Secret string
	Code   qrCode
}

func showFactor(q *request) error {
	return q.render("factor", "Second factor", factorPage{On: q.session.TOTP, Must: q.caller.MustFactor})
}

func beginFactor(q *request) error {
	s, err := q.api.BeginTOTP(q.ctx())
	if err != nil {
		return err
	}
	code, err := qrOf(s.URI)
	if err != nil {
		return err
	}
	return q.render("factor", "Second factor", factorPage{q.session.TOTP, q.caller.MustFactor, spaced(s.Secret), code})
}

// spaced is a secret in groups of four, to be typed.
func spaced(s string) string {
	var groups []string
	for g := range slices.Chunk([]byte(s), 4) {
		groups = append(groups, string(g))
	}
	return strings.Join(groups, " ")
}

func confirmFactor(q *request) error {
	if _, err := q.api.ConfirmTOTP(q.ctx(), strings.ReplaceAll(q.text("code"), " ", "")); err != nil {
		return err
	}
	if q.caller.MustFactor {
		return q.redirect("/", "The second factor is set up. Welcome.")
	}
	return q.redirect("/account/factor", "The second factor is set up: the next log-in asks for a code.")
}

func askFactor(q *request) error {
	return q.ask(confirm{
		Title: "Remove the second factor", Crumbs: []action{{Label: "Account", URL: "/account/factor"}},
		Effects: []string{"Your password alone will be enough to log in.", "You can set a second factor up again at any time."},
		Button:  "Remove", Back: "/account/factor",
	})
}

func removeFactor(q *request) error {
	if _, err := q.api.RemoveTOTP(q.ctx()); err != nil {
		return err
	}
	return q.redirect("/account/factor", "The second factor is removed.")
}

func showSessions(q *request) error {
	all, err := q.api.Sessions(q.ctx())
	if err != nil {
		return err
	}
	rows := make([]sessionRow, len(all))
	for i, s := range all {
		rows[i] = sessionRow{s, browserOf(s.Agent)}
	}
	return q.render("sessions", "Sessions", rows)
}

type sessionRow struct {
	wire.OpenSession
	Browser string
}

// browserOf is what people call a program by what it says it is.
func browserOf(agent string) string {
	name := agent
	for _, b := range [][2]string{{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Firefox/", "Firefox"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"mooring", "The mooring command"}} {
		if strings.Contains(agent, b[0]) {
			name = b[1]
			break
		}
	}
	for _, s := range [][2]string{{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS", "macOS"}, {"Linux", "Linux"}} {
		if name != agent && strings.Contains(agent, s[0]) {
			return name + " on " + s[1]
		}
	}
	return name
}

func endSession(q *request) error {
	if err := q.api.EndSession(q.ctx(), q.path("session")); err != nil {
		return err
	}
	return q.redirect("/account/sessions", "The session has ended.")
}

// tokenPage is the data of tokens.html. New is shown once.
type tokenPage struct {
	Tokens []tokenRow
	New    *wire.Token
	Scopes []string
}

type tokenRow struct {
	wire.Token
	Scopes  []string
	Expired bool
}

func showTokens(q *request) error { return q.tokens(nil) }

func (q *request) tokens(made *wire.Token) error {
	all, err := q.api.Tokens(q.ctx())
	if err != nil {
		return err
	}
	p := tokenPage{New: made}
	for _, t := range all {
		p.Tokens = append(p.Tokens, tokenRow{t, strings.Fields(string(t.Scope)), t.Expires.Before(time.Now())})
	}
	for _, s := range api.Permissions() {
		if q.can(s) {
			p.Scopes = append(p.Scopes, s)
		}
	}
	return q.render("tokens", "Tokens", p)
}

func createToken(q *request) error {
	r := wire.CreateToken{Name: q.text("name"), Days: int(q.int("days"))}
	if q.text("scoped") == "some" {
		scopes := q.list("scope")
		if len(scopes) == 0 {
			q.note("scoped", "Choose at least one permission")
		}
		r.Scope = volspec.Scope(strings.Join(scopes, " "))
	}
	if err := q.wrong(); err != nil {
		return err
	}
	made, err := q.api.CreateToken(q.ctx(), r)
	if err != nil {
		return err
	}
	return q.tokens(&made)
}

func askToken(q *request) error {
	all, err := q.api.Tokens(q.ctx())
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.ID == q.path("token") {
			return q.ask(confirm{
				Title: "Remove token " + t.Name, Crumbs: []action{{Label: "Tokens", URL: "/account/tokens"}},
				Effects: []string{"Programs that use it are refused at once.", "It cannot be brought back."},
				Button:  "Remove", Back: "/account/tokens",
			})
		}
	}
	return errkind.New(errkind.NotFound, "there is no such token: it was removed, or has expired")
}

func removeToken(q *request) error {
	if err := q.api.RemoveToken(q.ctx(), q.path("token")); err != nil {
		return err
	}
	return q.redirect("/account/tokens", "The token is removed.")
}
