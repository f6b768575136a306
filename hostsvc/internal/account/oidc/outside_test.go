package oidc_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/netguard/netguardtest"
	"mooring.dev/mooring/pkg/errkind"
)

// guarded is w with connections as the service makes them.
func (w *world) guarded(t *testing.T, open ...string) {
	t.Helper()
	g, err := netguard.New(open)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(w.provider.Certificate())
	o := w.opts
	o.Client = &http.Client{Transport: &http.Transport{DialContext: g.Dialer(5 * time.Second).DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
	w.Service = oidc.New(o)
}

// An issuer is a place that a tenant names.
func TestIssuersOfTenantsAreOutside(t *testing.T) {
	w := newWorld(t)
	w.guarded(t)
	for _, host := range slices.Concat(netguardtest.Addresses, netguardtest.Names) {
		r := w.settings()
		r.Issuer = "https://" + host + ":9"
		_, err := w.Put(t.Context(), admin, "Dev", r)
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), host)
		if !slices.Contains(netguardtest.Names, host) {
			assert.ErrorContains(t, err, "is not public", host)
		}
	}
	for _, address := range netguardtest.Inside {
		netguardtest.Resolve(t, address)
		r := w.settings()
		r.Issuer = "https://evil.example:9"
		_, err := w.Put(t.Context(), admin, "Dev", r)
		assert.ErrorContains(t, err, "is not public", address)
	}
	_, err := w.Put(t.Context(), admin, "Dev", w.settings())
	assert.ErrorContains(t, err, "is not public")
	_, err = w.Get(t.Context(), "Dev")
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "a refusal leaves nothing behind")
}

// A provider is believed in who somebody is, not in where to connect: what it
// names is judged as the issuer is, and where it sends us is not followed.
func TestProvidersLeadNowhereElse(t *testing.T) {
	for _, endpoint := range []string{"token_endpoint", "jwks_uri"} {
		w := newWorld(t)
		w.provider.Say("sub", "42")
		w.guarded(t, "127.0.0.1/32")
		w.put(t, "Dev", w.settings())
		require.NoError(t, w.login(t, "Dev"))
		for _, host := range []string{"169.254.169.254", "10.1.2.3", "[::1]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]"} {
			w.provider.Lead(endpoint, "http://"+host+":9/latest")
			w.put(t, "Dev", w.settings()) // asks the provider anew
			assert.ErrorContains(t, w.login(t, "Dev"), "is not public", "%s %s", endpoint, host)
		}
		assert.Len(t, w.entered, 1)
	}
	var reached atomic.Int32
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer inside.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect} {
		w := newWorld(t)
		w.provider.Config.Handler = http.RedirectHandler(inside.URL, status)
		w.guarded(t, "127.0.0.1/32")
		_, err := w.Put(t.Context(), admin, "Dev", w.settings())
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	}
	assert.Zero(t, reached.Load())
}
