package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ oidc.Tx = (*tx)(nil)

// Providers is the catalog as log-in by OIDC providers sees it.
func (c *Catalog) Providers() oidc.Store { return oidcProviders{c} }

type oidcProviders struct{ c *Catalog }

func (o oidcProviders) View(ctx context.Context, fn func(oidc.Tx) error) error {
	return o.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (o oidcProviders) Update(ctx context.Context, fn func(oidc.Tx) error) error {
	return o.c.update(ctx, func(t *tx) error { return fn(t) })
}

const providerCols = "group_id, body, sealed"

func scanProvider(s scanner) (p oidc.Provider, err error) {
	var text string
	if err = s.Scan(&p.Group, &text, &p.Sealed); err != nil {
		return p, err
	}
	return p, body(text, &p.Body, "OIDC provider of", string(p.Group))
}

func (t *tx) Providers() ([]oidc.Provider, error) {
	return list(t, scanProvider, "SELECT "+providerCols+" FROM oidc ORDER BY group_id")
}

// Provider knows only that of the vmgroup that the transaction is confined to,
// if it is.
func (t *tx) Provider(g volspec.VMGroupID) (oidc.Provider, error) {
	p, found, err := one(t, scanProvider, "SELECT "+providerCols+" FROM oidc WHERE group_id = ?", g)
	if id, ok := volspec.Confined(t.ctx); ok && id != g {
		p, found = oidc.Provider{}, false
	}
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "there is no OIDC provider")
	}
	return p, err
}

func (t *tx) PutProvider(p oidc.Provider) error {
	if p.Group != "" {
		if _, err := t.group(p.Group); err != nil {
			return err
		}
	}
	text, err := document(p.Body, "OIDC provider of", string(p.Group))
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("oidc", providerCols, "group_id"), p.Group, text, p.Sealed)
	return err
}

func (t *tx) DeleteProvider(g volspec.VMGroupID) error {
	_, err := t.exec("DELETE FROM oidc WHERE group_id = ?", g)
	return err
}
