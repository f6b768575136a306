package enroll_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/wire"
)

func otherRequest(t *testing.T) []byte {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return der
}

func TestTheAuthorityStays(t *testing.T) {
	dir := t.TempDir()
	a, err := enroll.OpenAuthority(dir, "x")
	require.NoError(t, err)
	again, err := enroll.OpenAuthority(dir, "x")
	require.NoError(t, err)
	assert.Equal(t, a.Pin(), again.Pin())
	key, crt := filepath.Join(dir, "guest-ca.key"), filepath.Join(dir, "guest-ca.crt")
	st, err := os.Stat(key)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, st.Mode().Perm())
	public, err := os.ReadFile(crt)
	require.NoError(t, err)
	assert.NotContains(t, string(public), "KEY")

	whole, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(key, 0o644))
	_, err = enroll.OpenAuthority(dir, "x")
	assert.Equal(t, errkind.Invalid, errkind.Of(err), "open to others")
	require.NoError(t, os.Remove(key))
	_, err = enroll.OpenAuthority(dir, "x")
	require.Equal(t, errkind.Corrupt, errkind.Of(err), "a new one would be one that no VM trusts")
	for _, text := range []string{"noise", string(whole[:len(whole)/2]), string(public)} {
		require.NoError(t, os.WriteFile(key, []byte(text), 0o600))
		_, err = enroll.OpenAuthority(dir, "x")
		assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	}
	require.NoError(t, os.WriteFile(key, whole, 0o600))
	require.NoError(t, os.Remove(crt)) // the copy for people
	back, err := enroll.OpenAuthority(dir, "x")
	require.NoError(t, err)
	assert.Equal(t, a.Pin(), back.Pin())
}

func (w *world) placed(vm string) (in invite.Invitation, there bool) {
	w.t.Helper()
	text, err := w.hv.ReadGuestInfo(w.t.Context(), vmIDs[vm], invite.Key)
	require.NoError(w.t, err)
	if text == "" {
		return in, false
	}
	require.NoError(w.t, json.Unmarshal([]byte(text), &in))
	return in, true
}

// An invitation that the hypervisor carries is good for the VM it was put
// into, and is taken away when it was used or has expired.
func TestInvitationByTheHypervisor(t *testing.T) {
	w := newWorld(t)
	out, err := w.guests.Invite(t.Context(), admin, "a", true)
	require.NoError(t, err)
	assert.True(t, out.Placed)
	assert.Empty(t, out.Code)
	in, there := w.placed("a")
	require.True(t, there)
	assert.Equal(t, w.url, in.URL)
	assert.Equal(t, w.authority.Pin().String(), in.CA)
	assert.WithinDuration(t, time.Now().Add(10*time.Minute), in.Expires, time.Minute)
	code, err := invite.Parse(in.Code)
	require.NoError(t, err)
	h, err := w.enrollWith(code)
	require.NoError(t, err)
	assert.Equal(t, "of-a ", h.sees())
	_, there = w.placed("a")
	assert.False(t, there, "used")

	_, err = w.guests.Invite(t.Context(), admin, "b", true)
	require.NoError(t, err)
	w.pass(enroll.CodeLife)
	require.NoError(t, w.guests.Tidy(t.Context()))
	_, there = w.placed("b")
	assert.False(t, there, "expired")

	_, err = w.guests.Invite(t.Context(), admin, "b", true)
	require.NoError(t, err)
	require.NoError(t, w.guests.Revoke(t.Context(), admin, "b"))
	_, there = w.placed("b")
	assert.False(t, there, "revoked")
}

func TestVMsAreInvitedByThemselves(t *testing.T) {
	w := newWorld(t)
	w.enrolled("b")
	require.NoError(t, w.guests.Tidy(t.Context()))
	_, there := w.placed("a")
	assert.False(t, there, "nobody asked for it")
	w.auto = true
	for range 2 {
		require.NoError(t, w.guests.Tidy(t.Context()))
	}
	_, there = w.placed("a")
	assert.True(t, there)
	_, there = w.placed("b")
	assert.False(t, there, "it has a certificate")
	assert.Equal(t, 2, w.audited("vm enroll"))

	for range 6 { // it does not answer
		w.pass(enroll.CodeLife)
		require.NoError(t, w.guests.Tidy(t.Context()))
	}
	assert.Equal(t, 4, w.audited("vm enroll"), "three times in a boot")
	_, there = w.placed("a")
	assert.False(t, there)
	w.hv.SetPower(vmIDs["a"], hypervisor.Off)
	require.NoError(t, w.guests.Tidy(t.Context()))
	w.hv.SetPower(vmIDs["a"], hypervisor.On)
	require.NoError(t, w.guests.Tidy(t.Context()))
	in, there := w.placed("a")
	require.True(t, there)
	code, err := invite.Parse(in.Code)
	require.NoError(t, err)
	_, err = w.enrollWith(code)
	require.NoError(t, err)

	require.NoError(t, w.guests.Revoke(t.Context(), admin, "a"))
	require.NoError(t, w.guests.Tidy(t.Context()))
	_, there = w.placed("a")
	assert.False(t, there, "what was revoked waits for a person")
}

func TestInviteRefusals(t *testing.T) {
	w := newWorld(t)
	_, err := w.guests.Invite(t.Context(), admin, "nobody", false)
	require.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = w.guests.Invite(t.Context(), admin, string(vmIDs["a"]), false)
	require.NoError(t, err, "by id")
	require.Equal(t, errkind.NotFound, errkind.Of(w.guests.Revoke(t.Context(), admin, "b")), "never enrolled")
	bare := enroll.New(enroll.Options{Store: w.store, Machines: w.hv, Authority: w.authority, URL: func() string { return w.url }})
	_, err = bare.Invite(t.Context(), admin, "a", true)
	require.ErrorContains(t, err, "leave out --guestinfo")
	off := enroll.New(enroll.Options{Store: w.store, Machines: w.hv, Authority: w.authority, URL: func() string { return "" }})
	_, err = off.Invite(t.Context(), admin, "a", false)
	require.ErrorContains(t, err, "set guest.listen")
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	_, err = w.guests.Enroll(t.Context(), admin, "", nil, wire.Enroll{})
	assert.Equal(t, errkind.Unsupported, errkind.Of(err), "on a channel that is not TLS")
	_, err = w.guests.Renew(t.Context(), w.caller(vmIDs["a"]), nil, wire.Renew{})
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
}

func TestRunEnds(t *testing.T) {
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.guests.Run(ctx) }()
	stop()
	require.NoError(t, <-done)
}
