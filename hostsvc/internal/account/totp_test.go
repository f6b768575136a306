package account

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The vectors of RFC 6238, appendix B, for SHA-1.
func TestCodesAreThoseOfTheRFC(t *testing.T) {
	key := []byte("12345678901234567890")
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		assert.Equal(t, want, codeAt(key, stepOf(time.Unix(at, 0)), 8), "at %d", at)
	}
}

func TestACodeIsGoodOnceAndOnlyAroundItsTime(t *testing.T) {
	key, now := newKey(), time.Unix(1_800_000_000, 0)
	here := stepOf(now)
	for shift, good := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		step, ok := matchCode(key, codeAt(key, here+shift, codeDigits), now, 0)
		assert.Equal(t, good, ok, "%d steps away", shift)
		if good {
			assert.Equal(t, here+shift, step)
			_, again := matchCode(key, codeAt(key, here+shift, codeDigits), now, step)
			assert.False(t, again)
			_, earlier := matchCode(key, codeAt(key, here+shift, codeDigits), now, step+1)
			assert.False(t, earlier, "nor one before the last")
		}
	}
	code := codeAt(key, here, codeDigits)
	_, ok := matchCode(key, code[:3]+" "+code[3:], now, 0)
	assert.True(t, ok, "as authenticators show it")
	for _, wrong := range []string{"", "0", code + "0", code[:5]} {
		_, ok := matchCode(key, wrong, now, 0)
		assert.False(t, ok, "%q", wrong)
	}
}

func TestAuthenticatorsReadTheKey(t *testing.T) {
	key := []byte("12345678901234567890")
	u, err := url.Parse(keyURI("Backup & more", "ann", key))
	require.NoError(t, err)
	assert.Equal(t, "otpauth://totp/Backup%20&%20more:ann?issuer=Backup%20%26%20more&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", u.String())
}
