package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const password = "correct horse battery"

// peopleRig is a server with real accounts on the channel for people.
type peopleRig struct {
	*rig
	accounts *account.Service
	tenancy  tenancy.Store
	throttle *Throttle
	url      string
	tls      *tls.Config
}

// endless is backups whose job never ends.
type endless struct{ stubBackups }

func (e endless) Job(ctx context.Context, group string, id volspec.JobID, waitMS int) (wire.Job, error) {
	if waitMS > 0 {
		_ = e.note(ctx, "wait", nobody)
		<-ctx.Done()
	}
	return wire.Job{ID: id, State: "running"}, nil
}

func newPeople(t *testing.T) *peopleRig {
	return newPeopleAt(t, Pace{User: 1000, Tenant: 1000, Address: 1000, AtOnce: 1000})
}

func newPeopleAt(t *testing.T, pace Pace) *peopleRig {
	t.Helper()
	return newPeopleBy(t, NewThrottle(pace, time.Now))
}

func newPeopleBy(t *testing.T, throttle *Throttle) *peopleRig {
	t.Helper()
	dir := t.TempDir()
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })
	require.NoError(t, cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutGroup(volspec.VMGroup{ID: "id-of-x", Name: "x"})
	}))
	ring, err := keyring.Create(filepath.Join(dir, "key"))
	require.NoError(t, err)
	p := &peopleRig{throttle: throttle, tenancy: cat.Tenancy(), accounts: account.New(account.Options{
		Store: cat.Accounts(), Sealer: ring, Holds: PermissionsOf, Given: Permissions(), Cost: account.Cost{Memory: 64, Time: 1, Threads: 1},
	})}
	p.rig = newRig(t, func(o *Options) {
		o.Accounts, o.Backups = p.accounts, endless{stubBackups{o.Volumes.(stubVolumes).stub}}
	})
	p.srv.watchPause, p.srv.eventPause = 50*time.Millisecond, 10*time.Millisecond
	require.NoError(t, p.accounts.FirstAdmin(t.Context(), callerAdmin, wire.FirstAdmin{User: "ann", Password: password}))
	_, err = p.accounts.CreateUser(t.Context(), callerAdmin, "x", wire.CreateUser{Name: "tom", Role: volspec.TenantAdmin, Password: password})
	require.NoError(t, err)

	certified := httptest.NewTLSServer(nil) // for its certificate alone
	certified.Close()
	roots := x509.NewCertPool()
	roots.AddCert(certified.Certificate())
	p.tls = &tls.Config{RootCAs: roots}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p.url = "https://" + l.Addr().String()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- p.srv.ServeWeb(ctx, l, Web{
			Certificate: func() (*tls.Certificate, error) { return &certified.TLS.Certificates[0], nil },
			Identity:    p.throttle.Identity(PeoplePeers(p.accounts)), Pages: http.NotFoundHandler(), Throttle: p.throttle,
		})
	}()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-done)
	})
	return p
}

// client is a program, with or without a token.
func (p *peopleRig) client(token string) *hostclient.Admin {
	c := hostclient.NewAdmin(p.url, hostclient.Options{Token: token, TLS: func() (*tls.Config, error) { return p.tls.Clone(), nil }})
	p.t.Cleanup(c.Close)
	return c
}

// login is a client in a session.
func (p *peopleRig) login(tenant, user string) *hostclient.Admin {
	p.t.Helper()
	c := p.client("")
	_, err := c.Login(p.t.Context(), wire.Login{Tenant: tenant, User: user, Password: password})
	require.NoError(p.t, err)
	return c
}

// send makes one request as a browser does, with the given headers.
func (p *peopleRig) send(method, path, body string, headers ...string) (*http.Response, string) {
	p.t.Helper()
	tr := &http.Transport{TLSClientConfig: p.tls.Clone(), ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+wire.Prefix+path, strings.NewReader(body))
	require.NoError(p.t, err)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Add(k, v)
	}
	resp, err := tr.RoundTrip(r)
	require.NoError(p.t, err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	require.NoError(p.t, err)
	return resp, string(got)
}

func TestPeopleLogInOverHTTPS(t *testing.T) {
	p := newPeople(t)
	c := p.client("")
	welcome, err := c.Welcome(t.Context())
	require.NoError(t, err)
	assert.False(t, welcome.First)
	_, err = c.VMGroups(t.Context())
	assert.ErrorContains(t, err, "log in")
	s, err := c.Login(t.Context(), wire.Login{User: "ann", Password: password})
	require.NoError(t, err)
	assert.Equal(t, volspec.MasterAdmin, s.Role)
	_, err = c.VMGroups(t.Context())
	require.NoError(t, err)
	tok, err := c.CreateToken(t.Context(), wire.CreateToken{Name: "script", Scope: "service.read"})
	require.NoError(t, err)
	require.NoError(t, c.Logout(t.Context()))
	_, err = c.Session(t.Context())
	assert.ErrorContains(t, err, "log in")

	program := p.client(tok.Secret)
	_, err = program.Status(t.Context())
	require.NoError(t, err)
	_, err = program.Repositories(t.Context(), "")
	assert.ErrorContains(t, err, "which the token does not have")
	_, err = program.Tokens(t.Context())
	assert.Error(t, err, "a token is not for one's own account")
	who, err := program.Session(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ann", who.User)
	require.NoError(t, program.RemoveToken(t.Context(), tok.ID), "it ends itself")
	_, err = program.Status(t.Context())
	assert.ErrorContains(t, err, "the token is not valid")
	_, err = p.client(tok.Secret + "0").Status(t.Context())
	assert.ErrorContains(t, err, "the token is not valid")
}

func TestCookiesAreHeldTight(t *testing.T) {
	p := newPeople(t)
	login := `{"user":"ann","password":"` + password + `"}`
	resp, body := p.send("POST", "/login", login)
	require.Equal(t, http.StatusOK, resp.StatusCode, body)
	set := resp.Header.Get("Set-Cookie")
	assert.Regexp(t, `^__Host-mooring=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; Secure; SameSite=Lax$`, set)
	cookie, _, _ := strings.Cut(set, ";")
	var s wire.Session
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	assert.NotContains(t, body, strings.TrimPrefix(cookie, "__Host-mooring="), "the secret is in the cookie alone")

	const change = `{"zone":"UTC"}`
	csrf := wire.HeaderCSRF + ": " + s.CSRF
	for _, tc := range []struct {
		what    string
		headers []string
		want    int
	}{
		{"with everything", []string{"Cookie: " + cookie, csrf}, 200},
		{"from our own page", []string{"Cookie: " + cookie, csrf, "Sec-Fetch-Site: same-origin"}, 200},
		{"without the token", []string{"Cookie: " + cookie}, 403},
		{"with another's token", []string{"Cookie: " + cookie, wire.HeaderCSRF + ": " + account.CSRF("x")}, 403},
		{"from another site", []string{"Cookie: " + cookie, csrf, "Sec-Fetch-Site: cross-site"}, 403},
		{"from another origin", []string{"Cookie: " + cookie, csrf, "Origin: https://evil.example"}, 403},
		{"with a token as well", []string{"Cookie: " + cookie, csrf, "Authorization: Bearer x"}, 400},
		{"with two cookies", []string{"Cookie: " + cookie + "; __Host-mooring=x", csrf}, 400},
		{"with a password", []string{"Authorization: Basic eA=="}, 400},
		{"with a bad token", []string{"Authorization: Bearer mrg_x"}, 401},
		{"with a dead cookie", []string{"Cookie: __Host-mooring=x", csrf}, 401},
		{"with nothing", nil, 401},
	} {
		resp, body := p.send("PATCH", "/session/profile", change, tc.headers...)
		assert.Equal(t, tc.want, resp.StatusCode, "%s: %s", tc.what, body)
		assert.Equal(t, tc.want == 401, resp.Header.Get("Www-Authenticate") == `Bearer realm="mooring"`, tc.what)
	}
	resp, body = p.send("GET", "/session", "", "Cookie: "+cookie, "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusOK, resp.StatusCode, "%s: a link from elsewhere only reads", body)
	resp, _ = p.send("POST", "/login", login, "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusForbidden, resp.StatusCode, "nobody is logged in by another site")
	resp, body = p.send("POST", "/login", login, "Cookie: __Host-mooring=dead")
	assert.Equal(t, http.StatusOK, resp.StatusCode, "%s: a dead cookie is in nobody's way", body)
	resp, _ = p.send("POST", "/logout", "", "Cookie: "+cookie, csrf)
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	assert.Regexp(t, `^__Host-mooring=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax$`, resp.Header.Get("Set-Cookie"))
}

// Of a name that somebody tries, nothing is to be seen in the answer.
func TestWrongLogInsAnswerAlike(t *testing.T) {
	p := newPeople(t)
	var first string
	for _, body := range []string{
		`{"tenant":"x","user":"tom","password":"wrong"}`, `{"tenant":"x","user":"nobody","password":"wrong"}`,
		`{"tenant":"none","user":"tom","password":"` + password + `"}`, `{"user":"tom","password":"` + password + `"}`, `{"user":"","password":""}`,
	} {
		resp, got := p.send("POST", "/login", body, "X-Request-Id: same")
		resp.Header.Del("Date")
		answer := fmt.Sprint(resp.Status, resp.Header, got)
		assert.Equal(t, http.StatusForbidden, resp.StatusCode)
		if first == "" {
			first = answer
		}
		assert.Equal(t, first, answer)
	}
}

func TestGeneratedPasswordsOpenNothingElse(t *testing.T) {
	p := newPeople(t)
	made, err := p.accounts.CreateUser(t.Context(), callerAdmin, "x", wire.CreateUser{Name: "new", Role: volspec.TenantAdmin})
	require.NoError(t, err)
	c := p.client("")
	s, err := c.Login(t.Context(), wire.Login{Tenant: "x", User: "new", Password: made.Password})
	require.NoError(t, err)
	require.True(t, s.MustChange)
	_, err = c.Repositories(t.Context(), "")
	assert.ErrorContains(t, err, "your password was generated: change it")
	require.NoError(t, c.ChangePassword(t.Context(), wire.ChangePassword{Old: made.Password, New: password}))
	_, err = c.Repositories(t.Context(), "")
	require.NoError(t, err)
}

func TestMastersActForATenantOverHTTPS(t *testing.T) {
	p := newPeople(t)
	c := p.login("", "ann")
	s, err := c.ActAs(t.Context(), wire.ActAs{VMGroup: "x", Reason: "ticket 7"})
	require.NoError(t, err)
	assert.Equal(t, "x", s.As)
	_, err = c.Status(t.Context())
	assert.Error(t, err, "the service itself is out of reach")
	users, err := c.Users(t.Context(), "x")
	require.NoError(t, err)
	assert.Len(t, users, 1)
	_, err = c.Users(t.Context(), "y")
	assert.ErrorContains(t, err, "does not exist")
	_, err = c.StopActing(t.Context())
	require.NoError(t, err)
	_, err = c.Status(t.Context())
	require.NoError(t, err)
}

func TestARequiredSecondFactorOpensNothingElse(t *testing.T) {
	p := newPeople(t)
	c := p.login("x", "tom")
	token, err := c.CreateToken(t.Context(), wire.CreateToken{Name: "script"})
	require.NoError(t, err)
	require.NoError(t, p.tenancy.Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutDetails("id-of-x", tenancy.Details{Security: tenancy.Security{FactorRequired: true}})
	}))
	for name, c := range map[string]*hostclient.Admin{"session": c, "token": p.client(token.Secret)} {
		_, err = c.GroupRepositories(t.Context(), "x")
		assert.ErrorContains(t, err, "a second factor is required of you", name)
	}
	s, err := c.Session(t.Context())
	require.NoError(t, err)
	assert.True(t, s.MustFactor)
	_, err = c.BeginTOTP(t.Context())
	require.NoError(t, err)
	require.NoError(t, c.Logout(t.Context()))
}

func TestATenantRefusesItsProviderContent(t *testing.T) {
	p := newPeople(t)
	master, acting, own := p.login("", "ann"), p.login("", "ann"), p.login("x", "tom")
	_, err := acting.ActAs(t.Context(), wire.ActAs{VMGroup: "x"})
	require.NoError(t, err)
	who := map[string]*hostclient.Admin{"master": master, "acting": acting, "own": own}
	read := map[string]func(c *hostclient.Admin) error{
		"files": func(c *hostclient.Admin) error {
			_, err := c.Files(t.Context(), "x", "p1", "", "", 0)
			return err
		},
		"kit": func(c *hostclient.Admin) error {
			_, err := c.RepositoryKit(t.Context(), "x", "main", wire.KitOptions{})
			return err
		},
	}
	for _, off := range []bool{false, true} {
		require.NoError(t, p.tenancy.Update(t.Context(), func(tx tenancy.Tx) error {
			return tx.PutDetails("id-of-x", tenancy.Details{Security: tenancy.Security{ContentRefused: off}})
		}))
		for name, c := range who {
			for what, do := range read {
				if err := do(c); off && name != "own" {
					assert.ErrorContains(t, err, "only an administrator of the tenant can switch it on", "%s of %s", what, name)
					assert.True(t, errkind.Is(err, errkind.Denied), "%s of %s", what, name)
				} else {
					assert.NoError(t, err, "%s of %s", what, name)
				}
			}
			_, err := c.GroupRepositories(t.Context(), "x")
			assert.NoError(t, err, "metadata of %s", name)
		}
	}
	streams := []func() (hostclient.Download, error){
		func() (hostclient.Download, error) { return acting.File(t.Context(), "x", "p1", "a") },
		func() (hostclient.Download, error) { return acting.Tar(t.Context(), "x", "p1", nil) },
		func() (hostclient.Download, error) { return acting.Image(t.Context(), "x", "p1") },
	}
	for _, stream := range streams {
		_, err := stream()
		assert.ErrorContains(t, err, "only an administrator of the tenant can switch it on")
	}
	_, err = master.SaveTenant(t.Context(), "x", wire.SaveTenant{Passphrase: "six boats under one bridge"})
	assert.ErrorContains(t, err, "only an administrator of the tenant can switch it on", "its keys would be in the bundle")
}
