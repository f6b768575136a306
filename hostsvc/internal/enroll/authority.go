package enroll

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/ca"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
)

// clientBack is how far certificates of VMs reach back for clocks that are
// slow.
const clientBack = time.Hour

// Authority issues the certificates of one installation's VMs. It is safe for
// concurrent use.
type Authority struct {
	installation string
	own          *ca.Authority
	server       *ca.Server
	roots        *x509.CertPool
}

// OpenAuthority reads the authority in dir, or makes it if there is none. An
// authority of which a part is missing or damaged is corrupt: a new one would
// be one that no VM trusts.
func OpenAuthority(dir, installation string) (*Authority, error) {
	own, err := ca.Open(ca.Options{Dir: dir, Name: "guest-ca", Subject: "Mooring " + installation, What: "the authority for VMs", Lost: "enrol all VMs again"})
	if err != nil {
		return nil, err
	}
	a := &Authority{installation: installation, own: own, server: ca.NewServer(own, "", nil), roots: x509.NewCertPool()}
	a.roots.AddCert(own.Certificate())
	return a, nil
}

// Pin is what clients know the authority by.
func (a *Authority) Pin() transport.Pin { return transport.PinOf(a.own.Certificate()) }

// Server is the certificate of the service itself.
func (a *Authority) Server() (*tls.Certificate, error) { return a.server.Certificate() }

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
	return a.own.Sign(&x509.Certificate{
		SerialNumber: ca.NewSerial(), Subject: pkix.Name{CommonName: string(vm)}, URIs: []*url.URL{a.uri(vm)},
		NotBefore: now.Add(-clientBack), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, r.PublicKey)
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
