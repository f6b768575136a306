package vcenter

import (
	"crypto/sha1" //nolint:gosec // vSphere names certificates of hosts so
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

func leaseClient(t *testing.T) *Client {
	t.Helper()
	c, err := New(Options{
		URL: "https://esx.example:8443", User: "root", Password: func() (string, error) { return "", nil },
		Thumbprint: strings.Repeat("AB:", 31) + "AB",
	})
	require.NoError(t, err)
	return c
}

func TestHostsOfDisksAreKnownByTheirThumbprints(t *testing.T) {
	c := leaseClient(t)
	raw := []byte("certificate")
	one, two := sha1.Sum(raw), sha256.Sum256(raw) //nolint:gosec // see above
	for name, test := range map[string]struct {
		thumbprint string
		shown      []byte
		ok         bool
	}{
		"SHA-1":              {hex.EncodeToString(one[:]), raw, true},
		"upper case":         {strings.ToUpper(hex.EncodeToString(one[:])), raw, true},
		"SHA-256":            {hex.EncodeToString(two[:]), raw, true},
		"another":            {hex.EncodeToString(one[:]), []byte("other"), false},
		"of vCenter, not it": {"", raw, false},
	} {
		conf, err := c.tlsOf(test.thumbprint)
		require.NoError(t, err, name)
		err = conf.VerifyConnection(tls.ConnectionState{ServerName: "esx", PeerCertificates: []*x509.Certificate{{Raw: test.shown}}})
		if test.ok {
			assert.NoError(t, err, name)
		} else {
			assert.Equal(t, errkind.Denied, errkind.Of(err), name)
		}
		assert.Error(t, conf.VerifyConnection(tls.ConnectionState{}), name)
	}
	for _, bad := range []string{"no hex", "abcd"} {
		_, err := c.tlsOf(bad)
		assert.Equal(t, errkind.Denied, errkind.Of(err), bad)
	}
}

func TestAnESXiHostWritesAStarForItself(t *testing.T) {
	c := leaseClient(t)
	for from, to := range map[string]string{
		"https://*/nfc/1/disk-0.vmdk":             "https://esx.example:8443/nfc/1/disk-0.vmdk",
		"https://*:443/nfc/1/disk-0.vmdk":         "https://esx.example:8443/nfc/1/disk-0.vmdk",
		"https://esx-2.example/nfc/1/disk-0.vmdk": "https://esx-2.example/nfc/1/disk-0.vmdk",
	} {
		got, err := c.hostOf(from)
		require.NoError(t, err)
		assert.Equal(t, to, got)
	}
	_, err := c.hostOf("https://a b/%zz")
	assert.Error(t, err)
}
