package app

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

const httpsTable = "[https]\nlisten = '127.0.0.1:0'\n"

// browser trusts the authority of the site, as it lies there for people.
func (s *site) browser(t *testing.T) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(s.dir + "/state/https-ca.crt")
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(pem))
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *site) get(t *testing.T, c *http.Client, path string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.d.webURL()+path, nil)
	require.NoError(t, err)
	resp, err := c.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// Browsers trust the service by the authority it made itself, and what they
// get is guarded, whoever answers.
func TestThePortalIsServedOverTLS(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	c := s.browser(t)
	for path, want := range map[string]struct {
		status int
		media  string
	}{
		"/healthz":            {200, "text/plain; charset=utf-8"},
		"/api":                {401, "application/problem+json"},
		"/api/v1/no-such":     {401, "application/problem+json"},
		"/api/v2/status":      {401, "application/problem+json"},
		"/api/v1/../../login": {401, "application/problem+json"},
	} {
		resp, body := s.get(t, c, path)
		assert.Equal(t, want.status, resp.StatusCode, path)
		assert.Equal(t, want.media, resp.Header.Get("Content-Type"), path)
		assert.Equal(t, 2, resp.ProtoMajor, path)
		assert.Equal(t, "max-age=31536000", resp.Header.Get("Strict-Transport-Security"), path)
		assert.Equal(t, "nosniff", resp.Header.Get("X-Content-Type-Options"), path)
		assert.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
		assert.NotEmpty(t, resp.Header.Get("Referrer-Policy"), path)
		if want.status == 401 {
			var p wire.Problem
			require.NoError(t, json.Unmarshal([]byte(body), &p), body)
			assert.Equal(t, "denied", p.Kind, "whatever is there, log in first")
		}
	}
	resp, _ := s.get(t, c, "/")
	assert.Less(t, resp.StatusCode, 400)

	before := resp.TLS.PeerCertificates[0]
	s.stop()
	<-s.ended
	require.NoError(t, s.err)
	s.start(t).ready(t)
	resp, _ = s.get(t, s.browser(t), "/healthz")
	assert.Equal(t, before.Raw, resp.TLS.PeerCertificates[0].Raw, "who trusts the certificate itself need not do it again")
}

// dial opens a connection to the portal, with TLS if c is not nil.
func (s *site) dial(t *testing.T, c *tls.Config) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.d.webURL(), "https://"))
	require.NoError(t, err)
	if c != nil {
		conn = tls.Client(conn, c)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// anyTLS trusts whatever it meets: what is tested is how the service stands it.
var anyTLS = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}

// Whoever forgets the s in https is told.
func TestPlainHTTPIsRefusedOnThePortal(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	conn := s.dial(t, nil)
	_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Contains(t, string(answer), " 400 ")
	assert.Contains(t, string(answer), "HTTPS")
}

func TestWhatThePortalDoesNotTake(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	for name, tc := range map[string]struct{ sent, status string }{
		"huge headers":     {"GET / HTTP/1.1\r\nHost: x\r\nX-Pad: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", " 431 "},
		"no host":          {"GET / HTTP/1.1\r\n\r\n", " 400 "},
		"two lengths":      {"POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", " 400 "},
		"a name and chunk": {"GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n", " 400 "},
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.dial(t, anyTLS)
			require.NoError(t, conn.SetDeadline(time.Now().Add(30*time.Second)))
			_, _ = io.WriteString(conn, tc.sent) // it may be cut off before its end
			line, err := bufio.NewReader(conn).ReadString('\n')
			require.NoError(t, err)
			assert.Contains(t, line, tc.status)
		})
	}
	old := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	assert.Error(t, s.dial(t, old).(*tls.Conn).Handshake(), "TLS before 1.2")
}

// Whoever sends slowly, or nothing, does not keep its connection.
func TestSlowClientsOfThePortalAreCutOff(t *testing.T) {
	t.Parallel()
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	for name, sent := range map[string]string{
		"half a header":           "GET / HTTP/1.1\r\nHost: x\r\nX-A",
		"half a body":             "POST /api/v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"half a body, not wanted": "POST /no/such HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
		"no hello":                "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := anyTLS
			if sent == "" {
				c = nil
			}
			conn := s.dial(t, c)
			require.NoError(t, conn.SetDeadline(time.Now().Add(90*time.Second)))
			_, err := io.WriteString(conn, sent)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, conn)
			assert.NoError(t, err, "the service ends the connection")
		})
	}
}

// One source cannot take all connections of the others.
func TestOneSourceOfThePortalIsBounded(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	var open []net.Conn
	for range 128 {
		conn := s.dial(t, anyTLS)
		require.NoError(t, conn.(*tls.Conn).Handshake())
		open = append(open, conn)
	}
	require.Error(t, s.dial(t, anyTLS).(*tls.Conn).Handshake())
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool { return s.dial(t, anyTLS).(*tls.Conn).Handshake() == nil }, 30*time.Second, 20*time.Millisecond)
}
