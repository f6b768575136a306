package account

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

var cheap = Cost{Memory: 64, Time: 1, Threads: 1}

func TestPasswordsFitTheirHash(t *testing.T) {
	h := newHasher(cheap)
	phc, err := h.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	assert.Regexp(t, `^\$argon2id\$v=19\$m=64,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, phc)
	again, err := h.hash(t.Context(), "correct horse battery")
	require.NoError(t, err)
	assert.NotEqual(t, phc, again, "salted")

	grown := newHasher(Cost{Memory: 128, Time: 1, Threads: 1})
	for _, tc := range []struct {
		h         *hasher
		phc, word string
		fits, old bool
	}{
		{h, phc, "correct horse battery", true, false},
		{h, phc, "correct horse batterY", false, false},
		{h, phc, "", false, false},
		{grown, phc, "correct horse battery", true, true},
		{h, "", "", false, false},
		{h, "$argon2id$v=19$m=64,t=0,p=1$AA$AA", "", false, false},
		{h, strings.Replace(phc, "argon2id", "argon2i", 1), "correct horse battery", false, false},
		{h, phc[:len(phc)-4], "correct horse battery", false, false},
	} {
		fits, old, err := tc.h.verify(t.Context(), tc.phc, tc.word)
		require.NoError(t, err)
		assert.Equal(t, tc.fits, fits, "%q", tc.phc)
		if fits {
			assert.Equal(t, tc.old, old)
		}
	}
}

// A storm of log-ins takes the memory of a few.
func TestFewHashingsAtATime(t *testing.T) {
	h := newHasher(cheap)
	var now, most atomic.Int32
	h.kdf = func(_, _ []byte, _, _ uint32, _ uint8, size uint32) []byte {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		now.Add(-1)
		return make([]byte, size)
	}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			_, err := h.hash(t.Context(), "x")
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, most.Load(), int32(hashings))

	for range hashings {
		h.slot <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := h.hash(ctx, "x")
	assert.True(t, errkind.Is(err, errkind.Unavailable), "who gave up does not wait")
}

func TestPasswordsThatAreGuessedSoonAreRefused(t *testing.T) {
	for word, says := range map[string]string{
		"short":                                "shorter than 12",
		"elevenchars":                          "shorter than 12",
		"my name is ann.miller":                "name of the user",
		"MY NAME IS ANN.MILLER":                "name of the user",
		"aaaaaaaaaaaa":                         "different characters",
		"password1234":                         "guessed first",
		"Mooring-2026":                         "guessed first",
		strings.Repeat("0123456789abcdef", 20): "longer than 256",
	} {
		err := checkPassword("ann.miller", word)
		require.True(t, errkind.Is(err, errkind.Invalid), "%q", word)
		assert.Contains(t, err.Error(), says)
	}
	for _, word := range []string{"correct horse battery", "ünïcödé wörds", "the password of my bicycle", generate()} {
		assert.NoError(t, checkPassword("ann.miller", word), "%q", word)
	}
}

func TestGeneratedPasswordsDiffer(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		word := generate()
		assert.Regexp(t, `^[a-z2-9]{5}(-[a-z2-9]{5}){3}$`, word)
		assert.False(t, seen[word])
		seen[word] = true
	}
}

func TestTokensHaveAForm(t *testing.T) {
	word := newToken()
	assert.True(t, tokenForm(word))
	for _, wrong := range []string{"", "mrg_", word[:len(word)-1], word + "0", strings.Replace(word, "mrg_", "abc_", 1), "mrg_" + strings.Repeat("0", 72)} {
		assert.False(t, tokenForm(wrong), "%q", wrong)
	}
}

func TestLocksGrow(t *testing.T) {
	last := lockFor(lockAfter - 1)
	assert.Zero(t, last)
	for n := lockAfter; n < 1000; n++ {
		d := lockFor(n)
		assert.True(t, d > last || d == lockMost, "after %d", n)
		last = d
	}
}
