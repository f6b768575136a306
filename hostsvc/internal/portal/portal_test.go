package portal_test

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var (
	visitor = volspec.Caller{Visitor: true, Actor: "visitor:192.0.2.1", From: "192.0.2.1"}
	master  = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, User: "u1", Session: "s1", Actor: "user:root"}
	viewer  = volspec.Caller{Admin: true, Role: volspec.MasterViewer, User: "u2", Session: "s2", Actor: "user:eye"}
	owner   = volspec.Caller{Role: volspec.TenantAdmin, Group: "g1", GroupName: "acme", User: "u3", Session: "s3", Actor: "user:acme/owner"}
	guest   = volspec.Caller{Role: volspec.TenantGuest, Group: "g1", GroupName: "acme", User: "u4", Session: "s4", Actor: "user:acme/guest"}
	acting  = volspec.Caller{Role: volspec.TenantAdmin, Group: "g1", GroupName: "acme", User: "u1", Session: "s1", Actor: "user:root", As: "acme"}
)

// callers are everybody who can stand before a page.
var callers = map[string]volspec.Caller{"visitor": visitor, "master": master, "viewer": viewer, "owner": owner, "guest": guest, "acting": acting}

const csrf = "of-this-session"

// world is a portal before an API that is a table of answers.
type world struct {
	t       *testing.T
	mu      sync.Mutex // guards asked and keys
	caller  volspec.Caller
	answers map[string]any // by method and path; a func is called with the body
	next    string         // cursor that comes with every list
	asked   []string
	queries []string // the same with what was asked
	keys    []string // of its POSTs
	silent  string   // what is never answered
	handler http.Handler
	login   func(wire.Login) (wire.Session, string, error)
}

func newWorld(t *testing.T, c volspec.Caller) *world {
	w := &world{t: t, caller: c}
	w.answers = map[string]any{
		"GET /welcome":              wire.Welcome{Product: "Test <Cloud>"},
		"GET /session":              w.session(),
		"POST /logout":              wire.Message{},
		"GET /settings":             wire.Settings{Product: "Test <Cloud>"},
		"GET /vmgroups/acme/tenant": wire.Tenant{Name: "acme", Readiness: wire.Readiness{Ready: true}},
	}
	w.handler = portal.New(portal.Options{
		API: w, Version: "1.2.3", Provider: stubProvider{}, ProviderLife: 10 * time.Minute,
		Identify: func(_ context.Context, r *http.Request) (volspec.Caller, error) {
			if w.caller.Visitor || r.Header.Get("Cookie") == "" {
				return visitor, nil
			}
			if r.Method == http.MethodPost && r.Header.Get(wire.HeaderCSRF) != csrf {
				return volspec.Caller{}, errkind.New(errkind.Denied, "the form is not from here")
			}
			return w.caller, nil
		},
		Login: func(_ context.Context, _ volspec.Caller, r wire.Login, _ string) (wire.Session, string, error) {
			return w.login(r)
		},
	})
	return w
}

func (w *world) session() wire.Session {
	c := w.caller
	s := wire.Session{User: "someone", Tenant: c.GroupName, Role: c.Role, As: c.As, Permissions: api.PermissionsOf(c), CSRF: csrf, Zone: "Europe/Berlin"}
	if c.As != "" {
		s.Tenant, s.AsUntil = "", time.Now().Add(time.Hour)
	}
	return s
}

// RoundTrip is the API.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	key := r.Method + " " + strings.TrimPrefix(r.URL.Path, wire.Prefix)
	w.mu.Lock()
	w.asked = append(w.asked, key)
	w.queries = append(w.queries, key+"?"+r.URL.RawQuery)
	if r.Method == http.MethodPost {
		w.keys = append(w.keys, r.Header.Get(wire.HeaderIdempotency))
	}
	w.mu.Unlock()
	if key == w.silent {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	a, ok := w.answers[key]
	status := http.StatusOK
	if f, is := a.(func([]byte) (any, error)); is {
		body, err := io.ReadAll(r.Body)
		require.NoError(w.t, err)
		var said error
		if a, said = f(body); said != nil {
			status = errkind.Of(said).HTTPStatus()
			a = wire.Problem{Kind: string(errkind.Of(said)), Status: status, Detail: errkind.Text(said)}
		}
	}
	if !ok {
		status, a = http.StatusNotFound, wire.Problem{Kind: "not-found", Status: http.StatusNotFound, Detail: key + " does not exist"}
	}
	body, err := json.Marshal(a)
	require.NoError(w.t, err)
	if stream, is := a.(string); is {
		body = []byte(stream)
	}
	return &http.Response{StatusCode: status, Header: http.Header{wire.HeaderNext: {w.next}}, Body: io.NopCloser(strings.NewReader(string(body))), Request: r}, nil
}

// do sends what a browser sends.
func (w *world) do(method, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(w.t.Context(), method, "https://portal.example"+path, strings.NewReader(form.Encode()))
	if !w.caller.Visitor {
		r.Header.Set("Cookie", "__Host-mooring=secret")
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer := httptest.NewRecorder()
	w.handler.ServeHTTP(answer, r)
	return answer
}

func (w *world) get(path string) *httptest.ResponseRecorder { return w.do(http.MethodGet, path, nil) }

// post sends a form of ours.
func (w *world) post(path string, pairs ...string) *httptest.ResponseRecorder {
	form := url.Values{"csrf": {csrf}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return w.do(http.MethodPost, path, form)
}

// An address for a pattern of the table.
func address(pattern string) string {
	var b strings.Builder
	for segment := range strings.SplitSeq(strings.TrimSuffix(pattern, "{$}"), "/") {
		if strings.HasPrefix(segment, "{") {
			segment = "x"
		}
		b.WriteString(segment + "/")
	}
	return cmp.Or(strings.TrimSuffix(b.String(), "/"), "/")
}

func TestEveryPageIsThereForWhomItIsAndForNobodyElse(t *testing.T) {
	for _, rt := range portal.Routes() {
		assert.Contains(t, []string{"GET", "POST"}, rt.Method, "%s", rt.Path)
		assert.Contains(t, []string{"anybody", "visitors", "every user", "masters", "tenants"}, rt.Who, "%s says for whom it is", rt.Path)
		if rt.Who == "masters" || rt.Who == "tenants" {
			assert.NotEmpty(t, rt.Permission, "%s %s says which permission it needs", rt.Method, rt.Path)
		}
		for name, c := range callers {
			if rt.Method != http.MethodGet {
				continue
			}
			t.Run(rt.Path+" "+name, func(t *testing.T) {
				need := rt.Permission
				if rt.InTenant != "" && !c.Admin {
					need = rt.InTenant
				}
				a := newWorld(t, c).get(address(rt.Path))
				assert.Contains(t, a.Header().Get("Content-Security-Policy"), "default-src 'none'")
				switch {
				case rt.Who == "anybody":
				case c.Visitor && rt.Who != "visitors":
					assert.Equal(t, http.StatusSeeOther, a.Code)
					assert.Regexp(t, `^/login`, a.Header().Get("Location"))
					return
				case !c.Visitor && rt.Who == "visitors":
					assert.Equal(t, http.StatusSeeOther, a.Code)
					return
				case rt.Who == "masters" && !c.Admin, rt.Who == "tenants" && c.Admin:
					assert.Equal(t, http.StatusNotFound, a.Code)
				case need != "" && !slices.Contains(api.PermissionsOf(c), need):
					assert.Equal(t, http.StatusForbidden, a.Code)
				}
				if a.Code == http.StatusSeeOther {
					return
				}
				if strings.HasPrefix(a.Header().Get("Content-Type"), "text/html") {
					assert.NotEqual(t, http.StatusInternalServerError, a.Code, "%s", a.Body)
					checkPage(t, a.Body.String())
				}
			})
		}
	}
}

// Whoever lacks the permission of a form changes nothing by sending it.
func TestNoFormDoesMoreThanTheRoleMay(t *testing.T) {
	all := maps.Clone(callers)
	for _, role := range volspec.TenantRoles {
		c := owner
		c.Role = role
		all[string(role)] = c
	}
	refused := 0
	for _, rt := range portal.Routes() {
		if rt.Method != http.MethodPost || rt.Who == "visitors" || rt.Who == "anybody" {
			continue
		}
		for name, c := range all {
			need, there := rt.Permission, rt.Who == "every user" || (rt.Who == "masters") == c.Admin
			if rt.InTenant != "" && !c.Admin {
				need = rt.InTenant
			}
			if there && (need == "" || slices.Contains(api.PermissionsOf(c), need)) && !c.Visitor {
				continue
			}
			refused++
			w := newWorld(t, c)
			a := w.post(address(rt.Path))
			want := http.StatusForbidden
			if !there && !c.Visitor {
				want = http.StatusNotFound
			}
			assert.Equal(t, want, a.Code, "%s as %s", rt.Path, name)
			for _, asked := range w.asked {
				assert.True(t, strings.HasPrefix(asked, "GET "), "%s as %s: %s", rt.Path, name, asked)
			}
		}
	}
	assert.Greater(t, refused, 200)
}

func TestNoFormOfAnotherSiteIsObeyed(t *testing.T) {
	for _, rt := range portal.Routes() {
		if rt.Method != http.MethodPost || rt.Who == "visitors" || rt.Who == "anybody" {
			continue
		}
		t.Run(rt.Path, func(t *testing.T) {
			for name, c := range callers {
				if c.Visitor {
					continue
				}
				w := newWorld(t, c)
				a := w.do(http.MethodPost, address(rt.Path), url.Values{})
				assert.Equal(t, http.StatusForbidden, a.Code, "%s without the session's proof", name)
				for _, asked := range w.asked {
					assert.True(t, strings.HasPrefix(asked, "GET "), "%s: %s", name, asked)
				}
			}
		})
	}
}

func TestLogIn(t *testing.T) {
	w := newWorld(t, visitor)
	page := w.get("/t/acme?next=/volumes").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, `value="acme"`, "the address of a tenant fills its name in")
	assert.Contains(t, page, "Test &lt;Cloud&gt;", "the installation's name is no markup")

	w.login = func(r wire.Login) (wire.Session, string, error) {
		if r.Password != "right password" {
			return wire.Session{}, "", errkind.New(errkind.Denied, "the log-in is refused: check the password")
		}
		assert.Equal(t, wire.Login{Tenant: "acme", User: "owner", Password: "right password"}, r)
		return wire.Session{Expires: time.Now().Add(time.Hour)}, "the-secret", nil
	}
	a := w.post("/login", "tenant", "acme", "user", "owner", "password", "wrong password", "next", "/volumes")
	assert.Equal(t, http.StatusForbidden, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "The log-in is refused: check the password.")
	assert.Contains(t, a.Body.String(), `value="owner"`, "what was typed is still there")
	assert.NotContains(t, a.Body.String(), "wrong password", "but no password")

	a = w.post("/login", "tenant", "acme", "user", "owner", "password", "right password", "next", "/volumes")
	assert.Equal(t, http.StatusSeeOther, a.Code)
	assert.Equal(t, "/volumes", a.Header().Get("Location"))
	assert.Contains(t, a.Header().Get("Set-Cookie"), "__Host-mooring=the-secret")

	a = w.post("/login", "tenant", "acme", "user", "owner", "password", "right password", "next", "//elsewhere.example/")
	assert.Equal(t, "/", a.Header().Get("Location"), "a log-in leads nowhere else")
}

func TestAFirstVisitIsAskedForTheCode(t *testing.T) {
	w := newWorld(t, visitor)
	w.answers["GET /welcome"] = wire.Welcome{First: true}
	for _, path := range []string{"/", "/login", "/t/acme", "/volumes?q=x", "/no/such/page"} {
		a := w.get(path)
		assert.Equal(t, http.StatusSeeOther, a.Code, path)
		assert.Equal(t, "/first", a.Header().Get("Location"), path)
	}
	page := w.get("/first").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "One-time code")
}
