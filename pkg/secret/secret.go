// Package secret holds passwords and keys so that they are not shown by
// accident: a Text prints as [redacted] with every verb of fmt, in JSON, in
// TOML and in logs, and can be read from a file that only its owner may read.
package secret

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
)

// Redacted is what a secret looks like.
const Redacted = "[redacted]"

// Text is a secret. The zero value is none. It is kept behind a pointer, so
// that printing a struct with a Text in an unexported field, which asks no
// method, shows an address.
type Text struct{ value *string }

// New makes a secret of value.
func New(value string) Text {
	if value == "" {
		return Text{}
	}
	return Text{&value}
}

// Reveal is the secret itself, "" for none. Whoever calls it answers for where
// the result goes.
func (t Text) Reveal() string {
	if t.value == nil {
		return ""
	}
	return *t.value
}

// IsZero reports whether there is no secret.
func (t Text) IsZero() bool { return t.value == nil }

// Equal compares in constant time for secrets of equal length.
func (t Text) Equal(other Text) bool {
	return subtle.ConstantTimeCompare([]byte(t.Reveal()), []byte(other.Reveal())) == 1
}

// String hides the secret.
func (t Text) String() string {
	if t.IsZero() {
		return ""
	}
	return Redacted
}

// Format hides the secret from every verb of fmt.
func (t Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// MarshalText hides the secret from TOML, YAML and map keys.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalJSON hides the secret.
func (t Text) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }
