package hostclient

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
)

// site is a service over HTTPS with a certificate that no machine trusts.
func site(t *testing.T, h http.HandlerFunc) (url string, cert *x509.Certificate) {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s.URL, s.Certificate()
}

func TestAServiceOverHTTPSIsTrustedByWhatWasSaid(t *testing.T) {
	url, cert := site(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer secret", r.Header.Get("Authorization"))
		assert.NotEqual(t, "mooringd", r.Host)
		_, _ = io.WriteString(w, `{"version":"7"}`)
	})
	other := transport.Pin{1}.String()
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	for name, tc := range map[string]struct {
		trust Trust
		says  string
	}{
		"its fingerprint":      {Trust{Pin: transport.PinOf(cert).String()}, ""},
		"its authority":        {Trust{CA: text}, ""},
		"this machine":         {Trust{}, "is not trusted: log in to it with `mooring login`"},
		"another fingerprint":  {Trust{Pin: other}, "is not the one that was trusted"},
		"no fingerprint":       {Trust{Pin: "x"}, "is not valid"},
		"a file of other kind": {Trust{CA: "x"}, "there is no certificate of an authority"},
	} {
		t.Run(name, func(t *testing.T) {
			a := NewAdmin(url, Options{TLS: tc.trust.TLS, Token: "secret"})
			defer a.Close()
			h, err := a.Hello(t.Context())
			if tc.says == "" {
				require.NoError(t, err)
				assert.Equal(t, "7", h.Version)
				return
			}
			require.ErrorContains(t, err, tc.says)
			assert.Contains(t, []errkind.Kind{errkind.Denied, errkind.Invalid}, errkind.Of(err))
		})
	}
}

func TestProbeShowsWhoIsThere(t *testing.T) {
	asked := false
	url, cert := site(t, func(http.ResponseWriter, *http.Request) { asked = true })
	shown, err := Probe(t.Context(), url)
	require.NoError(t, err)
	assert.False(t, shown.Trusted)
	assert.Equal(t, transport.PinOf(cert), shown.Pin)
	assert.Contains(t, shown.Names, "127.0.0.1")
	assert.False(t, asked, "nothing is sent")

	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	_, err = Probe(t.Context(), strings.Replace(plain.URL, "http://", "https://", 1))
	require.ErrorContains(t, err, "does not speak HTTPS")
	for _, wrong := range []string{"https://", "https://a/b", "https://u@a", "http://a", "https://a?b", "a"} {
		_, err = Probe(t.Context(), wrong)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), wrong)
	}
	_, err = Probe(t.Context(), "https://127.0.0.1:1")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
}
