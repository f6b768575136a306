package catalog

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
)

// Drivers.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Options choose the backend. Path is SQLite's file, made when absent; DSN
// PostgreSQL's connection string, as URL or as key=value words.
type Options struct {
	Driver string
	Path   string
	DSN    string
}

// Catalog is an open database. It is safe for concurrent use.
type Catalog struct {
	dialect dialect
	write   *sql.DB // one connection: the queue of this process's Updates
	read    *sql.DB
	asked   atomic.Int64 // statements
}

// Open connects, brings the schema up to date and returns the catalog. A
// schema newer than this build is unsupported, a damaged file corrupt, a
// server that does not answer unavailable.
func Open(ctx context.Context, o Options) (*Catalog, error) {
	c, err := connect(o)
	if err != nil {
		return nil, err
	}
	if err := c.migrate(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// connect is Open without the schema.
func connect(o Options) (*Catalog, error) {
	switch o.Driver {
	case SQLite:
		return openSQLite(o)
	case Postgres:
		return openPostgres(o)
	}
	return nil, errkind.New(errkind.Invalid, "catalog driver %q is not known: use sqlite or postgres", o.Driver)
}

// Close ends all connections; transactions still running fail. The writer is
// the last to go: on SQLite it folds the log into the file.
func (c *Catalog) Close() error {
	return errors.Join(c.read.Close(), c.write.Close())
}

// Place says what and where the database is, without secrets.
func (c *Catalog) Place() string { return c.dialect.place }

// Statements is how many statements were run since Open, beside those that begin
// and end transactions.
func (c *Catalog) Statements() int64 { return c.asked.Load() }

// Volumes is the catalog as the volume service sees it.
func (c *Catalog) Volumes() volume.Store { return volumes{c} }

// Tenancy is the catalog as the vmgroup service sees it.
func (c *Catalog) Tenancy() tenancy.Store { return groups{c} }

type volumes struct{ c *Catalog }

func (v volumes) View(ctx context.Context, fn func(volume.Tx) error) error {
	return v.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (v volumes) Update(ctx context.Context, fn func(volume.Tx) error) error {
	return v.c.update(ctx, func(t *tx) error { return fn(t) })
}

type groups struct{ c *Catalog }

func (g groups) View(ctx context.Context, fn func(tenancy.Tx) error) error {
	return g.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (g groups) Update(ctx context.Context, fn func(tenancy.Tx) error) error {
	return g.c.update(ctx, func(t *tx) error { return fn(t) })
}

func (c *Catalog) view(ctx context.Context, fn func(*tx) error) error {
	return c.retried(ctx, func() (bool, error) {
		return c.run(ctx, c.read, &c.dialect.view, "", fn)
	})
}

func (c *Catalog) update(ctx context.Context, fn func(*tx) error) error {
	return c.retried(ctx, func() (bool, error) {
		return c.run(ctx, c.write, &c.dialect.update, c.dialect.lock, fn)
	})
}

// retried repeats a transaction that certainly left nothing behind and may
// succeed the next time.
func (c *Catalog) retried(ctx context.Context, once func() (again bool, err error)) error {
	const attempts = 5
	for i := 1; ; i++ {
		again, err := once()
		if !again || i == attempts {
			return err
		}
		t := time.NewTimer(time.Duration(i*i) * 20 * time.Millisecond)
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

// run is one transaction. again reports that it was undone for a reason that
// may have passed.
func (c *Catalog) run(ctx context.Context, db *sql.DB, o *sql.TxOptions, lock string, fn func(*tx) error) (again bool, err error) {
	stx, err := db.BeginTx(ctx, o)
	if err != nil {
		return c.dialect.transient(err), c.dialect.failure(ctx, err)
	}
	defer func() { _ = stx.Rollback() }() // after Commit: does nothing; also on panic
	t := &tx{ctx: ctx, sql: stx, dialect: &c.dialect, asked: &c.asked}
	if lock != "" {
		_, err = t.exec(lock)
	}
	if err == nil {
		err = fn(t)
	}
	if t.failed != nil {
		// A statement failed: nothing can be committed, and if fn hid it that
		// failure is what the caller must know.
		if err == nil {
			err = c.dialect.failure(ctx, t.failed)
		}
		return c.dialect.transient(t.failed), err
	}
	if err != nil {
		return false, err
	}
	if err := stx.Commit(); err != nil {
		return c.dialect.undone(err), c.dialect.failure(ctx, err)
	}
	return false, nil
}
