package invite

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

func TestACodeRoundTripsAndHidesItself(t *testing.T) {
	c := New()
	text := c.Reveal()
	assert.Regexp(t, `^([a-z2-7]{8}-){4}[a-z2-7]{7}$`, text)
	for _, s := range []string{text, strings.ToUpper(text), strings.ReplaceAll(text, "-", ""), " " + strings.ReplaceAll(text, "-", " ") + "\n"} {
		got, err := Parse(s)
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
	assert.NotEqual(t, c, New())
	secret := strings.ReplaceAll(text, "-", "")[20:]
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c)} {
		assert.NotContains(t, s, secret)
		assert.Contains(t, s, c.ID())
	}
}

func TestWhatIsNoCode(t *testing.T) {
	text := New().Reveal()
	for _, s := range []string{"", "x", text + "a", text[:len(text)-1], strings.Replace(text, text[:1], "1", 1), text[:len(text)-1] + "b9"} {
		_, err := Parse(s)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), s)
	}
}

func TestAProofIsForOneRequestOnOneConnection(t *testing.T) {
	v := New().Verifier()
	proof := Prove(v, []byte("here"), []byte("request"))
	assert.True(t, Verify(v, []byte("here"), []byte("request"), proof))
	assert.False(t, Verify(v, []byte("elsewhere"), []byte("request"), proof))
	assert.False(t, Verify(v, []byte("here"), []byte("another"), proof))
	assert.False(t, Verify(New().Verifier(), []byte("here"), []byte("request"), proof))
	assert.False(t, Verify(v, []byte("here"), []byte("request"), nil))
	assert.False(t, Verify(v, nil, []byte("request"), Prove(v, nil, []byte("request"))), "a channel without a binding proves nothing")
}

func TestAFileHoldsACodeOrAnInvitation(t *testing.T) {
	c := New().Reveal()
	in, err := Read([]byte(c + "\n"))
	require.NoError(t, err)
	assert.Equal(t, Invitation{Code: c}, in)
	in, err = Read([]byte(`{"url":"tls://h:1","ca":"sha256:00","code":"` + c + `","more":1}`))
	require.NoError(t, err)
	assert.Equal(t, Invitation{URL: "tls://h:1", CA: "sha256:00", Code: c}, in)
	for _, s := range []string{"", "{", "{}", `{"code":"x"}`, "no code"} {
		_, err := Read([]byte(s))
		assert.Equal(t, errkind.Invalid, errkind.Of(err), s)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(New().Reveal())
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := Parse(s); err == nil {
			again, err := Parse(c.Reveal())
			require.NoError(t, err)
			require.Equal(t, c, again)
		}
	})
}
