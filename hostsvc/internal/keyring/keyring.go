// Package keyring keeps the master key and seals secrets with it: passwords
// of repositories, credentials of their places. What is sealed may lie in the
// catalog and in its backups; the master key lies in a file of its own, or
// comes from the service manager as a credential.
//
// A ring has one current key, which seals, and older ones, which still open.
// Rotation: Rotate, then seal again whatever Stale names, then Forget.
// Several mooringd on one catalog need the same master key on each machine.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// Secret is a secret that does not show itself.
type Secret = secret.Text

const (
	keySize = 32
	// sealedPrefix is the version of what Seal makes:
	// mk1.<key id>.<base64url of nonce and ciphertext>.
	sealedPrefix = "mk1"
	maxSealed    = 1 << 20
)

// key is one AES-256 key. Its id follows from it, so that a mistyped key is
// noticed.
type key struct {
	id  string
	raw Secret
}

func newKey(raw []byte) key {
	sum := sha256.Sum256(append([]byte("mooring master key id\x00"), raw...))
	return key{hex.EncodeToString(sum[:8]), secret.New(string(raw))}
}

func randomKey() key {
	b := make([]byte, keySize)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	return newKey(b)
}

func (k key) aead() (cipher.AEAD, error) {
	block, err := aes.NewCipher([]byte(k.raw.Reveal()))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// additional binds a sealed secret to its key and its context.
func additional(id, context string) []byte {
	return []byte("mooring sealed secret 1\x00" + id + "\x00" + context)
}

// Ring is an open master key. It is safe for concurrent use.
type Ring struct {
	path     string
	readOnly bool
	keys     atomic.Pointer[[]key] // never empty, the first one is current
	file     sync.Mutex            // guards the file against two writers
}

// Seal encrypts plain under the current key. What it returns is one printable
// word and opens only with the same context, which says whose secret it is
// (the id of a repository): moved to another row it opens nothing.
func (r *Ring) Seal(plain []byte, context string) (string, error) {
	k := (*r.keys.Load())[0]
	a, err := k.aead()
	if err != nil {
		return "", errkind.Wrap(errkind.Internal, err, "seal a secret")
	}
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	_, _ = rand.Read(nonce) // never fails (crypto/rand, Go 1.24)
	box := a.Seal(nonce, nonce, plain, additional(k.id, context))
	return sealedPrefix + "." + k.id + "." + base64.RawURLEncoding.EncodeToString(box), nil
}

// Open decrypts what Seal made. A key that is not in the ring: wrong-key. Made by
// a newer program: unsupported. Damaged, or sealed for another context:
// corrupt.
func (r *Ring) Open(sealed, context string) ([]byte, error) {
	id, box, err := split(sealed)
	if err != nil {
		return nil, err
	}
	for _, k := range *r.keys.Load() {
		if k.id != id {
			continue
		}
		a, err := k.aead()
		if err != nil {
			return nil, errkind.Wrap(errkind.Internal, err, "open a sealed secret")
		}
		if len(box) < a.NonceSize() {
			return nil, damaged()
		}
		plain, err := a.Open(nil, box[:a.NonceSize()], box[a.NonceSize():], additional(id, context))
		if err != nil {
			return nil, errkind.New(errkind.Corrupt, "the sealed secret of %q does not open: it is damaged, or belongs to something else; restore the catalog, or attach the repository again with its recovery kit", clip(context))
		}
		return plain, nil
	}
	return nil, errkind.New(errkind.WrongKey, "the sealed secret of %q needs master key %s, which is not in %s: put that key back, or attach the repository again with its recovery kit", clip(context), id, r.path)
}

// Stale reports whether sealed should be sealed again, because it is not
// sealed with the current key.
func (r *Ring) Stale(sealed string) bool {
	id, _, err := split(sealed)
	return err != nil || id != r.Current()
}

// Current is the id of the key that seals.
func (r *Ring) Current() string { return (*r.keys.Load())[0].id }

// Keys are the ids of all keys, the current one first.
func (r *Ring) Keys() []string {
	var ids []string
	for _, k := range *r.keys.Load() {
		ids = append(ids, k.id)
	}
	return ids
}

// Path is the file of the master key.
func (r *Ring) Path() string { return r.path }

func split(sealed string) (id string, box []byte, err error) {
	version, rest, _ := strings.Cut(sealed, ".")
	id, text, found := strings.Cut(rest, ".")
	if version != sealedPrefix && strings.HasPrefix(version, "mk") {
		return "", nil, errkind.New(errkind.Unsupported, "a sealed secret was made by a newer mooringd (form %q): install that version", clip(version))
	}
	if version != sealedPrefix || !found || len(sealed) > maxSealed || !isID(id) {
		return "", nil, damaged()
	}
	// Strict: one secret has one spelling.
	if box, err = base64.RawURLEncoding.Strict().DecodeString(text); err != nil || strings.ContainsAny(text, "\r\n") {
		return "", nil, damaged()
	}
	return id, box, nil
}

func isID(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 8 && strings.ToLower(s) == s
}

func damaged() error {
	return errkind.New(errkind.Corrupt, "a sealed secret is damaged: restore the catalog, or attach the repository again with its recovery kit")
}

// clip keeps a foreign word short.
func clip(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}
