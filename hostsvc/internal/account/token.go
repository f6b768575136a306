package account

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// tokenPrefix lets scanners find secrets that lie where they should not.
const tokenPrefix = "mrg_"

// newToken is the secret of a token: 32 random bytes and a checksum.
func newToken() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand, Go 1.24)
	word := tokenPrefix + hex.EncodeToString(b)
	return word + sumOf(word)
}

func sumOf(word string) string { return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(word))) }

// tokenForm tells whether a word can be a token, so that others cost nothing.
func tokenForm(word string) bool {
	at := len(tokenPrefix) + 64
	return len(word) == at+8 && strings.HasPrefix(word, tokenPrefix) && sumOf(word[:at]) == word[at:]
}

var badToken = errkind.New(errkind.Denied, "the token is not valid, has expired or was removed: make a new one")

// ByToken is the caller who shows the secret of a token, as the catalog knows
// it now: never more than its user.
func (s *Service) ByToken(ctx context.Context, secret, from string) (c volspec.Caller, err error) {
	if !tokenForm(secret) {
		return c, badToken
	}
	hash, note := hashOf(secret), false
	err = s.o.Store.View(ctx, func(tx Tx) error {
		var k Token
		if c, k, err = s.token(tx, hash); err != nil {
			return err
		}
		note = s.now().Sub(k.Used) >= noteEvery || k.Body.From != from
		return nil
	})
	if err == nil && note {
		err = s.o.Store.Update(ctx, func(tx Tx) error {
			var k Token
			if c, k, err = s.token(tx, hash); err != nil {
				return err
			}
			k.Used, k.Body.From = s.now(), from
			return tx.PutToken(k)
		})
	}
	c.From = from
	return c, err
}

func (s *Service) token(tx Tx, hash string) (c volspec.Caller, k Token, err error) {
	if k, err = tx.Token(hash); absent(err) {
		return c, k, badToken
	}
	if err != nil {
		return c, k, err
	}
	if !s.now().Before(k.Expires) {
		return c, k, badToken
	}
	u, t, err := s.who(tx, k.User)
	if err != nil {
		return c, k, err
	}
	c = s.callerOf(u, t)
	if c.MustFactor {
		return c, k, NeedsFactor
	}
	c.Token, c.Scope, c.Actor, c.MustChange = k.ID, k.Body.Scope, c.Actor+" token:"+k.Name, false
	if c.Scope == "" { // all that others can be bound to: one's own account is not among it
		c.Scope = volspec.Scope(strings.Join(s.holds(c), " "))
	}
	if c.Scope == "" {
		return c, k, badToken
	}
	return c, k, nil
}

// tokenByID is the token that a caller shows.
func (s *Service) tokenByID(tx Tx, c volspec.Caller) (Token, error) {
	all, err := tx.Tokens(c.User)
	if err != nil {
		return Token{}, err
	}
	at := slices.IndexFunc(all, func(k Token) bool { return k.ID == c.Token })
	if at < 0 {
		return Token{}, badToken
	}
	return all[at], nil
}

// Tokens lists the caller's own.
func (s *Service) Tokens(ctx context.Context, c volspec.Caller) (answer []wire.Token, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		if c.User == "" {
			return nil
		}
		all, err := tx.Tokens(c.User)
		for _, k := range all {
			answer = append(answer, tokenOf(k))
		}
		return err
	})
	return answer, err
}

func tokenOf(k Token) wire.Token {
	return wire.Token{
		ID: k.ID, Name: k.Name, Scope: k.Body.Scope, Created: k.Body.Created, Expires: k.Expires, LastUsed: k.Used, LastFrom: k.Body.From,
	}
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._@+-]{0,63}$`)

// CreateToken makes one for the caller. The answer holds its secret.
func (s *Service) CreateToken(ctx context.Context, c volspec.Caller, r wire.CreateToken) (wire.Token, error) {
	switch {
	case c.MustChange:
		return wire.Token{}, errkind.New(errkind.Denied, "your password was generated: change it first")
	case c.MustFactor:
		return wire.Token{}, NeedsFactor
	case c.As != "":
		return wire.Token{}, errkind.New(errkind.Denied, "a token is made for yourself, and you act for tenant %s: stop that first", c.As)
	case !tokenName.MatchString(r.Name):
		return wire.Token{}, errkind.New(errkind.Invalid, "the token name %q is not valid: up to 64 letters, digits, spaces and . _ - + @, a letter or digit first", clip(r.Name))
	case r.Days < 0 || r.Days > tokenMost:
		return wire.Token{}, errkind.New(errkind.Invalid, "a token cannot live %d days: write a number from 1 to %d", r.Days, tokenMost)
	}
	days := r.Days
	if days == 0 {
		days = tokenDefault
	}
	scope := strings.Fields(string(r.Scope))
	has := s.holds(c)
	for _, p := range scope {
		if !slices.Contains(has, p) {
			return wire.Token{}, errkind.New(errkind.Denied, "a token with the permission %q cannot be made, since you do not have it: choose among %s", clip(p), strings.Join(has, ", "))
		}
	}
	slices.Sort(scope)
	scope = slices.Compact(scope)
	secret := newToken()
	now := s.now()
	k := Token{ID: newID(), Hash: hashOf(secret), User: c.User, Name: r.Name, Expires: now.Add(time.Duration(days) * 24 * time.Hour),
		Body: TokenBody{Scope: volspec.Scope(strings.Join(scope, " ")), Created: now}}
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		u, _, err := s.own(tx, c)
		if err != nil {
			return err
		}
		all, err := tx.Tokens(u.ID)
		if err != nil {
			return err
		}
		if len(all) >= maxTokens {
			return errkind.New(errkind.Quota, "you have %d tokens, the most that are possible: remove some first", len(all))
		}
		if err := tx.PutToken(k); err != nil {
			return err
		}
		return s.auditOwn(ctx, tx, c, u, "token.create", k)
	})
	if err != nil {
		return wire.Token{}, err
	}
	w := tokenOf(k)
	w.Secret = secret
	return w, nil
}

// RemoveToken ends one of the caller's own, by id or name; a token only itself.
func (s *Service) RemoveToken(ctx context.Context, c volspec.Caller, word string) error {
	return s.o.Store.Update(ctx, func(tx Tx) error {
		if c.User == "" {
			return noSession
		}
		u, err := tx.User(c.User)
		if err != nil {
			return err
		}
		all, err := tx.Tokens(u.ID)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(k Token) bool { return k.ID == word })
		if at < 0 {
			at = slices.IndexFunc(all, func(k Token) bool { return k.Name == word })
		}
		if at < 0 {
			return errkind.New(errkind.NotFound, "Token %s does not exist", clip(word))
		}
		if c.Token != "" && all[at].ID != c.Token {
			return errkind.New(errkind.Denied, "a token ends only itself: log in to remove others")
		}
		if err := tx.DeleteToken(all[at].ID); err != nil {
			return err
		}
		return s.auditOwn(ctx, tx, c, u, "token.remove", all[at])
	})
}

func (s *Service) auditOwn(ctx context.Context, tx Tx, c volspec.Caller, u User, action string, k Token) error {
	name, err := tenantName(tx, u.Group)
	if err != nil {
		return err
	}
	detail := "all permissions of " + u.Name
	if k.Body.Scope != "" {
		detail = string(k.Body.Scope)
	}
	return s.audit(ctx, tx, c, name, action, k.Name, detail, nil)
}
