package account

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/url"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// Parameters of RFC 6238 that every authenticator knows.
const (
	codeStep   = 30 // seconds
	codeDigits = 6
	keySize    = 20
)

// codeAt is the code of a step (RFC 4226, section 5.3).
func codeAt(key []byte, step int64, digits int) string {
	var counter [8]byte
	binary.BigEndian.PutUint64(counter[:], uint64(step))
	m := hmac.New(sha1.New, key)
	m.Write(counter[:]) // never fails
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:at+4]) & 0x7fffffff
	mod := uint32(1)
	for range digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%mod)
}

func stepOf(t time.Time) int64 { return t.Unix() / codeStep }

// matchCode finds the step of a code around now. A step that is not after the
// last one that was accepted is not looked at: a code is good once.
func matchCode(key []byte, code string, now time.Time, last int64) (step int64, ok bool) {
	code = strings.ReplaceAll(code, " ", "")
	for k := stepOf(now) - 1; k <= stepOf(now)+1; k++ {
		if subtle.ConstantTimeCompare([]byte(codeAt(key, k, codeDigits)), []byte(code)) == 1 && k > last {
			step, ok = k, true
		}
	}
	return step, ok
}

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails (crypto/rand, Go 1.24)
	return key
}

// keyURI is what an authenticator reads from a picture.
func keyURI(issuer, user string, key []byte) string {
	q := url.Values{"secret": {base32Text.EncodeToString(key)}, "issuer": {issuer}}
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + user, RawQuery: strings.ReplaceAll(q.Encode(), "+", "%20")}
	return u.String()
}

// factorOf is the context of a sealed second factor.
func factorOf(u User) string { return "second factor of user " + string(u.ID) }

// checkCode opens a sealed second factor and compares.
func (s *Service) checkCode(u User, sealed, code string) (step int64, err error) {
	key, err := s.o.Sealer.Open(sealed, factorOf(u))
	if err != nil {
		return 0, err
	}
	step, ok := matchCode(key, code, s.now(), u.Body.FactorStep)
	if !ok {
		return 0, wrongCode
	}
	return step, nil
}

// NeedsFactor is said of everything but the setting up of a second factor that
// is required.
var NeedsFactor = errkind.New(errkind.Denied, "a second factor is required of you: log in to the portal and set one up before you do anything else")

// factorRequired tells whether a user has to have a second factor. A provider
// of OpenID Connect sees to that itself.
func factorRequired(u User, t Tenant) bool { return t.FactorRequired && u.Subject == "" }

var wrongCode = errkind.New(errkind.Denied, "the code of the second factor is wrong, or was used already: wait for the next one, and check the clock of the device that shows it")
