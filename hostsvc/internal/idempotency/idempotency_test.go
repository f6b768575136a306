package idempotency_test

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/idempotency"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/pkg/errkind"
)

type world struct {
	*idempotency.Keys
	catalog *catalog.Catalog
	now     time.Time
}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	ring, err := keyring.Create(filepath.Join(dir, "key"))
	require.NoError(t, err)
	w := &world{catalog: c, now: time.Unix(1_800_000_000, 0)}
	w.Keys = idempotency.New(idempotency.Options{Store: c.Idempotency(), Sealer: ring, Now: func() time.Time { return w.now }})
	return w
}

func (w *world) begin(t *testing.T, caller, key, request string) (string, errkind.Kind) {
	answer, done, err := w.Begin(t.Context(), caller, key, request)
	switch {
	case err != nil:
		return "", errkind.Of(err)
	case done:
		return string(answer), ""
	}
	return "", "to do"
}

func TestARepeatGetsTheAnswer(t *testing.T) {
	w := newWorld(t)
	begin := func(caller, key, request, answer string, kind errkind.Kind) {
		t.Helper()
		a, k := w.begin(t, caller, key, request)
		assert.Equal(t, []any{answer, kind}, []any{a, k})
	}
	begin("u1", "k", "r", "", "to do")
	begin("u1", "k", "r", "", errkind.InUse)
	begin("u2", "k", "r", "", "to do") // keys are of their caller
	require.NoError(t, w.Finish(t.Context(), "u1", "k", "r", []byte("secret answer")))
	begin("u1", "k", "r", "secret answer", "")
	begin("u1", "k", "other", "", errkind.Invalid)
	require.NoError(t, w.Abandon(t.Context(), "u2", "k"))
	begin("u2", "k", "r", "", "to do")

	w.now = w.now.Add(6 * time.Minute) // u2's worker died
	begin("u2", "k", "r", "", "to do")
	w.now = w.now.Add(25 * time.Hour)
	begin("u1", "k", "other", "", "to do")
	_, k := w.begin(t, "u1", string(make([]byte, 256)), "r")
	assert.Equal(t, errkind.Invalid, k)
}

// Answers may hold passwords that were just generated: the catalog does not.
func TestAnswersAreSealed(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.Begin(t.Context(), "u", "k", "r")
	require.NoError(t, err)
	require.NoError(t, w.Finish(t.Context(), "u", "k", "r", []byte("generated password")))
	require.NoError(t, w.catalog.Idempotency().Update(t.Context(), func(tx idempotency.Tx) error {
		r, err := tx.RememberedAnswer("u", "k")
		require.NoError(t, err)
		assert.NotContains(t, r.Answer, "generated")
		r.Key = "k2" // an answer under another key does not open
		require.NoError(t, tx.PutRememberedAnswer(r))
		n, err := tx.ForgetAnswers(w.now)
		require.NoError(t, err)
		assert.Zero(t, n)
		return nil
	}))
	_, _, err = w.Begin(t.Context(), "u", "k2", "r")
	require.Error(t, err)
	require.NoError(t, w.catalog.Idempotency().Update(t.Context(), func(tx idempotency.Tx) error {
		n, err := tx.ForgetAnswers(w.now.Add(48 * time.Hour))
		assert.EqualValues(t, 2, n)
		return errors.Join(err)
	}))
}

func TestOnlyOneOfManyBegins(t *testing.T) {
	w := newWorld(t)
	var first atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, k := w.begin(t, "u", "k", "r"); k == "to do" {
				first.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, first.Load())
}

// A key is taken once, by whoever comes first, or refused in words.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"", "k", "8e03978e-40d5-43dd-bc93-6894a57f9324", "a b", "a\x00b", "\xff", "\u00e4", strings.Repeat("k", 256)} {
		f.Add(key)
	}
	w := newWorld(f)
	f.Fuzz(func(t *testing.T, key string) {
		_, done, err := w.Begin(t.Context(), "u1", key, "r")
		if err != nil {
			assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
			return
		}
		require.False(t, done)
		assert.Regexp(t, "^[ -~]*$", key, "the catalog keeps other bytes as one and the same")
		require.NoError(t, w.Finish(t.Context(), "u1", key, "r", []byte(key)))
		answer, done, err := w.Begin(t.Context(), "u1", key, "r")
		require.NoError(t, err)
		assert.True(t, done)
		assert.Equal(t, key, string(answer))
		_, _, err = w.Begin(t.Context(), "u1", key, "another")
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		require.NoError(t, w.Abandon(t.Context(), "u1", key))
	})
}
