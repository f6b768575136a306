package bundle

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const passphrase = "six boats under one bridge"

// weak makes keys that cost nothing.
func weak(passphrase string, salt []byte) []byte {
	return append([]byte(passphrase)[:16], salt[:16]...)
}

// drawn is a tenant of any content.
func drawn(t *rapid.T) wire.Carried {
	text := rapid.String()
	c := wire.Carried{ID: volspec.VMGroupID(text.Draw(t, "id"))}
	c.Tenant.Description = text.Draw(t, "description")
	c.Tenant.Profile.Labels = rapid.SliceOfN(text, 1, 4).Draw(t, "labels")
	if rapid.Bool().Draw(t, "bounded") {
		c.Tenant.Allowance.VMs = new(rapid.Int64().Draw(t, "vms"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "users") {
		c.Users = append(c.Users, wire.CarriedUser{
			Name: text.Draw(t, "user"), Password: text.Draw(t, "hash"), Factor: rapid.SliceOfN(rapid.Byte(), 1, 30).Draw(t, "factor"),
			FactorStep: rapid.Int64().Draw(t, "step"), Enabled: rapid.Bool().Draw(t, "enabled"),
		})
	}
	for range rapid.IntRange(0, 2).Draw(t, "repositories") {
		c.Repositories = append(c.Repositories, wire.CarriedRepository{
			Name: text.Draw(t, "repository"), Key: text.Draw(t, "key"), Credentials: wire.Credentials{SecretKey: text.Draw(t, "secret")},
			Points: []wire.CarriedPoint{{ID: "p", Created: time.Unix(rapid.Int64Range(0, 1<<33).Draw(t, "created"), 0).UTC(), Hold: true}},
		})
	}
	return c
}

// What is sealed comes out as it was, and only with the passphrase, and only if
// no byte of the bundle is another.
func TestWhatIsSealedOpensUnchanged(t *testing.T) {
	s := New(Options{Key: weak})
	rapid.Check(t, func(t *rapid.T) {
		want := drawn(t)
		b, err := s.seal(t.Context(), "team", want, passphrase)
		require.NoError(t, err)
		file, err := json.Marshal(b)
		require.NoError(t, err)
		var read wire.Bundle
		require.NoError(t, json.Unmarshal(file, &read))
		got, err := s.open(t.Context(), read, passphrase)
		require.NoError(t, err)
		assert.Equal(t, want, got)

		_, err = s.open(t.Context(), read, "nine "+passphrase)
		assert.Equal(t, errkind.WrongKey, errkind.Of(err))
		read.Sealed[rapid.IntRange(0, len(read.Sealed)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		_, err = s.open(t.Context(), read, passphrase)
		assert.Equal(t, errkind.WrongKey, errkind.Of(err))
	})
}

// The key of version 1, which other programs of that version have to find.
func TestTheKeyStaysTheSame(t *testing.T) {
	b := wire.Bundle{
		Format: wire.BundleFormat, Version: 1, VMGroup: "team", Created: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC), Salt: []byte("0123456789abcdef"),
	}
	s := New(Options{})
	a, err := s.aead(t.Context(), passphrase, b.Salt)
	require.NoError(t, err)
	assert.Equal(t, `{"format":"mooring tenant","version":1,"vmgroup":"team","created":"2026-11-20T09:00:00Z","salt":"MDEyMzQ1Njc4OWFiY2RlZg==","sealed":null}`, string(head(b)))
	nonce := make([]byte, a.NonceSize())
	b.Sealed = a.Seal(nonce, nonce, []byte(`{"id":"x"}`), head(b))
	assert.Equal(t, "AAAAAAAAAAAAAAAAFS+jdatq3rcNt7y7abxlghf6R4sorXWO03E=", base64.StdEncoding.EncodeToString(b.Sealed))
	got, err := s.open(t.Context(), b, passphrase)
	require.NoError(t, err)
	assert.Equal(t, volspec.VMGroupID("x"), got.ID)
}

func TestPassphrases(t *testing.T) {
	for p, want := range map[string]errkind.Kind{"": errkind.Invalid, "elevenchars": errkind.Invalid, "äöüäöüäöüäöü": "", passphrase: "", string(make([]byte, 1025)): errkind.Invalid} {
		assert.Equal(t, want, errkind.Of(checkPassphrase(p)), "%q", p)
	}
}

// Whatever is sealed, reading it gives a document that is written again as it
// was read, or a refusal that says what is wrong.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{
		`{"id":"x"}`, `{"tenant":{"allowance":{"vms":1}},"users":[{"name":"a","factor":"AAAA"}]}`, `{"id":"x","later":1}`, `{"id":1}`, `{} {}`, `[`, `null`, ``,
		`{"repositories":[{"id":"r","points":[{"id":"p","created":"2026-11-20T09:00:00Z"}]}],"policies":[{"name":"n","limit":"20mb"}]}`, "{\"id\":\"\xff\"}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		got, err := decode(plain)
		if err != nil {
			assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
			assert.Contains(t, err.Error(), "save the tenant again")
			return
		}
		text, err := json.Marshal(got)
		require.NoError(t, err)
		again, err := decode(text)
		require.NoError(t, err)
		assert.Equal(t, string(text), string(mustJSON(t, again)))
	})
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	require.NoError(t, err)
	return text
}
