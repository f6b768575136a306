package enroll_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

func TestAVMIsWhoItsCertificateSays(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrolled("a"), w.enrolled("b")
	assert.Equal(t, "of-a ", a.sees())
	assert.Equal(t, "of-b ", b.sees())
	h, err := a.Hello(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "a", h.VM)
	assert.Regexp(t, "^until 20", w.state("a"))
	assert.Equal(t, 2, w.audited("vm enroll"))
	assert.Equal(t, 2, w.audited("vm enrolled"))
	leaf := a.cert.Leaf
	assert.Equal(t, "mooring://vm/installation-1/"+string(vmIDs["a"]), leaf.URIs[0].String())
	assert.WithinDuration(t, time.Now().Add(7*24*time.Hour), leaf.NotAfter, time.Minute)
	assert.Equal(t, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, leaf.ExtKeyUsage)
}

// The request's own words about who it is are not listened to.
func TestACodeIsForOneVM(t *testing.T) {
	w := newWorld(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: string(vmIDs["b"])},
		URIs:    []*url.URL{{Scheme: "mooring", Host: "vm", Path: "/installation-1/" + string(vmIDs["b"])}},
	}, key)
	require.NoError(t, err)
	c, err := hostclient.Enroll(t.Context(), w.url, w.authority.Pin(), w.invite("a"), der, hostclient.Options{})
	require.NoError(t, err)
	assert.Equal(t, "a", c.Name)
	assert.Equal(t, "of-a ", w.holder(c, key).sees())
}

func TestCodesThatDoNotCount(t *testing.T) {
	const says = "this code is not valid: it was used, has expired, or was never given"
	w := newWorld(t)
	refused := func(code invite.Code, why string) {
		t.Helper()
		_, err := w.enrollWith(code)
		require.ErrorContains(t, err, says, why)
		assert.Equal(t, errkind.Denied, errkind.Of(err))
	}
	refused(invite.New(), "never given")

	used := w.invite("a")
	_, err := w.enrollWith(used)
	require.NoError(t, err)
	refused(used, "replayed")

	first := w.invite("a")
	second := w.invite("a")
	refused(first, "a newer one was made")
	_, err = w.enrollWith(second)
	require.NoError(t, err)

	late := w.invite("b")
	assert.Contains(t, w.state("b"), "invited until")
	w.pass(enroll.CodeLife)
	refused(late, "expired")
	assert.Empty(t, w.state("b"))

	revoked := w.invite("a")
	require.NoError(t, w.guests.Revoke(t.Context(), admin, "a"))
	refused(revoked, "revoked")
}

// Whoever has overheard an enrolment has nothing.
func TestAProofIsOfNoUseElsewhere(t *testing.T) {
	w := newWorld(t)
	code := w.invite("a")
	mine, err := transport.DialTLS(t.Context(), w.url, transport.ClientTLS(w.authority.Pin(), nil))
	require.NoError(t, err)
	defer mine.Close()
	binding, err := transport.Binding(mine.ConnectionState())
	require.NoError(t, err)
	_, der := request(t)
	overheard := wire.Enroll{Code: code.ID(), Proof: invite.Prove(code.Verifier(), binding, der), Request: der}

	thief := hostclient.NewStranger(w.url, hostclient.Options{TLS: func() (*tls.Config, error) { return transport.ClientTLS(w.authority.Pin(), nil), nil }})
	defer thief.Close()
	_, err = thief.Enroll(t.Context(), overheard)
	require.Equal(t, errkind.Denied, errkind.Of(err), "on another connection")
	_, err = w.enrollWith(code)
	require.NoError(t, err, "and the code is as good as before")
}

func TestACodeDiesOfGuessing(t *testing.T) {
	w := newWorld(t)
	code := w.invite("a")
	thief := hostclient.NewStranger(w.url, hostclient.Options{TLS: func() (*tls.Config, error) { return transport.ClientTLS(w.authority.Pin(), nil), nil }})
	defer thief.Close()
	_, der := request(t)
	for range 5 {
		_, err := thief.Enroll(t.Context(), wire.Enroll{Code: code.ID(), Proof: make([]byte, 32), Request: der})
		require.Equal(t, errkind.Denied, errkind.Of(err))
	}
	_, err := w.enrollWith(code)
	require.Equal(t, errkind.Denied, errkind.Of(err))
	assert.Equal(t, 1, w.audited("vm enrolled"), "which is written down")
}

func TestStrangersAreLimited(t *testing.T) {
	w := newWorld(t)
	var last error
	for range 30 {
		_, last = w.enrollWith(invite.New())
	}
	require.ErrorContains(t, last, "too many requests")
	assert.Equal(t, errkind.Unavailable, errkind.Of(last))
	w.pass(time.Minute)
	_, err := w.enrollWith(w.invite("a"))
	require.NoError(t, err)
}

// One code is one certificate, however many ask at once.
func TestACodeIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	code := w.invite("a")
	var good atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, err := w.enrollWith(code); err == nil {
				good.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, good.Load())
}

// A copy has the same certificate. Whichever of the two renews first goes on;
// the other is refused when it comes back, and the VM is marked.
func TestACopyIsRefusedOnceTheOriginalRenewed(t *testing.T) {
	w := newWorld(t)
	original := w.enrolled("a")
	assert.Equal(t, "of-a ", original.sees())
	clone := original.copy()

	next := original.renewed()
	assert.Equal(t, "of-a ", clone.sees(), "the new one has not been used")
	fresh := original.copy()
	assert.Equal(t, "of-a ", next.sees())
	fresh.refused("the VM was copied or reverted; shut the copy down")
	assert.Equal(t, enroll.Refused, w.state("a"))
	assert.Equal(t, 1, w.audited("vm refused"))
	original.copy().refused("copied or reverted")
	assert.Equal(t, 1, w.audited("vm refused"), "once")
	assert.Equal(t, "of-a ", next.sees(), "the holder of the newest goes on")
	_, err := original.Renew(t.Context(), wire.Renew{})
	require.Error(t, err, "and a connection from before cannot renew")

	again := w.enrolled("a")
	next.refused("was ended by a later enrolment")
	assert.Equal(t, "of-a ", again.sees())
	assert.Regexp(t, "^until", w.state("a"), "enrolling anew settles it")
}

// A VM that is set back to an earlier state shows its old certificate.
func TestARevertedVMIsRefused(t *testing.T) {
	w := newWorld(t)
	before := w.enrolled("a")
	before.sees()
	after := before.renewed()
	after.sees()
	reverted := before.copy()
	reverted.refused("copied or reverted")
	assert.Equal(t, enroll.Refused, w.state("a"))
}

// A renewal whose answer is lost is repeated; nobody is locked out.
func TestALostRenewalIsRepeated(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	a.sees()
	lost := a.renewed()
	next := a.copy().renewed()
	assert.Equal(t, "of-a ", next.sees())
	assert.Equal(t, 2, w.audited("vm renewed"))
	lost.refused("is not in the catalog")
	assert.Equal(t, "of-a ", next.sees())
}

func TestRevocationHoldsAtOnce(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrolled("a"), w.enrolled("b")
	assert.Equal(t, "of-a ", a.sees())
	require.NoError(t, w.guests.Revoke(t.Context(), admin, "a"))
	a.refused("the certificate of this VM was revoked: enrol it again with `mooring vm enroll a`") // on the same connection
	_, der := request(t)
	_, err := a.Renew(t.Context(), wire.Renew{Request: der})
	require.ErrorContains(t, err, "was revoked")
	require.NoError(t, w.guests.Revoke(t.Context(), admin, "a"), "again")
	assert.Equal(t, "revoked", w.state("a"))
	assert.Equal(t, "of-b ", b.sees())
	assert.Equal(t, "of-a ", w.enrolled("a").sees())
	a.refused("was ended by a later enrolment")
}

func TestOldCertificatesExpire(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	assert.Equal(t, "of-a ", a.sees())
	w.pass(7*24*time.Hour + time.Minute)
	a.refused("has expired on ")
	a.copy().refused("has expired on ")
	_, der := request(t)
	_, err := a.Renew(t.Context(), wire.Renew{Request: der})
	require.ErrorContains(t, err, "has expired on ")
	assert.Equal(t, enroll.Expired, w.state("a"))
	w.pass(-10 * 24 * time.Hour)
	assert.Equal(t, "of-a ", a.copy().sees(), "a clock that was wrong may be set back")
}

// The certificate says which VM it is; whose the VM is, the catalog says.
func TestAVMThatMovesSeesItsNewGroup(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	assert.Equal(t, "of-a ", a.sees())
	require.NoError(t, w.tenants.RemoveVMs(t.Context(), admin, "a", []string{"a"}))
	require.NoError(t, w.tenants.AddVMs(t.Context(), admin, "b", []string{"a"}))
	assert.Equal(t, "of-b ", a.sees())
}

func TestAVMThatIsGoneIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	assert.Equal(t, "of-a ", a.sees())
	w.hv.RemoveVM(vmIDs["a"])
	a.refused("not known to mooringd any more")
	require.NoError(t, w.guests.Revoke(t.Context(), admin, "a"), "by the name it had")
	_, err := w.guests.Invite(t.Context(), admin, "a", false)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
}

// forged makes a certificate that looks like one of a VM.
func forged(t *testing.T, issuer *x509.Certificate, by *ecdsa.PrivateKey, installation string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(7), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:        []*url.URL{{Scheme: "mooring", Host: "vm", Path: "/" + installation + "/" + string(vmIDs["a"])}},
	}
	if issuer == nil {
		issuer, by = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, key.Public(), by)
	require.NoError(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestForeignCertificatesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.enrolled("a").sees()
	w.with(forged(t, nil, nil, "installation-1")).refused("was not issued by this mooringd")

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	other := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Mooring installation-1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	w.with(forged(t, other, key, "installation-1")).refused("was not issued by this mooringd")

	another := newWorld(t)
	theirs := another.enrolled("a")
	theirs.sees()
	w.with(theirs.cert).refused("was not issued by this mooringd")

	server, err := w.authority.Server()
	require.NoError(t, err)
	w.with(server).refused("was not issued by this mooringd") // of the authority, but of no VM
}

// The catalog decides, not the signature: a certificate that the authority
// signed and the catalog does not know, as after a catalog was restored from
// an old copy, is refused.
func TestACertificateThatTheCatalogForgotIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	require.NoError(t, w.store.Update(t.Context(), func(tx enroll.Tx) error {
		return tx.DeleteGuestCertificate(a.cert.Leaf.SerialNumber.Text(16))
	}))
	a.refused("is not in the catalog: enrol it again")
}

func TestWithoutACertificateThereIsNothing(t *testing.T) {
	w := newWorld(t)
	nobody := w.with(nil)
	_, err := nobody.List(t.Context())
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = nobody.Hello(t.Context())
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = nobody.Renew(t.Context(), wire.Renew{})
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	cert := w.enrolled("a").cert
	stranger := hostclient.NewStranger(w.url, hostclient.Options{TLS: func() (*tls.Config, error) {
		return transport.ClientTLS(w.authority.Pin(), cert), nil
	}})
	defer stranger.Close()
	_, err = stranger.Enroll(t.Context(), wire.Enroll{})
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "nor does a VM with one find what is for strangers")
}

func TestOldTLSIsRefused(t *testing.T) {
	w := newWorld(t)
	a := w.enrolled("a")
	c := transport.ClientTLS(w.authority.Pin(), a.cert)
	c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	_, err := transport.DialTLS(t.Context(), w.url, c)
	require.ErrorContains(t, err, "protocol version")
}

func TestBadRequestsForCertificates(t *testing.T) {
	w := newWorld(t)
	for name, der := range map[string][]byte{"nothing": nil, "noise": []byte("noise"), "of another kind of key": otherRequest(t)} {
		_, err := hostclient.Enroll(t.Context(), w.url, w.authority.Pin(), w.invite("a"), der, hostclient.Options{})
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
	}
	_, err := w.enrollWith(w.invite("a"))
	require.NoError(t, err)
}
