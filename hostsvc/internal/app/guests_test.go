package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

const guestTable = "[guest]\nlisten = '127.0.0.1:0'\n"

// csr is a key and a request for a certificate.
func csr(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return key, der
}

// enroll lets a VM in and returns its certificate and the service's pin.
func (s *site) enroll(t *testing.T, vm string) (*tls.Certificate, transport.Pin) {
	t.Helper()
	in, err := s.admin(t).InviteVM(t.Context(), vm, wire.Invite{})
	require.NoError(t, err)
	pin, err := transport.ReadPin(in.CA)
	require.NoError(t, err)
	code, err := invite.Parse(in.Code)
	require.NoError(t, err)
	key, der := csr(t)
	c, err := hostclient.Enroll(t.Context(), in.URL, pin, code, der, hostclient.Options{})
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{c.Certificate}, PrivateKey: key}, pin
}

// certified is a VM on the TLS channel.
func (s *site) certified(t *testing.T, cert *tls.Certificate, pin transport.Pin) *hostclient.Client {
	t.Helper()
	c := hostclient.New(s.d.guestURL(), hostclient.Options{TLS: func() (*tls.Config, error) { return transport.ClientTLS(pin, cert), nil }})
	t.Cleanup(c.Close)
	return c
}

func (s *site) certificateOf(t *testing.T, vm string) string {
	t.Helper()
	all, err := s.admin(t).VMs(t.Context())
	require.NoError(t, err)
	for _, v := range all {
		if v.Name == vm {
			return v.Certificate
		}
	}
	return "no such VM"
}

// One VM, two channels: what it makes on one it finds on the other.
func TestAVMWithACertificateIsThatVM(t *testing.T) {
	s := newSite(t, guestTable+twoVMs).start(t).ready(t)
	cert, pin := s.enroll(t, "vm1")
	c := s.certified(t, cert, pin)
	h, err := c.Hello(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm1", h.VM)
	_, err = c.Create(t.Context(), wire.CreateVolume{Name: "db"})
	require.NoError(t, err)
	_, err = s.guest(t, "vm1").Get(t.Context(), "db")
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(s.certificateOf(t, "vm1"), "until "))
	assert.Empty(t, s.certificateOf(t, "vm2"))

	s.stop()
	<-s.ended
	require.NoError(t, s.err)
	s.start(t).ready(t)
	_, err = s.certified(t, cert, pin).Get(t.Context(), "db")
	require.NoError(t, err, "authority and certificate outlive a restart")

	s.write(t, guestTable+strings.Replace(twoVMs, "vm1", "vm3", 1))
	require.NoError(t, s.d.reload(t.Context()))
	_, err = s.certified(t, cert, pin).Get(t.Context(), "db")
	require.ErrorContains(t, err, "this VM is not known to mooringd any more")
	assert.Equal(t, errkind.Denied, errkind.Of(err))
}

// The doctor tells of VMs that a person must look after.
func TestDoctorKnowsOfRefusedVMs(t *testing.T) {
	s := newSite(t, guestTable+twoVMs).start(t).ready(t)
	cert, pin := s.enroll(t, "vm1")
	old := s.certified(t, cert, pin)
	_, err := old.Hello(t.Context())
	require.NoError(t, err)
	key, der := csr(t)
	next, err := old.Renew(t.Context(), wire.Renew{Request: der})
	require.NoError(t, err)
	_, err = s.certified(t, &tls.Certificate{Certificate: [][]byte{next.Certificate}, PrivateKey: key}, pin).Hello(t.Context())
	require.NoError(t, err)
	_, err = s.certified(t, cert, pin).Hello(t.Context())
	require.ErrorContains(t, err, "copied or reverted")
	assert.Equal(t, "refused: copied or reverted", s.certificateOf(t, "vm1"))
	found, err := s.admin(t).Doctor(t.Context())
	require.NoError(t, err)
	var texts []string
	for _, f := range found {
		texts = append(texts, f.Level+" "+f.Check+": "+f.Remedy)
	}
	assert.Contains(t, texts, "error certificate of VM vm1: a copy of the VM is running, or it was set back: shut the copy down, then run mooring vm enroll vm1")
}

func TestWithoutADoorNobodyEnrols(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	_, err := s.admin(t).InviteVM(t.Context(), "vm1", wire.Invite{})
	require.ErrorContains(t, err, "set guest.listen")
	s.write(t, guestTable+twoVMs)
	require.ErrorContains(t, s.d.reload(t.Context()), "guest cannot change while mooringd runs")
}

func TestWhatVMsAreToldToConnectTo(t *testing.T) {
	s := newSite(t, "[guest]\nlisten = '0.0.0.0:0'\n"+twoVMs).start(t).ready(t)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(s.d.guestURL(), "tls://"))
	require.NoError(t, err)
	assert.NotEqual(t, "0.0.0.0", host)
	assert.NotEqual(t, "0", port)
	told := newSite(t, "[guest]\nlisten = '127.0.0.1:0'\nurl = 'tls://mooring.example:1020'\n"+twoVMs).start(t).ready(t)
	assert.Equal(t, "tls://mooring.example:1020", told.d.guestURL())
}
