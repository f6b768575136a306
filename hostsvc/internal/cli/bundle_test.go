package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What save writes only its owner can read, and load takes it as it is.
func TestABundleGoesThroughAFile(t *testing.T) {
	dir := t.TempDir()
	file, secret := filepath.Join(dir, "dev.bundle"), filepath.Join(dir, "passphrase")
	require.NoError(t, os.WriteFile(secret, []byte("six boats under one bridge\n"), 0o600))
	s := newSession(world())
	got := s.run(t, "vmgroup", "save", "Dev", "--out="+file, "--passphrase-file="+secret)
	require.Zero(t, got.code, got.err)
	st, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode())
	assert.Contains(t, s.run(t, "vmgroup", "save", "Dev", "--out="+file, "--passphrase-file="+secret).err, "exists already")

	got = s.run(t, "vmgroup", "load", file, "--passphrase-file="+secret, "--new-name=Dev2", "--volumes=3", "--storage=unset")
	require.Zero(t, got.code, got.err)
	assert.Equal(t, "vmgroup 'Dev2' is loaded. To do:\n- VM web1 is not here\n- It is disabled\n", got.out)
	calls := strings.Join(s.admin.calls, "\n")
	assert.Contains(t, calls, `LoadTenant "Dev2" "six boats under one bridge" "sealed under six boats under one bridge" {"volumes":3}`)
}

// A file that is no bundle, or more than one, is refused before anybody is
// asked for a passphrase.
func TestOnlyABundleIsLoaded(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key": `{"format":"mooring tenant","later":1}`,
		"more":        `{"format":"mooring tenant"} {}`,
		"cut":         `{"format":"mooring te`,
		"empty":       "",
	} {
		file := filepath.Join(t.TempDir(), "b")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		got := newSession(world()).run(t, "vmgroup", "load", file)
		assert.Equal(t, 2, got.code, name)
		assert.Contains(t, got.err, "is no bundle of a vmgroup: make one with 'mooring vmgroup save'", name)
	}
}

// A person writes a new passphrase twice.
func TestANewPassphraseIsAskedForTwice(t *testing.T) {
	file := filepath.Join(t.TempDir(), "dev.bundle")
	s := newSession(world())
	s.opts.Interactive = true
	said := []string{"one of the two", "another of the two"}
	s.opts.Password = func(context.Context, string) (string, error) {
		word := said[0]
		said = said[1:]
		return word, nil
	}
	got := s.run(t, "vmgroup", "save", "Dev", "--out="+file)
	assert.Contains(t, got.err, "the two passphrases differ: nothing was saved")
	assert.NoFileExists(t, file)
}
