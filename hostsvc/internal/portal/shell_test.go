package portal_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestFilesOfPagesAreKeptByBrowsers(t *testing.T) {
	w := newWorld(t, owner)
	w.fillHome()
	found := regexp.MustCompile(`(?:href|src)="(/static/[^"]+)"`).FindAllStringSubmatch(w.get("/").Body.String(), -1)
	assert.GreaterOrEqual(t, len(found), 3)
	for _, m := range found {
		a := w.get(m[1])
		assert.Equal(t, http.StatusOK, a.Code, m[1])
		assert.Contains(t, a.Header().Get("Cache-Control"), "immutable", m[1])
		assert.NotEmpty(t, a.Header().Get("Content-Type"), m[1])
		assert.Equal(t, "no-cache", w.get(strings.Split(m[1], "?")[0]).Header().Get("Cache-Control"), "without its hash it may change")
	}
	assert.Equal(t, http.StatusNotFound, w.get("/static/none.css").Code)
	assert.Equal(t, http.StatusNotFound, w.get("/logo.png").Code)
}

func TestWhatIsNoPage(t *testing.T) {
	w := newWorld(t, owner)
	for _, path := range []string{"/nowhere", "/account/", "//account", "/account/%2e%2e/x", "/%2Faccount", "/static/", "/static/%2e%2e%2fportal.go"} {
		a := w.get(path)
		assert.Contains(t, []int{http.StatusNotFound, http.StatusMovedPermanently, http.StatusTemporaryRedirect}, a.Code, path)
		assert.NotContains(t, a.Header().Get("Location"), "//", path)
	}
	for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodTrace, http.MethodOptions, "BREW"} {
		a := w.do(method, "/account", url.Values{"csrf": {csrf}})
		assert.Equal(t, http.StatusMethodNotAllowed, a.Code, method)
		assert.Equal(t, "GET, HEAD, POST", a.Header().Get("Allow"), method)
		assert.NotContains(t, w.asked, "PATCH /session/profile")
	}
}

func TestAFormThatIsTooLargeIsRefusedInWords(t *testing.T) {
	w := newWorld(t, owner)
	a := w.post("/account", "email", strings.Repeat("x", 2<<20))
	assert.Equal(t, http.StatusBadRequest, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "larger than 1 MiB")
	assert.NotContains(t, w.asked, "PATCH /session/profile")
}

func TestPagesOfOtherSitesCannotSendForms(t *testing.T) {
	w := newWorld(t, owner)
	for header, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"} {
		for _, path := range []string{"/account", "/login", "/first", "/theme", "/logout"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.example"+path, strings.NewReader("csrf="+csrf))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Cookie", "__Host-mooring=secret")
			r.Header.Set(header, value)
			a := httptest.NewRecorder()
			w.handler.ServeHTTP(a, r)
			assert.Equal(t, http.StatusForbidden, a.Code, "%s %s", header, path)
			assert.Empty(t, a.Header().Values("Set-Cookie"), "%s %s", header, path)
		}
	}
}

func TestCookiesOfTasteAreWordsAndNothingElse(t *testing.T) {
	w := newWorld(t, owner)
	s := w.session()
	s.Zone = ""
	w.answers["GET /session"] = s
	page := func(cookies string) string {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://portal.example/account", nil)
		r.Header.Set("Cookie", "__Host-mooring=secret; "+cookies)
		a := httptest.NewRecorder()
		w.handler.ServeHTTP(a, r)
		require.Equal(t, http.StatusOK, a.Code, a.Body)
		checkPage(t, a.Body.String())
		return a.Body.String()
	}
	assert.Contains(t, page("mooring-theme=dark"), `data-theme="dark"`)
	assert.NotContains(t, page("mooring-theme=x%22onload=y"), "data-theme=")
	assert.Contains(t, page("mooring-zone=America%2FNew_York"), "America/New_York now")
	for _, zone := range []string{"Nowhere", "..%2F..%2Fetc%2Fpasswd", "Local", "%zz"} {
		assert.Contains(t, page("mooring-zone="+zone), "shown in UTC now", zone)
	}
	said := base64.RawURLEncoding.EncodeToString([]byte(`{"text":"<script>alert(1)</script>"}`))
	assert.Contains(t, page("mooring-flash="+said), "&lt;script&gt;alert(1)")
	page("mooring-flash=!")
}

func TestTimesAreInTheUsersZone(t *testing.T) {
	w := newWorld(t, owner)
	at := time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC) // an hour after the clocks went forward in Berlin
	w.answers["GET /session/sessions"] = []wire.OpenSession{{ID: "s", Created: at, Seen: at, Expires: at}}
	page := w.get("/account/sessions").Body.String()
	assert.Contains(t, page, `<time datetime="2026-03-29T01:30:00Z" title="Sunday, 29 March 2026, 03:30:00 CEST">29 Mar 2026, 03:30</time>`)
}

func TestTheThemeIsAChoice(t *testing.T) {
	w := newWorld(t, visitor)
	a := w.post("/theme", "theme", "dark", "next", "/login?next=/jobs")
	assert.Equal(t, "/login?next=/jobs", a.Header().Get("Location"))
	assert.Contains(t, a.Header().Get("Set-Cookie"), "mooring-theme=dark")
	for _, to := range []string{"https://elsewhere.example/", "//elsewhere.example", `/\elsewhere.example`, "javascript:alert(1)", "/%09/elsewhere.example\t"} {
		assert.NotContains(t, w.post("/theme", "theme", "dark", "next", to).Header().Get("Location"), "elsewhere.example\t", to)
		assert.Regexp(t, `^/([^/\\]|$)`, w.post("/theme", "theme", "dark", "next", to).Header().Get("Location"), to)
	}
}

// A form that was refused is shown by what it was sent to, where there may be no
// page to come back to.
func TestTheThemeLeadsBackToAPage(t *testing.T) {
	w := newWorld(t, owner)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.example/settings/security", strings.NewReader("csrf="+csrf))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "__Host-mooring=secret")
	r.Header.Set("Referer", "https://portal.example/settings?x=1")
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	require.Equal(t, http.StatusNotFound, a.Code, "the world knows no such setting")
	assert.Contains(t, a.Body.String(), `name="next" value="/settings?x=1"`)
	assert.Contains(t, w.post("/settings").Body.String(), `name="next" value="/settings"`)
}

func TestLogInsThatWaitForACodeAreForgotten(t *testing.T) {
	now := time.Now()
	s := portal.NewSteps(func() time.Time { return now })
	name := s.Put(wire.Login{User: "owner"})
	r, ok := s.Get(name)
	assert.True(t, ok)
	assert.Equal(t, "owner", r.User)
	_, ok = s.Get("guess")
	assert.False(t, ok)
	now = now.Add(6 * time.Minute)
	_, ok = s.Get(name)
	assert.False(t, ok, "after some minutes")
	for range 3000 {
		s.Put(wire.Login{})
	}
	assert.LessOrEqual(t, s.Open(), 1000, "nobody fills the memory")
}

func TestAnEndedSessionLeadsToTheLogIn(t *testing.T) {
	w := newWorld(t, owner)
	w.caller = visitor // what a cookie means that counts no more
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://portal.example/jobs?x=1", nil)
	r.Header.Set("Cookie", "__Host-mooring=old")
	a := httptest.NewRecorder()
	w.handler.ServeHTTP(a, r)
	assert.Equal(t, "/login?next=%2Fjobs%3Fx%3D1", a.Header().Get("Location"), "and back afterwards")
	assert.Equal(t, "/login", newWorld(t, visitor).get("/").Header().Get("Location"))

	h := portal.New(portal.Options{API: w, Identify: func(_ context.Context, r *http.Request) (volspec.Caller, error) {
		if r.Header.Get("Cookie") != "" {
			return volspec.Caller{}, errkind.New(errkind.Denied, "the session has ended")
		}
		return visitor, nil
	}})
	r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.example/theme", strings.NewReader("theme=dark&next=/login"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "__Host-mooring=old")
	a = httptest.NewRecorder()
	h.ServeHTTP(a, r)
	assert.Equal(t, http.StatusSeeOther, a.Code, "what is anybody's works on")
	assert.Equal(t, "/login", a.Header().Get("Location"))
}

func TestALogoIsServed(t *testing.T) {
	png := []byte("\x89PNG\r\n")
	h := portal.New(portal.Options{
		API: newWorld(t, visitor), Logo: func(context.Context) ([]byte, error) { return png, nil },
		Identify: func(context.Context, *http.Request) (volspec.Caller, error) { return visitor, nil },
	})
	a := httptest.NewRecorder()
	h.ServeHTTP(a, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://portal.example/logo.png", nil))
	assert.Equal(t, png, a.Body.Bytes())
	assert.Equal(t, "image/png", a.Header().Get("Content-Type"))
}
