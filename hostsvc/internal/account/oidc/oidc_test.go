package oidc_test

import (
	"context"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/account/oidc/oidctest"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var (
	admin   = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}
	visitor = volspec.Caller{Visitor: true, Actor: "visitor:192.0.2.7", From: "192.0.2.7"}
)

// world is the log-in with a real catalog and a real provider. What enters is
// written down.
type world struct {
	*oidc.Service
	opts     oidc.Options
	provider *oidctest.Provider
	cat      *catalog.Catalog
	now      time.Time
	entered  []oidc.Person
	tooMany  error
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "c.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })
	require.NoError(t, cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error { return tx.PutGroup(volspec.VMGroup{ID: "g1", Name: "Dev"}) }))
	ring, err := keyring.Create(filepath.Join(dir, "master.key"))
	require.NoError(t, err)
	w := &world{provider: oidctest.New(t), cat: cat, now: time.Now()}
	w.opts = oidc.Options{
		Store: cat.Providers(), Sealer: ring, Client: w.provider.Client(), URL: func() string { return "https://portal.example" },
		Attempt: func(string) error { return w.tooMany }, Now: func() time.Time { return w.now },
		Enter: func(_ context.Context, c volspec.Caller, p oidc.Person, agent string) (wire.Session, string, error) {
			assert.Equal(t, visitor, c)
			assert.Equal(t, "browser", agent)
			w.entered = append(w.entered, p)
			return wire.Session{User: p.Name}, "session", nil
		},
	}
	w.Service = oidc.New(w.opts)
	return w
}

func (w *world) settings() wire.OIDC {
	return wire.OIDC{Issuer: w.provider.URL, ClientID: w.provider.ClientID, Secret: w.provider.Secret}
}

func (w *world) put(t testing.TB, group string, r wire.OIDC) {
	t.Helper()
	_, err := w.Put(t.Context(), admin, group, r)
	require.NoError(t, err)
}

// visit goes to the provider as a browser would, and brings back its answer.
func (w *world) visit(t testing.TB, tenant string) (kept string, answer url.Values) {
	t.Helper()
	target, kept, err := w.Begin(t.Context(), visitor, tenant)
	require.NoError(t, err)
	c := *w.provider.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := c.Get(target)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusFound, resp.StatusCode)
	back, err := resp.Location()
	require.NoError(t, err)
	require.Equal(t, "https://portal.example/oidc/callback", back.Scheme+"://"+back.Host+back.Path)
	return kept, back.Query()
}

func (w *world) login(t *testing.T, tenant string) error {
	t.Helper()
	kept, answer := w.visit(t, tenant)
	_, secret, err := w.Finish(t.Context(), visitor, kept, answer, "browser")
	if err == nil {
		assert.Equal(t, "session", secret)
	}
	return err
}

// Who somebody is follows from issuer and subject; the name is a claim.
func TestLogInByAProvider(t *testing.T) {
	w := newWorld(t)
	master, tenant := w.settings(), w.settings()
	tenant.Claim, tenant.Role = "login", volspec.Operator
	w.put(t, "", master)
	w.put(t, "Dev", tenant)
	w.provider.Say("sub", "42")
	w.provider.Say("email", "jo@example.com")
	require.NoError(t, w.login(t, ""))
	w.provider.Say("preferred_username", "jo")
	w.provider.Say("login", "jo-dev")
	require.NoError(t, w.login(t, ""))
	require.NoError(t, w.login(t, "Dev"))
	subject := w.provider.URL + " 42"
	assert.Equal(t, []oidc.Person{
		{Subject: subject, Name: "jo@example.com", Email: "jo@example.com"},
		{Subject: subject, Name: "jo", Email: "jo@example.com"},
		{Group: "g1", Subject: subject, Name: "jo-dev", Email: "jo@example.com", Role: volspec.Operator},
	}, w.entered)
}

// A name can go to another tenant while somebody is at the provider.
func TestALogInStaysThatOfItsTenant(t *testing.T) {
	w := newWorld(t)
	w.provider.Say("sub", "42")
	w.put(t, "Dev", w.settings())
	kept, answer := w.visit(t, "Dev")
	require.NoError(t, w.cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		if err := tx.PutGroup(volspec.VMGroup{ID: "g1", Name: "Old"}); err != nil {
			return err
		}
		return tx.PutGroup(volspec.VMGroup{ID: "g2", Name: "Dev"})
	}))
	_, _, err := w.Finish(t.Context(), visitor, kept, answer, "browser")
	require.NoError(t, err)
	require.Len(t, w.entered, 1)
	assert.Equal(t, volspec.VMGroupID("g1"), w.entered[0].Group)
}

// A visitor does not learn which tenants there are, nor which of them have a
// provider.
func TestUnknownTenantsAreTenantsWithoutAProvider(t *testing.T) {
	w := newWorld(t)
	_, _, without := w.Begin(t.Context(), visitor, "Dev")
	_, _, unknown := w.Begin(t.Context(), visitor, "Nobody")
	require.Error(t, without)
	assert.Equal(t, errkind.Denied, errkind.Of(unknown))
	assert.Equal(t, without.Error(), unknown.Error())
	w.tooMany = errkind.New(errkind.Busy, "too many")
	_, _, err := w.Begin(t.Context(), visitor, "Dev")
	assert.Equal(t, w.tooMany, err)
}

// What a browser or a provider could forge opens nothing.
func TestForgedAnswersAreRefused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, w *world, kept *string, answer url.Values){
		"another state":  func(_ *testing.T, _ *world, _ *string, a url.Values) { a.Set("state", "x") },
		"no state":       func(_ *testing.T, _ *world, _ *string, a url.Values) { a.Del("state") },
		"no cookie":      func(_ *testing.T, _ *world, kept *string, _ url.Values) { *kept = "" },
		"another log-in": func(t *testing.T, w *world, kept *string, _ url.Values) { *kept, _ = w.visit(t, "") },
		"a code of another": func(t *testing.T, w *world, _ *string, a url.Values) {
			_, b := w.visit(t, "")
			a.Set("code", b.Get("code"))
		},
		"refused there":    func(_ *testing.T, _ *world, _ *string, a url.Values) { a.Set("error", "access_denied") },
		"too late":         func(_ *testing.T, w *world, _ *string, _ url.Values) { w.now = w.now.Add(oidc.Life) },
		"another key":      func(t *testing.T, w *world, _ *string, _ url.Values) { w.provider.Forge(t, true) },
		"another audience": func(_ *testing.T, w *world, _ *string, _ url.Values) { w.provider.Say("aud", "other") },
		"another issuer":   func(_ *testing.T, w *world, _ *string, _ url.Values) { w.provider.Say("iss", "https://other.example") },
		"another nonce":    func(_ *testing.T, w *world, _ *string, _ url.Values) { w.provider.Say("nonce", "n") },
		"expired":          func(_ *testing.T, w *world, _ *string, _ url.Values) { w.provider.Say("exp", 1) },
		"nobody":           func(_ *testing.T, w *world, _ *string, _ url.Values) { w.provider.Say("sub", nil) },
		"the provider changed": func(t *testing.T, w *world, _ *string, _ url.Values) {
			other := oidctest.New(t)
			w.put(t, "", wire.OIDC{Issuer: other.URL, ClientID: other.ClientID, Secret: other.Secret})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.provider.Say("sub", "42")
			w.put(t, "", w.settings())
			kept, answer := w.visit(t, "")
			spoil(t, w, &kept, answer)
			_, _, err := w.Finish(t.Context(), visitor, kept, answer, "browser")
			require.Error(t, err)
			assert.Contains(t, []errkind.Kind{errkind.Denied, errkind.Unavailable}, errkind.Of(err), "%v", err)
			assert.Empty(t, w.entered)
		})
	}
}

func TestACodeIsGoodOnce(t *testing.T) {
	w := newWorld(t)
	w.provider.Say("sub", "42")
	w.put(t, "", w.settings())
	kept, answer := w.visit(t, "")
	_, _, err := w.Finish(t.Context(), visitor, kept, answer, "browser")
	require.NoError(t, err)
	_, _, err = w.Finish(t.Context(), visitor, kept, answer, "browser")
	assert.Error(t, err)
}

func TestTheSecretIsKeptForItsClientOnly(t *testing.T) {
	w := newWorld(t)
	w.provider.Say("sub", "42")
	w.put(t, "Dev", w.settings())
	got, err := w.Get(t.Context(), "Dev")
	require.NoError(t, err)
	assert.Equal(t, wire.OIDC{Issuer: w.provider.URL, ClientID: "portal", Callback: "https://portal.example/oidc/callback"}, got)

	again := w.settings()
	again.Secret, again.Claim = "", "login"
	w.put(t, "Dev", again)
	require.NoError(t, w.login(t, "Dev"), "without a secret the one before stays")

	other := oidctest.New(t)
	other.ClientID = "other"
	w.put(t, "Dev", wire.OIDC{Issuer: w.provider.URL, ClientID: "other"})
	w.put(t, "Dev", again)
	require.Error(t, w.login(t, "Dev"), "another client has had it: it is gone")

	_, err = w.Get(t.Context(), "")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	for range 2 {
		require.NoError(t, w.Remove(t.Context(), admin, "Dev"))
	}
	_, err = w.Get(t.Context(), "Dev")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = w.Get(t.Context(), "Nobody")
	assert.ErrorContains(t, err, "Nobody does not exist")
}

func TestWhatIsNoProviderIsRefused(t *testing.T) {
	w := newWorld(t)
	w.provider.Close()
	_, err := w.Put(t.Context(), admin, "", w.settings())
	require.ErrorContains(t, err, "does not answer as one of OpenID Connect")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	good := wire.OIDC{Issuer: "https://id.example", ClientID: "c"}
	for name, tc := range map[string]struct {
		group string
		with  func(*wire.OIDC)
	}{
		"http":                  {"", func(r *wire.OIDC) { r.Issuer = "http://id.example" }},
		"a query":               {"", func(r *wire.OIDC) { r.Issuer += "?a" }},
		"a user":                {"", func(r *wire.OIDC) { r.Issuer = "https://u:p@id.example" }},
		"no issuer":             {"", func(r *wire.OIDC) { r.Issuer = "" }},
		"no client":             {"", func(r *wire.OIDC) { r.ClientID = "" }},
		"no such role":          {"", func(r *wire.OIDC) { r.Role = "king" }},
		"a tenant's role":       {"", func(r *wire.OIDC) { r.Role = volspec.TenantAdmin }},
		"the master for tenant": {"Dev", func(r *wire.OIDC) { r.Role = volspec.MasterAdmin }},
	} {
		r := good
		tc.with(&r)
		_, err := w.Put(t.Context(), admin, tc.group, r)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
	}
}

// Nobody enters by what a provider did not send: neither by another cookie nor
// by other parameters.
func FuzzCallback(f *testing.F) {
	w := newWorld(f)
	w.put(f, "", w.settings())
	kept, answer := w.visit(f, "")
	state := "state=" + answer.Get("state")
	f.Add(kept, "")
	f.Add(kept, state)
	f.Add(kept, state+"&error=access_denied&code=1")
	f.Add(kept, state+"&code=never-given")
	f.Add(kept, "state=&code=1")
	f.Add("", answer.Encode())
	f.Add(kept[1:], answer.Encode())
	f.Add(kept+"=", "state=%ff%00&state=2&code=;")
	f.Fuzz(func(t *testing.T, kept, query string) {
		params, _ := url.ParseQuery(query) // what can be read, as net/http does
		_, secret, err := w.Finish(t.Context(), visitor, kept, params, "browser")
		require.Contains(t, []errkind.Kind{errkind.Denied, errkind.Unavailable}, errkind.Of(err), "%v", err)
		assert.NotEmpty(t, errkind.Text(err))
		assert.Empty(t, secret)
		assert.Empty(t, w.entered)
	})
}
