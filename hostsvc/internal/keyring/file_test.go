package keyring_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/pkg/errkind"
)

func TestCreateOnceAndForAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	_, err := keyring.Open(path)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.ErrorContains(t, err, "there is no master key at "+path+": put the copy of it back there")

	var wg sync.WaitGroup
	made := make([]*keyring.Ring, 16)
	for i := range made {
		wg.Go(func() {
			r, err := keyring.Create(path)
			if err != nil {
				assert.Equal(t, errkind.Exists, errkind.Of(err))
				return
			}
			made[i] = r
		})
	}
	wg.Wait()
	var winner *keyring.Ring
	for _, r := range made {
		if r != nil {
			require.Nil(t, winner, "one creates it")
			winner = r
		}
	}
	require.NotNil(t, winner)
	again, err := keyring.Open(path)
	require.NoError(t, err)
	assert.Equal(t, winner.Keys(), again.Keys())
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "no temporary file is left")

	_, err = keyring.Create(filepath.Join(path, "below"))
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
}

func TestFilesThatAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	_, err := keyring.Create(path)
	require.NoError(t, err)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	good := strings.TrimSpace(string(b))
	lines := strings.Split(good, "\n")
	last := lines[len(lines)-1]
	id, encoded, _ := strings.Cut(last, " ")
	flipped := "A" + encoded[1:]
	if encoded[0] == 'A' {
		flipped = "B" + encoded[1:]
	}
	short := base64.StdEncoding.EncodeToString(make([]byte, 16))
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		kind errkind.Kind
		want string
	}{
		"loose":   {good, 0o644, errkind.Invalid, "the master key is not used: " + path + " is open to others than its owner (mode 0644): run chmod 0600 on it"},
		"group":   {good, 0o660, errkind.Invalid, "mode 0660"},
		"empty":   {"", 0o600, errkind.Invalid, "is empty"},
		"bare":    {encoded, 0o600, errkind.Invalid, `line 1 is not "mooring-master-key 1"`},
		"newer":   {strings.Replace(good, "key 1", "key 2", 1), 0o600, errkind.Unsupported, `has form "2", this mooringd knows 1: install the version that wrote it`},
		"no key":  {"mooring-master-key 1\n# none\n", 0o600, errkind.Invalid, "it holds no key"},
		"short":   {"mooring-master-key 1\n" + id + " " + short, 0o600, errkind.Invalid, "line 2 holds a key of 16 bytes, it has 32"},
		"typo":    {"mooring-master-key 1\n" + id + " " + flipped, 0o600, errkind.Invalid, "line 2 holds a key that does not match its id " + id},
		"garbage": {"mooring-master-key 1\n" + id + " !!!", 0o600, errkind.Invalid, "line 2 is not a key's id and the key in base64"},
		"twice":   {good + "\n" + last, 0o600, errkind.Invalid, "repeats key " + id},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			require.NoError(t, os.Chmod(path, c.mode))
			_, err := keyring.Open(path)
			assert.Equal(t, c.kind, errkind.Of(err))
			assert.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), encoded)
		})
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(good, "\n", "\r\n\n")), 0o600))
	require.NoError(t, os.Chmod(path, 0o600))
	r, err := keyring.Open(path)
	require.NoError(t, err, "line ends and blank lines do not matter")
	assert.Equal(t, id, r.Current())
}

// A credential of the service manager is found, and read only.
func TestCredential(t *testing.T) {
	state, creds := t.TempDir(), t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", creds)
	assert.Equal(t, filepath.Join(state, "master.key"), keyring.Path("", state), "no credential, so a file")
	cred := filepath.Join(creds, "mooring-master-key")
	_, err := keyring.Create(cred)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))

	own, err := keyring.Create(filepath.Join(state, "k"))
	require.NoError(t, err)
	b, err := os.ReadFile(own.Path())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cred, b, 0o400))
	assert.Equal(t, cred, keyring.Path("", state))
	assert.Equal(t, "/etc/k", keyring.Path("/etc/k", state))
	r, err := keyring.Open(cred)
	require.NoError(t, err)
	sealed, err := own.Seal([]byte("x"), "c")
	require.NoError(t, err)
	_, err = r.Open(sealed, "c")
	require.NoError(t, err)
	_, err = r.Rotate()
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	assert.ErrorContains(t, err, "LoadCredential")
	assert.Equal(t, errkind.Unsupported, errkind.Of(r.Forget("x")))
}
