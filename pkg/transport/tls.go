package transport

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// Pin names a certificate authority by the SHA-256 of its certificate. A
// channel trusts that authority and no other; the server's name means nothing.
type Pin [sha256.Size]byte

const pinPrefix = "sha256:"

// PinOf is the pin of an authority's certificate.
func PinOf(ca *x509.Certificate) Pin { return sha256.Sum256(ca.Raw) }

// String is the form that ReadPin reads.
func (p Pin) String() string { return pinPrefix + hex.EncodeToString(p[:]) }

// ReadPin takes a pin from its text (sha256: and 64 hexadecimal digits), or
// from a PEM file with the authority's certificate, by its absolute path.
func ReadPin(s string) (p Pin, err error) {
	if strings.HasPrefix(s, "/") {
		data, err := os.ReadFile(s)
		if err != nil {
			return p, errkind.Wrap(errkind.Unavailable, err, "the certificate of the host service's authority cannot be read")
		}
		block, _ := pem.Decode(data)
		if block == nil || block.Type != "CERTIFICATE" {
			return p, errkind.New(errkind.Invalid, "file %s holds no certificate: put there what the host service has in guest-ca.crt", s)
		}
		return sha256.Sum256(block.Bytes), nil
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(s), pinPrefix), ":", ""))
	if err != nil || len(b) != len(p) {
		return p, errkind.New(errkind.Invalid, "fingerprint %q is not valid: write sha256: and 64 hexadecimal digits, or the absolute path of a file with the certificate", s)
	}
	copy(p[:], b)
	return p, nil
}

// ClientTLS is how a client opens a tls:// channel: TLS 1.3, to a server of
// the authority pin, with its own certificate, if it has one.
func ClientTLS(pin Pin, own *tls.Certificate) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		// The name is of no interest; verifyPinned does the rest.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return verifyPinned(s.PeerCertificates, pin) },
	}
	if own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	}
	return c
}

func verifyPinned(chain []*x509.Certificate, pin Pin) error {
	roots := x509.NewCertPool()
	found := false
	for _, c := range chain[1:] {
		if PinOf(c) == pin {
			roots.AddCert(c)
			found = true
		}
	}
	if !found {
		return errkind.New(errkind.Denied, "its certificate is not of the authority %s: correct the address, or the fingerprint if the host service was set up anew", pin)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if bad, ok := errors.AsType[x509.CertificateInvalidError](err); ok && bad.Reason == x509.Expired {
		return errkind.New(errkind.Denied, "its certificate holds from %s to %s, and it is %s here: set the clock", moment(chain[0].NotBefore), moment(chain[0].NotAfter), moment(time.Now()))
	}
	return errkind.Wrap(errkind.Denied, err, "its certificate is not valid")
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// DialTLS connects to a tls:// channel and shakes hands. Kinds are those of
// Dial; a server that is not the pinned one is denied.
func DialTLS(ctx context.Context, url string, c *tls.Config) (*tls.Conn, error) {
	a, err := parse(url)
	if err != nil {
		return nil, err
	}
	if a.network != "tcp" {
		return nil, errkind.New(errkind.Invalid, "channel %q is not valid: it must begin with tls://", url)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, a.network, a.address)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "connect to %s", url)
	}
	tc := tls.Client(conn, c)
	if err := tc.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the error of the handshake is the one to tell
		if refused, ok := errors.AsType[*errkind.Error](err); ok {
			return nil, errkind.Wrap(refused.Kind, refused, "the host service at %s is not trusted", url)
		}
		return nil, errkind.Wrap(errkind.Unavailable, err, "connect to %s", url)
	}
	return tc, nil
}

// bindingLabel and bindingSize are those of RFC 5705 for Binding.
const (
	bindingLabel = "EXPORTER-mooring-enrolment"
	bindingSize  = 32
)

// Binding is a secret of one TLS connection that only its two ends know.
func Binding(s tls.ConnectionState) ([]byte, error) {
	b, err := s.ExportKeyingMaterial(bindingLabel, nil, bindingSize)
	return b, errkind.Wrap(errkind.Internal, err, "keying material of the connection")
}
