package ca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// Server is a server certificate of an authority. It is made anew when a third
// of its life is left. It is safe for concurrent use.
type Server struct {
	authority *Authority
	path      string
	names     []string
	now       func() time.Time

	mu   sync.Mutex // guards cert
	cert *tls.Certificate
}

// NewServer makes the certificate for names: host names and addresses, none
// where clients do not look at them. It is kept in the file path, so that
// whoever has come to trust it does so after a restart; "" keeps it in memory.
func NewServer(a *Authority, path string, names []string) *Server {
	return &Server{authority: a, path: path, names: names, now: time.Now}
}

// Certificate is the one to show now.
func (s *Server) Certificate() (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cert == nil && s.path != "" {
		s.cert = s.read()
	}
	if s.fresh(s.cert) {
		return s.cert, nil
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: NewSerial(), Subject: pkix.Name{CommonName: "mooringd"},
		NotBefore: s.now().Add(-serverBack), NotAfter: s.now().Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range s.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	leaf, err := s.authority.Sign(template, key.Public())
	if err != nil {
		return nil, err
	}
	s.cert = &tls.Certificate{Certificate: [][]byte{leaf.Raw, s.authority.cert.Raw}, PrivateKey: key, Leaf: leaf}
	if s.path != "" {
		text, err := encode(key, leaf)
		if err == nil {
			err = durable.WriteFile(s.path, text, 0o600)
		}
		if err != nil { // it serves from memory
			log.G(context.Background()).WithField(log.Err, err.Error()).Warn("the certificate of the service cannot be kept: the next start makes another one")
		}
	}
	return s.cert, nil
}

// read takes the certificate from its file. One that is absent or damaged is
// worth nothing: nil.
func (s *Server) read() *tls.Certificate {
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil
	}
	key, chain, err := decode(text)
	if err != nil || chain[0].CheckSignatureFrom(s.authority.cert) != nil {
		return nil
	}
	return &tls.Certificate{Certificate: [][]byte{chain[0].Raw, s.authority.cert.Raw}, PrivateKey: key, Leaf: chain[0]}
}

// fresh tells whether c is for the names and holds for long enough.
func (s *Server) fresh(c *tls.Certificate) bool {
	if c == nil || c.Leaf.NotAfter.Sub(s.now()) < serverLife/3 || s.now().Before(c.Leaf.NotBefore) {
		return false
	}
	return !slices.ContainsFunc(s.names, func(n string) bool { return c.Leaf.VerifyHostname(n) != nil })
}

// givenPause is between two looks at the files of a given certificate.
const givenPause = 10 * time.Second

// Given is a server certificate that somebody else issues. It is read again
// when its files change. It is safe for concurrent use.
type Given struct {
	cert, key string

	mu     sync.Mutex // guards the rest
	shown  *tls.Certificate
	looked time.Time
	seen   [2]stamp
}

// stamp tells one content of a file from another.
type stamp struct {
	size int64
	time time.Time
}

// OpenGiven reads a certificate with its chain, and its key, both in PEM.
func OpenGiven(cert, key string) (*Given, error) {
	g := &Given{cert: cert, key: key}
	return g, g.Reload()
}

// Reload reads the files now. On error the certificate stays that was there.
func (g *Given) Reload() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.read()
}

func (g *Given) read() error {
	seen := g.stamps()
	c, err := LoadPair(g.cert, g.key)
	g.seen, g.looked = seen, time.Now()
	if err != nil {
		return err
	}
	g.shown = &c
	return nil
}

// LoadPair reads a certificate and its key.
func LoadPair(cert, key string) (tls.Certificate, error) {
	c, err := tls.LoadX509KeyPair(cert, key)
	return c, errkind.Wrap(errkind.Invalid, err, "the certificate %s with the key %s cannot be used: give a certificate with its chain and the key that belongs to it, both in PEM", cert, key)
}

// Certificate is the one to show now.
func (g *Given) Certificate() (*tls.Certificate, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.looked) > givenPause {
		g.looked = time.Now()
		if g.stamps() != g.seen {
			if err := g.read(); err != nil {
				log.G(context.Background()).WithField(log.Err, err.Error()).Error("the certificate was changed and cannot be used: the old one stays")
			}
		}
	}
	return g.shown, nil
}

func (g *Given) stamps() (s [2]stamp) {
	for i, path := range []string{g.cert, g.key} {
		if st, err := os.Stat(path); err == nil {
			s[i] = stamp{st.Size(), st.ModTime()}
		}
	}
	return s
}
