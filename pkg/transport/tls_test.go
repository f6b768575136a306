package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

// issuer is an authority of a test.
type issuer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

func newIssuer(t *testing.T) issuer {
	k := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return issuer{cert, k}
}

func (i issuer) issue(t *testing.T, use x509.ExtKeyUsage, from, to time.Time) *tls.Certificate {
	k := newKey(t)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: to, ExtKeyUsage: []x509.ExtKeyUsage{use}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, i.cert, k.Public(), i.key)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der, i.cert.Raw}, PrivateKey: k}
}

func (i issuer) server(t *testing.T) *tls.Certificate {
	return i.issue(t, x509.ExtKeyUsageServerAuth, time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
}

// serveTLS echoes on every connection until the test ends.
func serveTLS(t *testing.T, cert *tls.Certificate, each func(*TLSConn)) string {
	l, err := ListenTLS(t.Context(), "127.0.0.1:0", func() (*tls.Certificate, error) { return cert, nil })
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if each != nil {
					if err := c.(*TLSConn).HandshakeContext(context.Background()); err == nil {
						each(c.(*TLSConn))
					}
				}
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	t.Cleanup(func() { assert.NoError(t, l.Close()); <-done })
	return "tls://" + l.Addr().String()
}

func TestBothEndsKnowTheBindingAndTheCertificate(t *testing.T) {
	ca := newIssuer(t)
	seen := make(chan tls.ConnectionState, 1)
	url := serveTLS(t, ca.server(t), func(c *TLSConn) { seen <- c.ConnectionState() })
	own := newIssuer(t).issue(t, x509.ExtKeyUsageClientAuth, time.Now(), time.Now().Add(time.Hour))
	conn, err := DialTLS(t.Context(), url, ClientTLS(PinOf(ca.cert), own))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("x"))
	require.NoError(t, err)
	there := <-seen
	require.Len(t, there.PeerCertificates, 2, "any certificate gets as far as the one who judges it")
	assert.Equal(t, own.Certificate[0], there.PeerCertificates[0].Raw)
	a, err := Binding(conn.ConnectionState())
	require.NoError(t, err)
	b, err := Binding(there)
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.Len(t, a, 32)
}

func TestOnlyThePinnedAuthorityIsTrusted(t *testing.T) {
	ca, now := newIssuer(t), time.Now()
	borrowed := newIssuer(t).server(t) // shows the pinned authority, which has not signed it
	borrowed.Certificate[1] = ca.cert.Raw
	for name, tc := range map[string]struct {
		cert *tls.Certificate
		says string
	}{
		"another authority":       {newIssuer(t).server(t), "is not of the authority sha256:"},
		"a guest's certificate":   {ca.issue(t, x509.ExtKeyUsageClientAuth, now.Add(-time.Minute), now.Add(time.Minute)), "is not valid"},
		"expired":                 {ca.issue(t, x509.ExtKeyUsageServerAuth, now.Add(-time.Hour), now.Add(-time.Minute)), "set the clock"},
		"not yet valid":           {ca.issue(t, x509.ExtKeyUsageServerAuth, now.Add(time.Minute), now.Add(time.Hour)), "set the clock"},
		"the authority, borrowed": {borrowed, "is not valid"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DialTLS(t.Context(), serveTLS(t, tc.cert, nil), ClientTLS(PinOf(ca.cert), nil))
			require.ErrorContains(t, err, tc.says)
			assert.Equal(t, errkind.Denied, errkind.Of(err))
			assert.ErrorContains(t, err, "is not trusted")
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	ca := newIssuer(t)
	c := ClientTLS(PinOf(ca.cert), nil)
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	_, err := DialTLS(t.Context(), serveTLS(t, ca.server(t), nil), c)
	require.ErrorContains(t, err, "protocol version")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
}

func TestPins(t *testing.T) {
	ca := newIssuer(t)
	want := PinOf(ca.cert)
	file := filepath.Join(t.TempDir(), "ca.crt")
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), 0o600))
	for _, s := range []string{want.String(), want.String()[len("sha256:"):], file} {
		got, err := ReadPin(s)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for s, kind := range map[string]errkind.Kind{"": errkind.Invalid, "sha256:00": errkind.Invalid, "x": errkind.Invalid, empty: errkind.Invalid, "/no/such/file": errkind.Unavailable} {
		_, err := ReadPin(s)
		assert.Equal(t, kind, errkind.Of(err), s)
	}
}

func TestOneHostCannotTakeAllConnections(t *testing.T) {
	ca := newIssuer(t)
	url := serveTLS(t, ca.server(t), nil)
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	for range maxPerHost {
		c, err := DialTLS(t.Context(), url, ClientTLS(PinOf(ca.cert), nil))
		require.NoError(t, err)
		open = append(open, c)
	}
	_, err := DialTLS(t.Context(), url, ClientTLS(PinOf(ca.cert), nil))
	require.Equal(t, errkind.Unavailable, errkind.Of(err))
	require.NoError(t, open[0].Close())
	require.Eventually(t, func() bool {
		c, err := DialTLS(t.Context(), url, ClientTLS(PinOf(ca.cert), nil))
		if err == nil {
			open = append(open, c)
		}
		return err == nil
	}, 5*time.Second, 10*time.Millisecond, "a connection that ends makes room")
}

func TestTLSOfLooksThroughWrappers(t *testing.T) {
	tc := &TLSConn{}
	got, ok := TLSOf(wrapper{tc})
	assert.True(t, ok)
	assert.Same(t, tc, got)
	_, ok = TLSOf(&net.UnixConn{})
	assert.False(t, ok)
	assert.False(t, tc.Admitted())
	tc.Admit()
	assert.True(t, tc.Admitted())
}

type wrapper struct{ net.Conn }

func (w wrapper) NetConn() net.Conn { return w.Conn }
