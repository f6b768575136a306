package bundle

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// What version 1 makes of a passphrase; RFC 9106, section 4, second choice.
const (
	keyMemory  = 64 << 10 // KiB
	keyTime    = 3
	keyThreads = 4
	keySize    = 32
	saltSize   = 16

	minPassphrase = 12
	maxPassphrase = 1024
	maxPlain      = 20 << 20 // in base64 it fits into a request
)

func checkPassphrase(p string) error {
	switch {
	case len([]rune(p)) < minPassphrase:
		return errkind.New(errkind.Invalid, "the passphrase is shorter than %d characters: whoever has the bundle can guess a short one; several words are easy to remember and long", minPassphrase)
	case len(p) > maxPassphrase:
		return errkind.New(errkind.Invalid, "the passphrase is longer than %d bytes: choose a shorter one", maxPassphrase)
	}
	return nil
}

func (s *Service) seal(ctx context.Context, name string, all wire.Carried, passphrase string) (b wire.Bundle, err error) {
	plain, err := json.Marshal(all)
	if err != nil {
		return b, errkind.Wrap(errkind.Internal, err, "write the bundle of vmgroup %s", name)
	}
	if len(plain) > maxPlain {
		return b, errkind.New(errkind.Unsupported, "vmgroup %s has too many recovery points for one bundle: detach its largest repository first, and attach that with its recovery kit afterwards", name)
	}
	b = wire.Bundle{
		Format: wire.BundleFormat, Version: wire.BundleVersion, VMGroup: name, Created: time.Now().UTC().Truncate(time.Second),
		Salt: make([]byte, saltSize),
	}
	_, _ = rand.Read(b.Salt) // never fails (crypto/rand, Go 1.24)
	a, err := s.aead(ctx, passphrase, b.Salt)
	if err != nil {
		return wire.Bundle{}, err
	}
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	_, _ = rand.Read(nonce)
	b.Sealed = a.Seal(nonce, nonce, plain, head(b))
	return b, nil
}

// open checks a bundle, which anybody may have made, and reads it.
func (s *Service) open(ctx context.Context, b wire.Bundle, passphrase string) (all wire.Carried, err error) {
	switch {
	case b.Format != wire.BundleFormat:
		return all, errkind.New(errkind.Invalid, "this is no bundle of a tenant: make one with `mooring vmgroup save`")
	case b.Version != wire.BundleVersion:
		return all, errkind.New(errkind.Unsupported, "the bundle has version %d, this program knows %d: use a program of the version that made it, or a newer one", b.Version, wire.BundleVersion)
	}
	if err := volspec.CheckVMGroupName(b.VMGroup); err != nil {
		return all, errkind.New(errkind.Invalid, "the head of the bundle is not valid: it was changed, or cut off; save the tenant again")
	}
	if err := checkPassphrase(passphrase); err != nil {
		return all, err
	}
	a, err := s.aead(ctx, passphrase, b.Salt)
	if err != nil {
		return all, err
	}
	shut := errkind.New(errkind.WrongKey, "the bundle does not open: the passphrase is not the one it was saved with, or it was changed; save the tenant again if you are sure of the passphrase")
	if len(b.Salt) != saltSize || len(b.Sealed) < a.NonceSize() {
		return all, shut
	}
	plain, err := a.Open(nil, b.Sealed[:a.NonceSize()], b.Sealed[a.NonceSize():], head(b))
	if err != nil {
		return all, shut
	}
	return decode(plain)
}

// head binds what is sealed to what is not.
func head(b wire.Bundle) []byte {
	b.Sealed = nil
	text, _ := json.Marshal(b) // texts, a number and a time: never fails
	return text
}

func (s *Service) aead(ctx context.Context, passphrase string, salt []byte) (cipher.AEAD, error) {
	select {
	case s.slot <- struct{}{}:
		defer func() { <-s.slot }()
	case <-ctx.Done():
		return nil, errkind.Wrap(errkind.Unavailable, ctx.Err(), "too many bundles are made or read at the moment: try again")
	}
	block, err := aes.NewCipher(s.o.Key(passphrase, salt))
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "the key of a bundle")
	}
	a, err := cipher.NewGCM(block)
	return a, errkind.Wrap(errkind.Internal, err, "the key of a bundle")
}

func keyOf(passphrase string, salt []byte) []byte {
	return argon2.IDKey([]byte(passphrase), salt, keyTime, keyMemory, keyThreads, keySize)
}

// decode reads what was sealed. A key that this version does not know may mean
// anything, so it is refused.
func decode(plain []byte) (all wire.Carried, err error) {
	bad := func(why string) (wire.Carried, error) {
		return wire.Carried{}, errkind.New(errkind.Invalid, "the content of the bundle is not valid (%s): save the tenant again, with a program of this version", why)
	}
	if len(plain) > maxPlain {
		return bad("it is too long")
	}
	if !utf8.Valid(plain) {
		return bad("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(plain))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&all); err != nil {
		return bad(errkind.Text(err))
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("there is something after its end")
	}
	return all, nil
}
