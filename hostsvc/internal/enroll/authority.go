package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
)

// Files of an authority in the state directory. The key lies in the clear, as
// the master key does that could encrypt it, readable for its owner only.
const (
	keyFile  = "guest-ca.key"
	certFile = "guest-ca.crt"
)

// How long certificates hold, and how far they reach back for clocks that
// are slow.
const (
	authorityLife = 20 * 365 * 24 * time.Hour
	serverLife    = 90 * 24 * time.Hour
	serverBack    = 30 * 24 * time.Hour
	clientBack    = time.Hour
)

// Authority issues the certificates of one installation. It is safe for
// concurrent use.
type Authority struct {
	installation string
	cert         *x509.Certificate
	key          *ecdsa.PrivateKey
	roots        *x509.CertPool

	mu     sync.Mutex // guards server
	server *tls.Certificate
}

// OpenAuthority reads the authority in dir, or makes it if there is none. An
// authority of which a part is missing or damaged is corrupt: a new one would
// be one that no VM trusts.
func OpenAuthority(dir, installation string) (*Authority, error) {
	keyPath, certPath := filepath.Join(dir, keyFile), filepath.Join(dir, certFile)
	text, err := secret.ReadFile(keyPath, "the key of the authority for VMs")
	if errkind.Is(err, errkind.NotFound) {
		if _, serr := os.Stat(certPath); !errors.Is(serr, fs.ErrNotExist) {
			return nil, errkind.New(errkind.Corrupt, "the key of the authority for VMs is gone, but its certificate is there: put %s back from a copy, or remove %s and enrol all VMs again", keyPath, certPath)
		}
		return makeAuthority(keyPath, certPath, installation)
	}
	if err != nil {
		return nil, err
	}
	damaged := func(err error) error {
		return errkind.Wrap(errkind.Corrupt, err, "the authority for VMs cannot be used: put %s back from a copy, or remove it and %s and enrol all VMs again", keyPath, certPath)
	}
	// Both are in the file of the key; the other file is for people.
	keyBlock, rest := pem.Decode([]byte(text.Reveal()))
	certBlock, _ := pem.Decode(rest)
	if keyBlock == nil || certBlock == nil {
		return nil, damaged(errors.New("it is not a key and a certificate in PEM"))
	}
	key, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, damaged(err)
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, damaged(err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, damaged(errors.New("key and certificate do not belong together"))
	}
	return newAuthority(installation, cert, key), nil
}

func newAuthority(installation string, cert *x509.Certificate, key *ecdsa.PrivateKey) *Authority {
	a := &Authority{installation: installation, cert: cert, key: key, roots: x509.NewCertPool()}
	a.roots.AddCert(cert)
	return a
}

func makeAuthority(keyPath, certPath, installation string) (*Authority, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "Mooring " + installation},
		NotBefore: now.Add(-serverBack), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "make the authority for VMs")
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "make the authority for VMs")
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "make the authority for VMs")
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	both := append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), public...)
	// The key first: with it alone the authority is whole.
	err = errors.Join(durable.WriteFile(keyPath, both, 0o600), durable.WriteFile(certPath, public, 0o644))
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the authority for VMs cannot be written to %s: check the folder and its free space", filepath.Dir(keyPath))
	}
	return newAuthority(installation, cert, key), nil
}

func newKey() (*ecdsa.PrivateKey, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return k, errkind.Wrap(errkind.Internal, err, "make a key")
}

// newSerial is a random positive number of 127 bits.
func newSerial() *big.Int {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b)
}

// Pin is what clients know the authority by.
func (a *Authority) Pin() transport.Pin { return transport.PinOf(a.cert) }

// Server is the certificate of the service itself. It is made anew when a
// third of its life is left.
func (a *Authority) Server() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); a.server == nil || a.server.Leaf.NotAfter.Sub(now) < serverLife/3 {
		key, err := newKey()
		if err != nil {
			return nil, err
		}
		leaf, err := a.sign(&x509.Certificate{
			SerialNumber: newSerial(), Subject: pkix.Name{CommonName: "mooringd"},
			NotBefore: now.Add(-serverBack), NotAfter: now.Add(serverLife),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, key.Public())
		if err != nil {
			return nil, err
		}
		a.server = &tls.Certificate{Certificate: [][]byte{leaf.Raw, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	}
	return a.server, nil
}

// issue makes a VM's certificate for the key in a request; whatever else the
// request says is ignored.
func (a *Authority) issue(request []byte, vm volspec.VMID, now time.Time, life time.Duration) (*x509.Certificate, error) {
	r, err := x509.ParseCertificateRequest(request)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, errkind.Wrap(errkind.Invalid, err, "the certificate request is not valid")
	}
	if k, ok := r.PublicKey.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, errkind.New(errkind.Invalid, "the certificate request is not valid: its key must be of type ECDSA P-256")
	}
	return a.sign(&x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: string(vm)}, URIs: []*url.URL{a.uri(vm)},
		NotBefore: now.Add(-clientBack), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, r.PublicKey)
}

func (a *Authority) sign(template *x509.Certificate, public any) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "issue a certificate")
	}
	c, err := x509.ParseCertificate(der)
	return c, errkind.Wrap(errkind.Internal, err, "issue a certificate")
}

// uri names a VM of this installation.
func (a *Authority) uri(vm volspec.VMID) *url.URL {
	return &url.URL{Scheme: "mooring", Host: "vm", Path: "/" + a.installation + "/" + string(vm)}
}

// identify takes the VM and the serial from a client's certificate, which
// must be one that this authority issued to a VM. Its time is not looked at.
func (a *Authority) identify(chain []*x509.Certificate) (vm volspec.VMID, serial string, err error) {
	leaf := chain[0]
	_, err = leaf.Verify(x509.VerifyOptions{Roots: a.roots, CurrentTime: leaf.NotAfter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return "", "", errkind.Wrap(errkind.Denied, err, "the certificate of this VM was not issued by this mooringd: enrol it here with `mooring vm enroll`")
	}
	if len(leaf.URIs) == 1 {
		prefix := a.uri("").String()
		if id, ok := strings.CutPrefix(leaf.URIs[0].String(), prefix); ok && id != "" {
			return volspec.VMID(id), leaf.SerialNumber.Text(16), nil
		}
	}
	return "", "", errkind.New(errkind.Denied, "the certificate of this VM is of another installation of mooringd: enrol it here with `mooring vm enroll`")
}
