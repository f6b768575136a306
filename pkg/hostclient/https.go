package hostclient

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
)

const httpsPrefix = "https://"

// IsHTTPS tells whether a channel is that for people.
func IsHTTPS(channel string) bool { return strings.HasPrefix(channel, httpsPrefix) }

// CheckHTTPS reports whether channel is https://HOST or https://HOST:PORT.
func CheckHTTPS(channel string) error {
	_, _, err := addressOf(channel)
	return err
}

// addressOf is host:port of an https:// channel.
func addressOf(channel string) (address, host string, err error) {
	u, err := url.Parse(channel)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", errkind.New(errkind.Invalid, "%q is not the address of a host service: write https://HOST:PORT", channel)
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "443")), u.Hostname(), nil
}

// Trust is by what a client knows the service on an https:// channel: by
// authorities in PEM, by a certificate that the service shows, or, if it is
// zero, by the authorities of this machine.
type Trust struct {
	CA  string
	Pin string // see transport.Pin
}

// TLS is how a channel is opened to a service that is trusted so.
func (t Trust) TLS() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	switch {
	case t.Pin != "":
		pin, err := transport.ReadPin(t.Pin)
		if err != nil {
			return nil, err
		}
		// The pin says who it is, whatever its name; verifyPin does the rest.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifyPin(s.PeerCertificates, pin) }
	case t.CA != "":
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errkind.New(errkind.Invalid, "there is no certificate of an authority in PEM: give the file https-ca.crt of the host service, or that of your organisation")
		}
	}
	return c, nil
}

// verifyPin checks that a chain is that of the pinned certificate: its first,
// or an authority that issued the first.
func verifyPin(chain []*x509.Certificate, pin transport.Pin) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for i, c := range chain {
		if transport.PinOf(c) == pin {
			roots.AddCert(c)
			found = true
		} else if i > 0 {
			between.AddCert(c)
		}
	}
	if !found {
		return errkind.New(errkind.Denied, "its certificate is not the one that was trusted, %s: somebody may be in between; if the service was set up anew, log in again and compare the fingerprint", pin)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return errkind.Wrap(errkind.Denied, err, "its certificate is not valid")
}

// dialHTTPS opens connections of an https:// channel.
func dialHTTPS(channel string, o Options) func(context.Context) (net.Conn, error) {
	config := o.TLS
	if config == nil {
		config = Trust{}.TLS
	}
	return func(ctx context.Context) (net.Conn, error) {
		c, err := config()
		if err != nil {
			return nil, err
		}
		return handshake(ctx, channel, c)
	}
}

func handshake(ctx context.Context, channel string, c *tls.Config) (*tls.Conn, error) {
	address, host, err := addressOf(channel)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "connect to %s", channel)
	}
	c = c.Clone()
	c.ServerName = host
	tc := tls.Client(conn, c)
	err = tc.HandshakeContext(ctx)
	if err == nil {
		return tc, nil
	}
	_ = conn.Close() // the error of the handshake is the one to tell
	if refused, ok := errors.AsType[*errkind.Error](err); ok {
		return nil, errkind.Wrap(refused.Kind, refused, "the host service at %s is not trusted", channel)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return nil, errkind.Wrap(errkind.Denied, rootCause(err), "the host service at %s is not trusted: log in to it with `mooring login`, which shows its fingerprint, or give its authority with --ca-file", channel)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return nil, errkind.New(errkind.Invalid, "what answers at %s does not speak HTTPS: correct the address or the port", channel)
	}
	return nil, errkind.Wrap(errkind.Unavailable, err, "connect to %s", channel)
}

// Shown is the certificate of a service that a client meets for the first
// time. Pin is of the authority that issued it, if the service shows that, else
// of the certificate itself.
type Shown struct {
	Trusted bool // by the authorities of this machine
	Pin     transport.Pin
	Names   []string
}

// Probe looks who is at an https:// channel. It sends nothing.
func Probe(ctx context.Context, channel string) (Shown, error) {
	c, err := Trust{}.TLS()
	if err != nil {
		return Shown{}, err
	}
	conn, err := handshake(ctx, channel, c)
	if err == nil {
		_ = conn.Close()
		return Shown{Trusted: true}, nil
	}
	if !errkind.Is(err, errkind.Denied) {
		return Shown{}, err
	}
	var shown Shown
	c.InsecureSkipVerify = true // nothing is sent; a person looks at the fingerprint
	c.VerifyConnection = func(s tls.ConnectionState) error {
		shown = shownBy(s.PeerCertificates)
		return nil
	}
	conn, err = handshake(ctx, channel, c)
	if err != nil {
		return Shown{}, err
	}
	_ = conn.Close()
	return shown, nil
}

func shownBy(chain []*x509.Certificate) Shown {
	s := Shown{Pin: transport.PinOf(chain[0]), Names: chain[0].DNSNames}
	for _, ip := range chain[0].IPAddresses {
		s.Names = append(s.Names, ip.String())
	}
	for _, c := range chain[1:] {
		if c.IsCA && verifyPin(chain, transport.PinOf(c)) == nil {
			s.Pin = transport.PinOf(c)
		}
	}
	return s
}

// newJar keeps the cookie of a session.
func newJar() http.CookieJar {
	jar, _ := cookiejar.New(nil) // never fails
	return jar
}
