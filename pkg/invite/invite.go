// Package invite is the one-time code with which a virtual machine enrols at
// the host service, and the proof that it has one. A code is shown once and
// travels beside the network: typed by a person, or placed in the VM by its
// hypervisor. On the network goes only a proof, bound to one TLS connection
// and one certificate request, of no use anywhere else. The service keeps
// only a verifier, from which the code cannot be found.
package invite

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

const (
	idSize     = 8
	secretSize = 16
	groupSize  = 8 // characters between two dashes
)

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Code is a one-time code: a public id, and a secret of 128 bits.
type Code struct {
	id     [idSize]byte
	secret [secretSize]byte
}

// New makes a random code.
func New() (c Code) {
	_, _ = rand.Read(c.id[:]) // never fails (crypto/rand, Go 1.24)
	_, _ = rand.Read(c.secret[:])
	return c
}

// Parse reads a code. Dashes, blanks and capital letters do not matter.
func Parse(s string) (c Code, err error) {
	word := strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, strings.ToLower(s))
	b, err := letters.DecodeString(word)
	if err != nil || len(b) != idSize+secretSize || letters.EncodeToString(b) != word {
		return Code{}, errkind.New(errkind.Invalid, "the code for enrolling is not valid: it is five words of letters and digits, as `mooring vm enroll` prints it")
	}
	copy(c.id[:], b)
	copy(c.secret[:], b[idSize:])
	return c, nil
}

// Reveal writes the code for a person, with its secret.
func (c Code) Reveal() string {
	s := letters.EncodeToString(append(c.id[:], c.secret[:]...))
	var words []string
	for ; len(s) > groupSize; s = s[groupSize:] {
		words = append(words, s[:groupSize])
	}
	return strings.Join(append(words, s), "-")
}

// String keeps the secret out of logs.
func (c Code) String() string { return "code " + c.ID() }

// GoString does the same.
func (c Code) GoString() string { return c.String() }

// ID is the public half, by which the service finds the verifier.
func (c Code) ID() string { return hex.EncodeToString(c.id[:]) }

// Verifier is what the service keeps to check proofs with.
func (c Code) Verifier() []byte {
	sum := sha256.Sum256(append([]byte("mooring enrolment verifier 1\x00"), c.secret[:]...))
	return sum[:]
}

// Prove shows possession of the code whose verifier is given, for one
// certificate request on the connection that binding names.
func Prove(verifier, binding, request []byte) []byte {
	sum := sha256.Sum256(request)
	m := hmac.New(sha256.New, verifier)
	m.Write([]byte("mooring enrolment proof 1\x00"))
	m.Write(sum[:])
	m.Write(binding)
	return m.Sum(nil)
}

// Verify checks a proof in constant time.
func Verify(verifier, binding, request, proof []byte) bool {
	return len(binding) > 0 && hmac.Equal(Prove(verifier, binding, request), proof)
}

// Key is the name under which a hypervisor shows a VM its invitation.
const Key = "mooring.enroll"

// Invitation is everything that a VM needs to enrol, as it is placed in the
// VM by its hypervisor, or in a file.
type Invitation struct {
	URL     string    `json:"url"`
	CA      string    `json:"ca"`   // fingerprint of the service's authority
	Code    string    `json:"code"` // as Reveal writes it
	Expires time.Time `json:"expires,omitzero"`
}

// Read takes an invitation from the text of a file: a code alone, or an
// Invitation in JSON.
func Read(text []byte) (Invitation, error) {
	text = bytes.TrimSpace(text)
	in := Invitation{Code: string(text)}
	if bytes.HasPrefix(text, []byte("{")) {
		in = Invitation{}
		if err := json.Unmarshal(text, &in); err != nil {
			return Invitation{}, errkind.Wrap(errkind.Invalid, err, "the invitation to enrol is not valid: write the code alone, or the JSON as the service placed it")
		}
	}
	if _, err := Parse(in.Code); err != nil {
		return Invitation{}, err
	}
	return in, nil
}
