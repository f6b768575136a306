package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// renew puts a new certificate where an ACME client would, and returns its
// serial number.
func (p *process) renew(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	require.NoError(t, err)
	text, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(p.path("given.crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(p.path("given.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}), 0o600))
	return serial.String()
}

// A certificate that is renewed is shown without a restart and without being
// told; what needs a restart says so, and nothing else changes meanwhile.
func TestRenewedCertificatesAreShown(t *testing.T) {
	t.Parallel()
	p := newProcess(t, nil, "")
	first := p.renew(t)
	text, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	p.write(t, string(text)+"[https]\nlisten = '127.0.0.1:0'\ncert_file = '"+p.path("given.crt")+"'\nkey_file = '"+p.path("given.key")+"'\n")
	p.start(t)
	url := p.url(t)
	shown := func() string {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return err.Error()
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	assert.Equal(t, first, shown())

	require.NoError(t, os.WriteFile(p.path("given.crt"), []byte("half"), 0o600))
	p.signal(t, syscall.SIGHUP)
	p.says(t, "cannot be used: give a certificate with its chain")
	assert.Equal(t, first, shown(), "the old one stays")

	second := p.renew(t)
	require.Eventually(t, func() bool { return shown() == second }, time.Minute, 500*time.Millisecond)

	text, err = os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	p.write(t, string(text)+"url = 'https://elsewhere.example'\n")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "https cannot change while mooringd runs: restart it")
	assert.Equal(t, second, shown())
}
