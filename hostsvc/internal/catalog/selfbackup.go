package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/selfbackup"
)

var (
	_ selfbackup.Tx      = (*tx)(nil)
	_ selfbackup.Catalog = (*Catalog)(nil)
)

// SelfBackup is the catalog as those see it who copy it.
func (c *Catalog) SelfBackup() selfbackup.Store { return selfBackups{c} }

type selfBackups struct{ c *Catalog }

func (s selfBackups) View(ctx context.Context, fn func(selfbackup.Tx) error) error {
	return s.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (s selfBackups) Update(ctx context.Context, fn func(selfbackup.Tx) error) error {
	return s.c.update(ctx, func(t *tx) error { return fn(t) })
}
