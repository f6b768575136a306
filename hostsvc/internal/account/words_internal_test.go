package account

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// A token whose text was changed anywhere does not cost a look into the
// catalog.
func FuzzTokenForm(f *testing.F) {
	f.Add(newToken(), 10, byte('0'))
	f.Add(newToken(), 75, byte('x'))
	f.Add("", 0, byte(0))
	f.Add(tokenPrefix, 3, byte(' '))
	f.Add(tokenPrefix+strings.Repeat("\xff", 72), 0, byte('m'))
	f.Fuzz(func(t *testing.T, word string, at int, to byte) {
		if !tokenForm(word) {
			return
		}
		assert.Len(t, word, len(newToken()))
		assert.False(t, tokenForm(word+string(to)))
		if at >= 0 && at < len(word) && word[at] != to {
			assert.False(t, tokenForm(word[:at]+string([]byte{to})+word[at+1:]))
		}
	})
}

// A code counts at its time, and then never again.
func FuzzMatchCode(f *testing.F) {
	key, now := []byte("12345678901234567890"), int64(1_800_000_000)
	f.Add(key, codeAt(key, now/codeStep, codeDigits), now, int64(0))
	f.Add(key, " "+codeAt(key, now/codeStep-1, codeDigits), now, now/codeStep-2)
	f.Add([]byte{}, "", int64(0), int64(-1))
	f.Add(key, strings.Repeat("0", 10_000), now, int64(0))
	f.Add(key, "\u0661\u0662\u0663456", now, int64(0))
	f.Fuzz(func(t *testing.T, key []byte, code string, at, last int64) {
		now := time.Unix(at%(1<<40), 0)
		step, ok := matchCode(key, code, now, last)
		if !ok {
			return
		}
		assert.Greater(t, step, last)
		assert.InDelta(t, stepOf(now), step, 1)
		assert.Equal(t, codeAt(key, step, codeDigits), strings.ReplaceAll(code, " ", ""))
		_, again := matchCode(key, code, now, step)
		assert.False(t, again)
	})
}
