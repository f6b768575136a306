package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

const sentinel = "Sentinel-4711"

type holder struct {
	Name   string
	Secret secret.Text
	hidden secret.Text
}

func TestASecretIsNeverShown(t *testing.T) {
	s := secret.New(sentinel)
	h := holder{"n", s, s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
		for _, v := range []any{s, &s, h, &h, []any{s, h}, map[string]any{"s": s}, errkind.New(errkind.Invalid, verb, s)} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
	}
	b, err := json.Marshal(map[string]any{"s": s, "h": h, "p": &s})
	require.NoError(t, err)
	out.Write(b)
	require.NoError(t, toml.NewEncoder(&out).Encode(struct{ S secret.Text }{s}))
	for _, f := range []logrus.Formatter{&logrus.JSONFormatter{}, &logrus.TextFormatter{}} {
		l := logrus.New()
		l.SetOutput(&out)
		l.SetFormatter(f)
		l.WithField("s", s).WithField("h", h).WithField("p", &h).Error(s, h)
	}
	assert.NotContains(t, out.String(), sentinel)
	assert.NotContains(t, out.String(), fmt.Sprintf("%x", sentinel))
	assert.Contains(t, out.String(), secret.Redacted)
	assert.Equal(t, sentinel, s.Reveal())
	assert.Equal(t, sentinel, h.hidden.Reveal())
}

func TestEqualAndZero(t *testing.T) {
	assert.True(t, secret.New("a").Equal(secret.New("a")))
	assert.False(t, secret.New("a").Equal(secret.New("b")))
	assert.False(t, secret.New("a").Equal(secret.Text{}))
	assert.True(t, secret.New("").IsZero())
	assert.Empty(t, secret.Text{}.Reveal())
	assert.Empty(t, fmt.Sprint(secret.Text{}))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	put := func(text string, mode os.FileMode) {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
	}
	refused := func(kind errkind.Kind, text string) {
		t.Helper()
		_, err := secret.ReadLine(path, "the password of the mail server")
		assert.Equal(t, kind, errkind.Of(err))
		assert.ErrorContains(t, err, text)
		assert.NotContains(t, err.Error(), sentinel)
	}
	refused(errkind.NotFound, "the password of the mail server cannot be read: there is no file "+path)
	put(sentinel, 0o640)
	refused(errkind.Invalid, "is open to others than its owner (mode 0640): run chmod 0600 on it")
	put(sentinel, 0o604)
	refused(errkind.Invalid, "(mode 0604)")
	put(" \n", 0o600)
	refused(errkind.Invalid, "is empty")
	put(sentinel+"\nmore\n", 0o600)
	refused(errkind.Invalid, "more than one line")
	put(strings.Repeat("x", 64<<10+1), 0o600)
	refused(errkind.Invalid, "larger than 64 KiB")
	put(" "+sentinel+" \r\n", 0o400)
	got, err := secret.ReadLine(path, "it")
	require.NoError(t, err)
	assert.Equal(t, " "+sentinel+" ", got.Reveal(), "blanks belong to a password")

	t.Setenv("CREDENTIALS_DIRECTORY", dir+"/")
	put(sentinel, 0o440)
	_, err = secret.ReadLine(path, "it")
	require.NoError(t, err, "the service manager gives its group the right to read")
	put(sentinel, 0o444)
	refused(errkind.Invalid, "(mode 0444)")

	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	refused(errkind.Invalid, "is not a regular file")
}

func TestReadLineOrStandardInput(t *testing.T) {
	for in, want := range map[string]string{"word\n": "word", "two words": "two words", "crlf\r\n": "crlf"} {
		got, err := secret.ReadLineOr("-", strings.NewReader(in), "the word")
		require.NoError(t, err, in)
		assert.Equal(t, want, got.Reveal())
	}
	for _, in := range []string{"", "\n", "a\nb", "a\x00", strings.Repeat("a", 70<<10)} {
		_, err := secret.ReadLineOr("-", strings.NewReader(in), "the word")
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
	}
	path := filepath.Join(t.TempDir(), "word")
	require.NoError(t, os.WriteFile(path, []byte("word\n"), 0o600))
	got, err := secret.ReadLineOr(path, nil, "the word")
	require.NoError(t, err)
	assert.Equal(t, "word", got.Reveal())
}
