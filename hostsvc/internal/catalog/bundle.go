package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/bundle"
)

// Bundles is the catalog as package bundle sees it.
func (c *Catalog) Bundles() bundle.Store { return bundles{c} }

type bundles struct{ c *Catalog }

func (a bundles) View(ctx context.Context, fn func(bundle.Tx) error) error {
	return a.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (a bundles) Update(ctx context.Context, fn func(bundle.Tx) error) error {
	return a.c.update(ctx, func(t *tx) error { return fn(t) })
}
