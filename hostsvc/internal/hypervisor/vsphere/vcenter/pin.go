package vcenter

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// parseThumbprint takes hex digits, with or without colons.
func parseThumbprint(s string) ([]byte, error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(b) != sha256.Size {
		return nil, errkind.New(errkind.Invalid, "thumbprint %q is not a SHA-256 thumbprint: it has 32 bytes in hex digits, as openssl x509 -noout -fingerprint -sha256 prints them", s)
	}
	return b, nil
}

func thumbprint(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}

// comparePin is denied for another certificate than the pinned one.
func (c *Client) comparePin(cert *x509.Certificate) error {
	sum := sha256.Sum256(cert.Raw)
	if bytes.Equal(sum[:], c.pin) {
		return nil
	}
	return errkind.New(errkind.Denied, "%s shows a certificate with thumbprint %s instead of the pinned %s: if its certificate was renewed, check the new one there and set it as the thumbprint", c.url.Host, thumbprint(sum[:]), thumbprint(c.pin))
}

func authorities(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, errkind.Wrap(errkind.Invalid, err, "CA file %s cannot be read", file)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, errkind.New(errkind.Invalid, "CA file %s holds no certificate: it must be in PEM form", file)
	}
	return pool, nil
}
