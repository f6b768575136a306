package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"mooring.dev/mooring/pkg/errkind"
)

// Cost is what hashing a password takes. Memory is in KiB.
type Cost struct {
	Memory, Time uint32
	Threads      uint8
}

// DefaultCost is the least that is recommended for Argon2id when many log in
// at the same time; RFC 9106, section 4, says how to choose more.
var DefaultCost = Cost{Memory: 19 << 10, Time: 2, Threads: 1}

const (
	saltSize = 16
	hashSize = 32
	hashings = 4 // at a time, so that a storm of log-ins cannot use up the memory

	minPassword = 12
	maxPassword = 256
)

// hasher makes and checks Argon2id hashes, written as PHC strings. It is safe
// for concurrent use.
type hasher struct {
	cost Cost
	slot chan struct{}
	kdf  func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte
}

func newHasher(c Cost) *hasher {
	return &hasher{cost: c, slot: make(chan struct{}, hashings), kdf: argon2.IDKey}
}

func (h *hasher) derive(ctx context.Context, password string, salt []byte, c Cost) ([]byte, error) {
	select {
	case h.slot <- struct{}{}:
		defer func() { <-h.slot }()
	case <-ctx.Done():
		return nil, errkind.Wrap(errkind.Unavailable, ctx.Err(), "too many people log in at the moment: try again")
	}
	return h.kdf([]byte(password), salt, c.Time, c.Memory, c.Threads, hashSize), nil
}

// hash makes a PHC string.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails (crypto/rand, Go 1.24)
	sum, err := h.derive(ctx, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.Memory, h.cost.Time, h.cost.Threads,
		enc.EncodeToString(salt), enc.EncodeToString(sum)), nil
}

// verify compares a password with a PHC string; old tells that it was made at
// another cost. With "" nothing fits, after the same work.
func (h *hasher) verify(ctx context.Context, phc, password string) (fits, old bool, err error) {
	c, salt, want, ok := parsePHC(phc)
	if !ok {
		_, err := h.derive(ctx, password, make([]byte, saltSize), h.cost)
		return false, false, err
	}
	sum, err := h.derive(ctx, password, salt, c)
	if err != nil {
		return false, false, err
	}
	return subtle.ConstantTimeCompare(sum, want) == 1, c != h.cost, nil
}

func parsePHC(phc string) (c Cost, salt, sum []byte, ok bool) {
	part := strings.Split(phc, "$")
	if len(part) != 6 || part[1] != "argon2id" || part[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return c, nil, nil, false
	}
	if n, err := fmt.Sscanf(part[3], "m=%d,t=%d,p=%d", &c.Memory, &c.Time, &c.Threads); err != nil || n != 3 || c.Time == 0 || c.Threads == 0 {
		return c, nil, nil, false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(part[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(part[5])
	return c, salt, sum, err1 == nil && err2 == nil && len(sum) == hashSize
}

// trivial are words around which a password is guessed first.
var trivial = []string{"password", "passwort", "mooring", "administrator", "qwertz", "qwerty", "letmein", "welcome", "changeme", "1234567890"}

// checkPassword refuses what is guessed soon.
func checkPassword(user, password string) error {
	low := strings.ToLower(password)
	short := len([]rune(password)) < minPassword
	switch {
	case short:
		return errkind.New(errkind.Invalid, "the password is shorter than %d characters: several words are easy to remember and long", minPassword)
	case len(password) > maxPassword:
		return errkind.New(errkind.Invalid, "the password is longer than %d bytes: choose a shorter one", maxPassword)
	case user != "" && len(user) > 2 && strings.Contains(low, strings.ToLower(user)):
		return errkind.New(errkind.Invalid, "the password contains the name of the user: choose one that does not")
	case kinds(low) < 5:
		return errkind.New(errkind.Invalid, "the password has fewer than 5 different characters: choose one with more")
	}
	for _, w := range trivial {
		if rest := strings.ReplaceAll(low, w, ""); len(low)-len(rest) > 0 && len([]rune(rest)) < minPassword/2 {
			return errkind.New(errkind.Invalid, "the password is little more than %q, which is guessed first: choose other words", w)
		}
	}
	return nil
}

func kinds(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// letters of generated passwords cannot be mistaken for each other.
const letters = "abcdefghjkmnpqrstuvwxyz23456789"

// generate makes a password of four groups, about 99 bits.
func generate() string {
	var b strings.Builder
	for i := range 20 {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[below(len(letters))])
	}
	return b.String()
}

// below draws a number without preferring any.
func below(n int) int {
	most := 256 - 256%n
	for {
		var b [1]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
		if int(b[0]) < most {
			return int(b[0]) % n
		}
	}
}
