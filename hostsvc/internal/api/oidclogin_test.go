package api

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
	if kept != "sealed" || answer.Get("code") != "c" || agent != "browser" {
		return wire.Session{}, "", errkind.New(errkind.Denied, "begin again")
	}
	return wire.Session{User: "jo"}, "session-secret", nil
}

func TestLogInByAProviderInABrowser(t *testing.T) {
	h := OIDCPages(stubProvider{}, time.Minute)
	visit := func(path string, cookies ...*http.Cookie) *http.Response {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("User-Agent", "browser")
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	resp := visit("/oidc/login?tenant=Dev")
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	assert.Equal(t, "https://id.example/authorize", resp.Header.Get("Location"))
	require.Len(t, resp.Cookies(), 1)
	kept := resp.Cookies()[0]
	assert.Equal(t, "sealed", kept.Value)
	assert.Equal(t, 60, kept.MaxAge)
	assert.True(t, kept.Secure && kept.HttpOnly)

	back := visit("/oidc/callback?code=c&state=s", kept)
	require.Equal(t, http.StatusSeeOther, back.StatusCode)
	assert.Equal(t, "/", back.Header.Get("Location"))
	set := map[string]*http.Cookie{}
	for _, c := range back.Cookies() {
		set[c.Name] = c
	}
	assert.Equal(t, "session-secret", set[SessionCookie].Value)
	assert.Negative(t, set[keptCookie].MaxAge, "what was kept is used up")

	for _, path := range []string{"/oidc/login?tenant=Nobody", "/oidc/login", "/oidc/callback?code=c"} {
		resp := visit(path)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode, path)
		assert.NotContains(t, body(t, resp), "<tenant>", "what is refused is text")
		for _, c := range resp.Cookies() {
			assert.NotEqual(t, SessionCookie, c.Name)
		}
	}
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	b := make([]byte, 4096)
	n, _ := r.Body.Read(b)
	require.NoError(t, r.Body.Close())
	return string(b[:n])
}
