package app

import (
	"context"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// openRing opens the master key. It is made only while nothing was ever sealed
// with one, and on a catalog that several mooringd share only by the first of
// them.
func openRing(ctx context.Context, cfg config.Config, c *catalog.Catalog) (*keyring.Ring, error) {
	path := keyring.Path(cfg.Backup.MasterKeyFile, cfg.StateDir)
	shared := cfg.Catalog.Driver == config.Postgres
	ring, err := keyring.Open(path)
	if errkind.Is(err, errkind.NotFound) {
		ring, err = makeRing(ctx, path, shared, c)
	}
	if err == nil && shared {
		err = sharedKey{c}.agree(ctx, ring)
	}
	return ring, err
}

func makeRing(ctx context.Context, path string, shared bool, c *catalog.Catalog) (*keyring.Ring, error) {
	sealed, others, err := sealedIn(ctx, c)
	if err != nil {
		return nil, err
	}
	if others > 0 {
		return nil, errkind.New(errkind.NotFound, "the master key that %d secrets are sealed with, of repositories, webhooks, log-in providers and second factors, is gone: put %s back from a copy", sealed+others, path)
	}
	if sealed > 0 {
		return nil, errkind.New(errkind.NotFound, "the master key that the keys of %d repositories are sealed with is gone: put %s back from a copy, or detach the repositories and attach them with their recovery kits", sealed, path)
	}
	if shared {
		if word, err := (sharedKey{c}).word(ctx); err != nil {
			return nil, err
		} else if word != "" {
			return nil, otherKey(path)
		}
	}
	ring, err := keyring.Create(path)
	if errkind.Is(err, errkind.Exists) { // another process was quicker
		return keyring.Open(path)
	}
	if err == nil {
		log.G(ctx).WithField("file", path).Warn("a master key was made: keep a copy of it on another machine")
	}
	return ring, err
}

// sharedKey is a word in a catalog that several mooringd share, sealed with
// their master key. Whoever cannot open it would seal what the others cannot
// read.
type sharedKey struct{ c *catalog.Catalog }

const (
	sharedKeySetting = "master-key"
	sharedKeyContext = "the master key of the catalog"
)

func otherKey(path string) error {
	return errkind.New(errkind.WrongKey, "the catalog is used by a mooringd with another master key: copy its file master.key to %s, readable for root only, and start again", path)
}

func (k sharedKey) word(ctx context.Context) (word string, err error) {
	err = k.c.Tenancy().View(ctx, func(tx tenancy.Tx) error {
		word, err = tx.Setting(sharedKeySetting)
		return err
	})
	return word, err
}

// agree puts the word there, or checks that ring opens it.
func (k sharedKey) agree(ctx context.Context, ring *keyring.Ring) error {
	mine, err := ring.Seal([]byte("agreed"), sharedKeyContext)
	if err != nil {
		return err
	}
	return k.c.Tenancy().Update(ctx, func(tx tenancy.Tx) error {
		word, err := tx.Setting(sharedKeySetting)
		if err != nil {
			return err
		}
		if word == "" {
			return tx.PutSetting(sharedKeySetting, mine)
		}
		_, err = ring.Open(word, sharedKeyContext)
		if errkind.Is(err, errkind.WrongKey) {
			return otherKey(ring.Path())
		}
		return err
	})
}

// Reseal puts what again makes of the word in its place; for a new master key.
func (k sharedKey) Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (n int, err error) {
	err = k.c.Tenancy().Update(ctx, func(tx tenancy.Tx) error {
		n = 0
		word, err := tx.Setting(sharedKeySetting)
		if err != nil || word == "" {
			return err
		}
		if word, err = again(word, sharedKeyContext); err != nil {
			return err
		}
		n = 1
		return tx.PutSetting(sharedKeySetting, word)
	})
	return n, err
}
