package keyring

import (
	"crypto/rand"
	"encoding/base32"
	"strings"

	"mooring.dev/mooring/pkg/secret"
)

// NewPassword makes the password of a repository: 256 random bits in lower
// case letters and the digits 2 to 7, in groups of four, so that a person can
// type it from a recovery kit. The dashes belong to it.
func NewPassword() Secret {
	b := make([]byte, keySize)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	text := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
	var groups []string
	for len(text) > 4 {
		groups, text = append(groups, text[:4]), text[4:]
	}
	return secret.New(strings.Join(append(groups, text), "-"))
}

// NewPassword is the function of that name, as text.
func (r *Ring) NewPassword() string { return NewPassword().Reveal() }
