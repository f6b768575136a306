package app

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
)

// sealedIn counts what is sealed with the master key: the keys of repositories,
// which recovery kits hold too, and other secrets.
func sealedIn(ctx context.Context, c *catalog.Catalog) (repositories, others int, err error) {
	count := func(sealed string) {
		if sealed != "" {
			others++
		}
	}
	err = c.Backup().View(ctx, func(tx backup.Tx) error {
		all, err := tx.AllSealed()
		repositories = len(all)
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	err = c.Notify().View(ctx, func(tx notify.Tx) error {
		all, err := tx.NotifyTargets()
		for _, t := range all {
			count(t.Sealed)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	err = c.Providers().View(ctx, func(tx oidc.Tx) error {
		all, err := tx.Providers()
		for _, p := range all {
			count(p.Sealed)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	err = c.Accounts().View(ctx, func(tx account.Tx) error {
		all, err := tx.AllUsers()
		for _, u := range all {
			count(u.Body.Factor)
			count(u.Body.NewFactor)
		}
		return err
	})
	if err != nil {
		return 0, 0, err
	}
	sealed, err := selfbackup.Sealed(ctx, c.SelfBackup())
	if sealed {
		others++
	}
	return repositories, others, err
}
