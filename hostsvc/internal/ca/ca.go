// Package ca holds the certificates of one installation: authorities that it
// makes for itself, the server certificates they issue, and those that an
// operator brings.
package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// How long certificates hold, and how far they reach back for clocks that
// are slow.
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	serverLife    = 90 * 24 * time.Hour
	serverBack    = 30 * 24 * time.Hour
)

// Options say which authority it is.
type Options struct {
	Dir     string // where its files lie
	Name    string // of its files: NAME.key, for nobody else, and NAME.crt, for people
	Subject string // of its certificate
	What    string // for messages: the authority for VMs
	Lost    string // what must be done when its key is lost: enrol all VMs again
}

// Authority is a certificate authority. Its key lies in the clear, as the
// master key does that could encrypt it, readable for its owner only. It is
// safe for concurrent use.
type Authority struct {
	o    Options
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open reads an authority, or makes it if there is none. One of which a part is
// missing or damaged is corrupt: a new one would be one that nobody trusts.
func Open(o Options) (*Authority, error) {
	keyPath, certPath := filepath.Join(o.Dir, o.Name+".key"), filepath.Join(o.Dir, o.Name+".crt")
	text, err := secret.ReadFile(keyPath, "the key of "+o.What)
	if errkind.Is(err, errkind.NotFound) {
		if _, serr := os.Stat(certPath); !errors.Is(serr, fs.ErrNotExist) {
			return nil, errkind.New(errkind.Corrupt, "the key of %s is gone, but its certificate is there: put %s back from a copy, or remove %s and %s", o.What, keyPath, certPath, o.Lost)
		}
		return create(o, keyPath, certPath)
	}
	if err != nil {
		return nil, err
	}
	damaged := func(err error) error {
		return errkind.Wrap(errkind.Corrupt, err, "%s cannot be used: put %s back from a copy, or remove it and %s and %s", o.What, keyPath, certPath, o.Lost)
	}
	// Both are in the file of the key; the other file is for people.
	key, chain, err := decode([]byte(text.Reveal()))
	if err != nil {
		return nil, damaged(err)
	}
	a := &Authority{o: o, cert: chain[0], key: key}
	if _, err := os.Stat(certPath); errors.Is(err, fs.ErrNotExist) {
		if err := a.publish(certPath); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func create(o Options, keyPath, certPath string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: NewSerial(), Subject: pkix.Name{CommonName: o.Subject},
		NotBefore: now.Add(-serverBack), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &Authority{o: o, cert: template, key: key}
	if a.cert, err = a.Sign(template, key.Public()); err != nil {
		return nil, err
	}
	both, err := encode(key, a.cert)
	if err != nil {
		return nil, err
	}
	// The key first: with it alone the authority is whole.
	crashpoint.Here("ca.create.made")
	if err := durable.WriteFile(keyPath, both, 0o600); err != nil {
		return nil, a.unwritten(err)
	}
	crashpoint.Here("ca.create.key")
	if err := a.publish(certPath); err != nil {
		return nil, err
	}
	crashpoint.Here("ca.create.certificate")
	return a, nil
}

// publish writes the certificate for people.
func (a *Authority) publish(path string) error {
	return a.unwritten(durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o644))
}

func (a *Authority) unwritten(err error) error {
	return errkind.Wrap(errkind.Unavailable, err, "%s cannot be written to %s: check the folder and its free space", a.o.What, a.o.Dir)
}

// Certificate is the authority's own.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Sign issues a certificate for a public key.
func (a *Authority) Sign(template *x509.Certificate, public any) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "issue a certificate")
	}
	c, err := x509.ParseCertificate(der)
	return c, errkind.Wrap(errkind.Internal, err, "issue a certificate")
}

func newKey() (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return k, errkind.Wrap(errkind.Internal, err, "make a key")
}

// NewSerial is a random positive number of 127 bits.
func NewSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// encode is a key and its certificate in PEM.
func encode(key *ecdsa.PrivateKey, chain ...*x509.Certificate) ([]byte, error) {
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "write down a key")
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	for _, c := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return text, nil
}

// decode is the inverse. The first certificate is that of the key.
func decode(text []byte) (*ecdsa.PrivateKey, []*x509.Certificate, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, nil, errNotPEM
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return nil, nil, err
	}
	var chain []*x509.Certificate
	for block, rest = pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, nil, errNotPEM
	}
	if !key.PublicKey.Equal(chain[0].PublicKey) {
		return nil, nil, errors.New("key and certificate do not belong together")
	}
	return key, chain, nil
}

var errNotPEM = errors.New("it is not a key and a certificate in PEM")
