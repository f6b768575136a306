package portal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// stubProvider knows the tenant Dev, and lets in who brings back what it gave.
type stubProvider struct{}

func (stubProvider) Begin(_ context.Context, c volspec.Caller, tenant string) (target, kept string, err error) {
	if tenant != "Dev" || !c.Visitor || c.From != "192.0.2.1" {
		return "", "", errkind.New(errkind.Denied, "it is not set up for <tenant> %s", tenant)
	}
	return "https://id.example/authorize", "sealed", nil
}

func (stubProvider) Finish(_ context.Context, _ volspec.Caller, kept string, answer url.Values, agent string) (wire.Session, string, error) {
	switch {
	case answer.Get("error") != "":
		return wire.Session{}, "", errkind.New(errkind.Unavailable, "the provider is away: try again")
	case kept != "sealed" || answer.Get("code") != "c" || agent != "browser":
		return wire.Session{}, "", errkind.New(errkind.Denied, "begin again")
	}
	return wire.Session{User: "jo"}, "session-secret", nil
}

func TestLogInByAProvider(t *testing.T) {
	w := newWorld(t, visitor)
	visit := func(path string, cookies ...*http.Cookie) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://portal.example"+path, nil)
		r.Header.Set("User-Agent", "browser")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		return answer.Result()
	}
	resp := visit("/oidc/login?tenant=Dev")
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	assert.Equal(t, "https://id.example/authorize", resp.Header.Get("Location"))
	require.Len(t, resp.Cookies(), 1)
	kept := resp.Cookies()[0]
	assert.Equal(t, "sealed", kept.Value)
	assert.Equal(t, 600, kept.MaxAge)
	assert.True(t, kept.Secure && kept.HttpOnly)

	back := visit("/oidc/callback?code=c&state=s", kept)
	require.Equal(t, http.StatusSeeOther, back.StatusCode)
	assert.Equal(t, "/", back.Header.Get("Location"))
	set := map[string]*http.Cookie{}
	for _, c := range back.Cookies() {
		set[c.Name] = c
	}
	assert.Equal(t, "session-secret", set[api.SessionCookie].Value)
	assert.Negative(t, set[kept.Name].MaxAge, "what was kept is used up")
}

// Who is refused is where he can try again, and reads why.
func TestARefusedLogInByAProviderShowsTheLogIn(t *testing.T) {
	w := newWorld(t, visitor)
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/oidc/login?tenant=Nobody":          {http.StatusForbidden, "It is not set up for &lt;tenant&gt; Nobody."},
		"/oidc/login":                        {http.StatusForbidden, "It is not set up for &lt;tenant&gt;."},
		"/oidc/callback?code=c&state=s":      {http.StatusForbidden, "Begin again."},
		"/oidc/callback?error=access_denied": {http.StatusServiceUnavailable, "The provider is away: try again."},
	} {
		a := w.get(path)
		assert.Equal(t, want.status, a.Code, path)
		checkPage(t, a.Body.String())
		assert.Contains(t, a.Body.String(), want.text, path)
		assert.Contains(t, a.Body.String(), `action="/login"`, path)
		assert.NotContains(t, a.Header().Values("Set-Cookie"), api.SessionCookie, path)
	}
	assert.Contains(t, w.get("/oidc/login?tenant=Nobody").Body.String(), `value="Nobody"`)
	for path, again := range map[string]string{"/oidc/login?tenant=Nobody": "/t/Nobody", "/oidc/login": "/login", "/oidc/callback?code=c&state=s": "/login"} {
		assert.Contains(t, w.get(path).Body.String(), `name="next" value="`+again+`"`, "choosing colours on %s asks nothing of the provider", path)
	}
}
