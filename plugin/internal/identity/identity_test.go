package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a host service that knows one code and issues certificates.
type service struct {
	t    *testing.T
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	code invite.Code
	url  string

	mu     sync.Mutex
	issued int
	refuse error
	life   time.Duration
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{t: t, code: invite.New(), life: time.Hour}
	var err error
	s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s.ca = s.sign(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, s.key.Public())
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf := s.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, serverKey.Public())
	cert := &tls.Certificate{Certificate: [][]byte{leaf.Raw, s.ca.Raw}, PrivateKey: serverKey}
	l, err := transport.ListenTLS(t.Context(), "127.0.0.1:0", func() (*tls.Certificate, error) { return cert, nil })
	require.NoError(t, err)
	s.url = "tls://" + l.Addr().String()
	srv := &http.Server{Handler: http.HandlerFunc(s.answer), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, service{}, c)
	}}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, srv.Close())
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return s
}

func (s *service) sign(tmpl *x509.Certificate, public any) *x509.Certificate {
	tmpl.SerialNumber, tmpl.NotBefore, tmpl.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := s.ca
	if parent == nil {
		parent = tmpl
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, public, s.key)
	if !assert.NoError(s.t, err) {
		return nil
	}
	c, err := x509.ParseCertificate(der)
	assert.NoError(s.t, err)
	return c
}

// answer is the service's end of both calls.
func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	conn, _ := transport.TLSOf(r.Context().Value(service{}).(net.Conn))
	binding, err := transport.Binding(conn.ConnectionState())
	assert.NoError(s.t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	var request []byte
	refuse := s.refuse
	if strings.HasSuffix(r.URL.Path, "/enroll") {
		var in wire.Enroll
		assert.NoError(s.t, json.NewDecoder(r.Body).Decode(&in))
		if in.Code != s.code.ID() || !invite.Verify(s.code.Verifier(), binding, in.Request, in.Proof) {
			refuse = errkind.New(errkind.Denied, "this code is not valid")
		}
		request = in.Request
	} else {
		var in wire.Renew
		assert.NoError(s.t, json.NewDecoder(r.Body).Decode(&in))
		request = in.Request
	}
	if refuse != nil {
		w.WriteHeader(errkind.Of(refuse).HTTPStatus())
		assert.NoError(s.t, json.NewEncoder(w).Encode(wire.Problem{Kind: string(errkind.Of(refuse)), Detail: refuse.Error()}))
		return
	}
	csr, err := x509.ParseCertificateRequest(request)
	assert.NoError(s.t, err)
	s.issued++
	c := s.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, csr.PublicKey)
	assert.NoError(s.t, json.NewEncoder(w).Encode(wire.Certificate{Certificate: c.Raw, Authority: s.ca.Raw, Name: "vm", Expires: time.Now().Add(s.life), RenewAfter: time.Now().Add(s.life * 2 / 3)}))
}

func (s *service) count() int { s.mu.Lock(); defer s.mu.Unlock(); return s.issued }

func (s *service) set(f func()) { s.mu.Lock(); defer s.mu.Unlock(); f() }

// guest is a VM with a place for invitations.
type guest struct {
	s    *service
	file string
	o    Options
}

func newGuest(s *service) *guest {
	g := &guest{s: s, file: filepath.Join(s.t.TempDir(), "enroll")}
	g.o = Options{URL: s.url, Dir: s.t.TempDir(), CA: transport.PinOf(s.ca).String(), Boot: "boot 1", Invitation: File(g.file), Place: g.file, Every: 5 * time.Millisecond}
	return g
}

func (g *guest) put(text string) { require.NoError(g.s.t, os.WriteFile(g.file, []byte(text), 0o600)) }

// open opens the state and runs it; stop ends that.
func (g *guest) open() (i *Identity, changes *atomic.Int32, stop func()) {
	t := g.s.t
	i, err := Open(g.o)
	require.NoError(t, err)
	client := hostclient.New(g.s.url, hostclient.Options{TLS: i.TLS})
	ctx, cancel := context.WithCancel(t.Context())
	done, changes := make(chan error, 1), &atomic.Int32{}
	go func() { done <- i.Run(ctx, client, func() { changes.Add(1); client.Reconnect() }) }()
	stop = sync.OnceFunc(func() { cancel(); assert.NoError(t, <-done); client.Close() })
	t.Cleanup(stop)
	return i, changes, stop
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, 10*time.Second, 2*time.Millisecond, what)
}

func enrolled(i *Identity) bool { _, err := i.TLS(); return err == nil }

func TestAnInvitationIsWaitedForAndTaken(t *testing.T) {
	g := newGuest(newService(t))
	i, changes, stop := g.open()
	_, err := i.TLS()
	require.ErrorContains(t, err, "this VM is not enrolled at the host service: run `mooring vm enroll` for it there, and put the code into "+g.file)
	assert.Equal(t, errkind.Denied, errkind.Of(err))
	g.put(g.s.code.Reveal() + "\n")
	eventually(t, "enrolled", func() bool { return enrolled(i) && changes.Load() == 1 })
	st, err := os.Stat(statePath(g.o.Dir))
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, st.Mode().Perm())
	stop()

	again, _, _ := g.open()
	assert.True(t, enrolled(again), "at once, from the state")
	time.Sleep(50 * time.Millisecond)
	assert.Equal(t, 1, g.s.count(), "the code in the file is the one that was used")
}

func TestTheHypervisorsInvitationBringsTheAuthority(t *testing.T) {
	g := newGuest(newService(t))
	g.o.CA = ""
	i, _, stop := g.open()
	g.put(g.s.code.Reveal())
	eventually(t, "the reason", func() bool { _, err := i.TLS(); return strings.Contains(err.Error(), "MOORING_CA is not set") })
	text, err := json.Marshal(invite.Invitation{URL: g.s.url, CA: transport.PinOf(g.s.ca).String(), Code: g.s.code.Reveal()})
	require.NoError(t, err)
	g.put(string(text))
	eventually(t, "enrolled", func() bool { return enrolled(i) })
	stop()
	again, _, _ := g.open()
	assert.True(t, enrolled(again), "the authority is remembered")
}

func TestRefusedInvitationsAreNotRepeated(t *testing.T) {
	g := newGuest(newService(t))
	i, _, _ := g.open()
	g.put(invite.New().Reveal())
	eventually(t, "the reason", func() bool {
		_, err := i.TLS()
		return err != nil && strings.Contains(err.Error(), "(the last attempt: this code is not valid)")
	})
	g.put("no code")
	eventually(t, "the reason", func() bool { _, err := i.TLS(); return strings.Contains(err.Error(), "five words") })
	require.NoError(t, os.Chmod(g.file, 0o644))
	eventually(t, "the reason", func() bool { _, err := i.TLS(); return strings.Contains(err.Error(), "chmod 0600") })
	require.NoError(t, os.Chmod(g.file, 0o600))
	g.put(g.s.code.Reveal())
	eventually(t, "enrolled", func() bool { return enrolled(i) })
}

func TestAnotherServiceIsNotTrusted(t *testing.T) {
	s := newService(t)
	g := newGuest(s)
	g.o.CA = transport.PinOf(newService(t).ca).String()
	i, _, _ := g.open()
	g.put(s.code.Reveal())
	eventually(t, "the reason", func() bool {
		_, err := i.TLS()
		return strings.Contains(err.Error(), "is not of the authority sha256:")
	})
	assert.Zero(t, s.count())
}

func TestCertificatesAreRenewed(t *testing.T) {
	g := newGuest(newService(t))
	g.s.set(func() { g.s.life = -time.Minute }) // due at once
	g.put(g.s.code.Reveal())
	_, changes, stop := g.open()
	eventually(t, "renewed", func() bool { return changes.Load() == 2 })
	assert.Equal(t, 2, g.s.count())
	stop()
	g.s.set(func() { g.s.life = time.Hour })

	g.o.Boot = "boot 2"
	_, changes, stop = g.open()
	eventually(t, "renewed because it is another boot", func() bool { return changes.Load() == 1 })
	stop()
	_, changes, _ = g.open()
	time.Sleep(50 * time.Millisecond)
	assert.Zero(t, changes.Load(), "once in a boot")
}

// A VM whose certificate was revoked comes back with a new code.
func TestANewCodeReplacesABadCertificate(t *testing.T) {
	g := newGuest(newService(t))
	g.put(g.s.code.Reveal())
	i, changes, _ := g.open()
	eventually(t, "enrolled", func() bool { return changes.Load() == 1 })
	before, err := i.TLS()
	require.NoError(t, err)
	next := invite.New()
	g.s.set(func() { g.s.code = next })
	g.put(next.Reveal())
	eventually(t, "enrolled again", func() bool { return changes.Load() == 2 })
	after, err := i.TLS()
	require.NoError(t, err)
	one, err := before.GetClientCertificate(nil)
	require.NoError(t, err)
	two, err := after.GetClientCertificate(nil)
	require.NoError(t, err)
	assert.NotEqual(t, one.Certificate, two.Certificate)
}

func TestARefusedRenewalKeepsTheOldCertificate(t *testing.T) {
	g := newGuest(newService(t))
	g.s.set(func() { g.s.life = -time.Minute })
	i, err := Open(g.o)
	require.NoError(t, err)
	require.True(t, i.enroll(t.Context(), invite.Invitation{Code: g.s.code.Reveal()}))
	g.s.set(func() { g.s.refuse = errors.New("no") })
	client := hostclient.New(g.s.url, hostclient.Options{TLS: i.TLS})
	defer client.Close()
	assert.False(t, i.look(t.Context(), client))
	assert.True(t, enrolled(i), "the service says what is wrong with it, to every call")
}

func TestDamagedStateIsReported(t *testing.T) {
	g := newGuest(newService(t))
	for text, kind := range map[string]errkind.Kind{"": errkind.Corrupt, "{}": errkind.Unsupported, `{"version":1}`: errkind.Corrupt, `{"version":2}`: errkind.Unsupported} {
		require.NoError(t, os.WriteFile(statePath(g.o.Dir), []byte(text), 0o600))
		i, err := Open(g.o)
		assert.Equal(t, kind, errkind.Of(err), text)
		assert.False(t, enrolled(i))
	}
}

func TestGuestInfoIsReadWithTheToolsOfTheGuest(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	_, err := GuestInfo(t.Context())
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	code := invite.New().Reveal()
	tool := func(script string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, rpcTool), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	}
	tool(`[ "$1" = "info-get guestinfo.mooring.enroll" ] && echo '{"code":"` + code + `","ca":"sha256:0"}'`)
	in, err := GuestInfo(t.Context())
	require.NoError(t, err)
	assert.Equal(t, code, in.Code)
	for _, script := range []string{"exit 1", "echo"} {
		tool(script)
		_, err = GuestInfo(t.Context())
		assert.Equal(t, errkind.NotFound, errkind.Of(err), script)
	}
}
