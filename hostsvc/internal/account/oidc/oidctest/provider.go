// Package oidctest is a provider of OpenID Connect for tests: it speaks the
// protocol over TLS and signs what it says.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/require"
)

// Provider lets everybody in as Claims say. Its fields may be changed between
// requests.
type Provider struct {
	*httptest.Server
	ClientID, Secret string

	mu     sync.Mutex // guards what follows
	claims map[string]any
	key    *ecdsa.PrivateKey // that signs
	shown  *ecdsa.PrivateKey // that it publishes
	codes  map[string]grant
	leads  map[string]string // what discovery says otherwise than it is
}

type grant struct{ challenge, nonce, redirect string }

// New starts a provider, until the test ends.
func New(t testing.TB) *Provider {
	t.Helper()
	key := newKey(t)
	p := &Provider{ClientID: "portal", Secret: "s3cret", key: key, shown: key, codes: map[string]grant{}, claims: map[string]any{}, leads: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	p.Server = httptest.NewTLSServer(mux)
	t.Cleanup(p.Close)
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

// Say sets a claim of whoever logs in next; nil takes it away.
func (p *Provider) Say(claim string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if value == nil {
		delete(p.claims, claim)
		return
	}
	p.claims[claim] = value
}

// Lead makes discovery name another address for one of its endpoints.
func (p *Provider) Lead(endpoint, url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leads[endpoint] = url
}

// Forge makes it sign with a key that it does not publish, or not any more.
func (p *Provider) Forge(t testing.TB, forge bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = p.shown
	if forge {
		p.key = newKey(t)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that went away is its own affair
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	v := map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"},
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, url := range p.leads {
		v[name] = url
	}
	answer(w, v)
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.shown.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
}

// authorize asks nobody: it sends the browser back with a code.
func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != p.ClientID || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("nonce") == "" {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	code := rand.Text()
	p.codes[code] = grant{q.Get("code_challenge"), q.Get("nonce"), q.Get("redirect_uri")}
	p.mu.Unlock()
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	code := r.PostFormValue("code")
	g, ok := p.codes[code]
	delete(p.codes, code) // once
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || id != p.ClientID || secret != p.Secret || g.redirect != r.PostFormValue("redirect_uri") || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		w.WriteHeader(http.StatusBadRequest)
		answer(w, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := map[string]any{"iss": p.URL, "aud": p.ClientID, "nonce": g.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Minute).Unix()}
	for k, v := range p.claims {
		claims[k] = v
	}
	signed, err := p.sign(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": signed})
}

func (p *Provider) sign(claims map[string]any) (string, error) {
	body, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "k"}}, nil)
	if err != nil {
		return "", err
	}
	signed, err := s.Sign(body)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
