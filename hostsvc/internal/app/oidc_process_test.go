package app_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account/oidc/oidctest"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// person is a browser that goes where it is sent.
func person(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Jar: jar}
}

func open(t *testing.T, c *http.Client, url string) (status int, path, text string) {
	t.Helper()
	resp, err := c.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Request.URL.Path, string(b)
}

// A running service lets people in whom a provider knows: of the master and of
// a tenant, as new users where a role is set for them, and says why not.
func TestPeopleLogInByAProvider(t *testing.T) {
	provider := oidctest.New(t)
	p := newProcess(t, nil, "[https]\nlisten = '127.0.0.1:0'\nallow_private = ['127.0.0.0/8']\n")
	roots := p.path("provider.crt")
	require.NoError(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: provider.Certificate().Raw}), 0o600))
	code, _, errs := p.command(t, tenantPassword+"\n", "mooringd", "init", "--config", p.path("mooring.toml"), "--user=root", "--password-file=-")
	require.Zero(t, code, errs)
	p.start(t, "SSL_CERT_FILE="+roots)
	ctx, a, url := t.Context(), p.admin(t), p.url(t)
	for _, name := range []string{"acme", "plain"} {
		_, err := a.CreateTenant(ctx, wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: name}})
		require.NoError(t, err)
	}
	secret := p.path("secret")
	require.NoError(t, os.WriteFile(secret, []byte(provider.Secret+"\n"), 0o600))
	set := func(more ...string) {
		t.Helper()
		out, code := p.mooring(ctx, append([]string{"oidc", "set", "--issuer", provider.URL, "--client-id", provider.ClientID, "--secret-file", secret}, more...)...)
		require.Zero(t, code, out)
	}
	set()
	set("--vmgroup=acme", "--role=operator")
	provider.Say("sub", "42")
	provider.Say("preferred_username", "jo")

	status, _, _ := open(t, person(t), url+"/oidc/login")
	assert.Equal(t, http.StatusForbidden, status, "nobody becomes a user of the master without a role")
	set("--role=master-viewer")
	jo := person(t)
	status, path, text := open(t, jo, url+"/oidc/login")
	require.Equal(t, http.StatusOK, status, text)
	assert.Equal(t, "/", path)
	status, _, text = open(t, jo, url+"/api/v1/session")
	assert.Equal(t, http.StatusOK, status)
	assert.Contains(t, text, `"master-viewer"`)

	worker := person(t)
	status, _, text = open(t, worker, url+"/oidc/login?tenant=acme")
	require.Equal(t, http.StatusOK, status)
	assert.Contains(t, text, "Your service is not configured")
	status, _, _ = open(t, person(t), url+"/oidc/login?tenant=plain")
	assert.Equal(t, http.StatusForbidden, status)
	u, err := a.User(ctx, "acme", "jo")
	require.NoError(t, err)
	assert.True(t, u.OIDC)
	assert.Equal(t, volspec.Operator, u.Role)
	out, code := p.mooring(ctx, "user", "ls", "--vmgroup=acme")
	assert.Zero(t, code, out)
	assert.Contains(t, out, "jo")

	// Once more it is the same user, whatever the name is now; a disabled one is
	// not let in, and a provider that was taken away lets nobody in.
	provider.Say("preferred_username", "joanna")
	status, _, _ = open(t, person(t), url+"/oidc/login?tenant=acme")
	assert.Equal(t, http.StatusOK, status)
	users, err := a.Users(ctx, "acme")
	require.NoError(t, err)
	assert.Len(t, users, 1)
	no := false
	_, err = a.UpdateUser(ctx, "acme", users[0].Name, wire.UpdateUser{Enabled: &no})
	require.NoError(t, err)
	status, _, _ = open(t, worker, url+"/api/v1/session")
	assert.Equal(t, http.StatusUnauthorized, status, "at once")
	status, _, _ = open(t, worker, url+"/oidc/login?tenant=acme")
	assert.Equal(t, http.StatusForbidden, status)
	require.NoError(t, a.RemoveOIDC(ctx, "acme"))
	status, _, text = open(t, person(t), url+"/oidc/login?tenant=acme")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, text, "is not set up for this tenant")

	// The provider is away, first in the middle of a log-in.
	stays := person(t)
	stays.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/oidc/callback" {
			provider.Close()
		}
		return nil
	}
	status, _, text = open(t, stays, url+"/oidc/login")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, text, "does not answer: try again in a while")
	p.kill()
	p.start(t, "SSL_CERT_FILE="+roots)
	status, _, text = open(t, person(t), p.url(t)+"/oidc/login")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Contains(t, text, "does not answer as one of OpenID Connect")
	status, _, _ = open(t, jo, p.url(t)+"/api/v1/session")
	assert.Equal(t, http.StatusOK, status, "whoever is in stays in")
}
