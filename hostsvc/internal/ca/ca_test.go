package ca

import (
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
)

func options(dir string) Options {
	return Options{Dir: dir, Name: "site-ca", Subject: "Site", What: "the authority of the site", Lost: "let everybody trust the new one"}
}

func open(t *testing.T, dir string) *Authority {
	t.Helper()
	a, err := Open(options(dir))
	require.NoError(t, err)
	return a
}

type crash struct{}

// Whenever the process ends while an authority is made, the next start has a
// whole one, and once its certificate is out it is always the same.
func TestACrashWhileAnAuthorityIsMade(t *testing.T) {
	for _, at := range []string{"ca.create.made", "ca.create.key", "ca.create.certificate"} {
		t.Run(at, func(t *testing.T) {
			dir := t.TempDir()
			hit := false
			crashpoint.Set(func(p string) {
				if p == at {
					hit = true
					panic(crash{})
				}
			})
			t.Cleanup(func() { crashpoint.Set(nil) })
			assert.PanicsWithValue(t, crash{}, func() { _, _ = Open(options(dir)) })
			require.True(t, hit)
			crashpoint.Set(nil)
			published, _ := os.ReadFile(filepath.Join(dir, "site-ca.crt"))
			a := open(t, dir)
			now, err := os.ReadFile(filepath.Join(dir, "site-ca.crt"))
			require.NoError(t, err)
			if len(published) > 0 {
				assert.Equal(t, string(published), string(now))
			}
			assert.Equal(t, a.Certificate().Raw, open(t, dir).Certificate().Raw)
		})
	}
}

func TestALostKeyIsTold(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	require.NoError(t, os.Remove(filepath.Join(dir, "site-ca.key")))
	_, err := Open(options(dir))
	require.ErrorContains(t, err, "the key of the authority of the site is gone")
	assert.ErrorContains(t, err, "and let everybody trust the new one")
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
}

func verifies(t *testing.T, a *Authority, c *tls.Certificate, name string, now time.Time) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	assert.NoError(t, err)
}

func TestTheServersCertificateIsKeptAndRenewed(t *testing.T) {
	dir := t.TempDir()
	a, path := open(t, dir), filepath.Join(dir, "site.key")
	names := []string{"mooring.example", "192.0.2.1"}
	first, err := NewServer(a, path, names).Certificate()
	require.NoError(t, err)
	for _, name := range names {
		verifies(t, a, first, name, time.Now())
	}
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, st.Mode().Perm())

	s := NewServer(a, path, names)
	again, err := s.Certificate()
	require.NoError(t, err)
	assert.Equal(t, first.Leaf.Raw, again.Leaf.Raw)

	later := time.Now().Add(serverLife * 3 / 4)
	s.now = func() time.Time { return later }
	renewed, err := s.Certificate()
	require.NoError(t, err)
	assert.NotEqual(t, first.Leaf.Raw, renewed.Leaf.Raw, "in time before its end")
	verifies(t, a, renewed, names[0], later)

	other, err := NewServer(a, path, []string{"other.example"}).Certificate()
	require.NoError(t, err)
	verifies(t, a, other, "other.example", time.Now())

	for what, text := range map[string]string{"noise": "noise", "nothing": ""} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		c, err := NewServer(a, path, names).Certificate()
		require.NoError(t, err, what)
		verifies(t, a, c, names[0], time.Now())
	}
	foreign, err := NewServer(open(t, t.TempDir()), path, names).Certificate()
	require.NoError(t, err)
	own, err := NewServer(a, path, names).Certificate()
	require.NoError(t, err)
	assert.NotEqual(t, foreign.Leaf.Raw, own.Leaf.Raw, "of another authority")

	lost, err := NewServer(a, filepath.Join(dir, "no", "such", "folder"), names).Certificate()
	require.NoError(t, err, "a full disk does not shut the portal")
	verifies(t, a, lost, names[0], time.Now())
}

// pair writes a certificate as an operator would.
func pair(t *testing.T, a *Authority, dir, name string) *x509.Certificate {
	t.Helper()
	c, err := NewServer(a, "", []string{name}).Certificate()
	require.NoError(t, err)
	key, err := encode(c.PrivateKey.(*ecdsa.PrivateKey), c.Leaf)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "given.crt"), key, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "given.key"), key, 0o600))
	return c.Leaf
}

func TestGivenCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	first := pair(t, a, dir, "one.example")
	cert, key := filepath.Join(dir, "given.crt"), filepath.Join(dir, "given.key")
	g, err := OpenGiven(cert, key)
	require.NoError(t, err)
	shown := func() []byte {
		c, err := g.Certificate()
		require.NoError(t, err)
		return c.Certificate[0]
	}
	assert.Equal(t, first.Raw, shown())

	second := pair(t, a, dir, "two.example")
	require.NoError(t, g.Reload())
	assert.Equal(t, second.Raw, shown())

	require.NoError(t, os.WriteFile(cert, []byte("half"), 0o600))
	require.ErrorContains(t, g.Reload(), "cannot be used")
	assert.Equal(t, second.Raw, shown(), "the old one stays")

	third := pair(t, a, dir, "three.example")
	g.mu.Lock()
	g.looked = time.Now().Add(-time.Minute)
	g.mu.Unlock()
	assert.Equal(t, third.Raw, shown(), "without being told")

	_, err = OpenGiven(cert, filepath.Join(dir, "absent"))
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
}
