package catalog

import (
	"context"
	"embed"
	"io/fs"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Migrations are numbered from 1 without a gap and never change once
// released: a new build only appends.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	version int
	text    string
}

func migrations() ([]migration, error) {
	entries, err := fs.ReadDir(migrationFiles, "migrations") // sorted by name
	if err != nil {
		return nil, err
	}
	var all []migration
	for i, e := range entries {
		digits, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.Atoi(digits)
		if err != nil || version != i+1 {
			return nil, errkind.New(errkind.Internal, "migration %s is not number %d", e.Name(), i+1)
		}
		text, err := migrationFiles.ReadFile("migrations/" + e.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, migration{version, string(text)})
	}
	return all, nil
}

// migrate brings the schema up to date, in one transaction: a crash leaves
// the old schema, and of two processes one migrates while the other waits.
func (c *Catalog) migrate(ctx context.Context) error {
	steps, err := migrations()
	if err != nil {
		return err
	}
	return c.update(ctx, func(t *tx) error {
		took, err := t.migrate(steps)
		if err != nil || !took {
			return err
		}
		_, err = t.exec(t.dialect.guard)
		return err
	})
}

// schema is the version of what is there, 0 of an empty database.
func (t *tx) schema() (int, error) {
	if _, err := t.exec("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)"); err != nil {
		return 0, err
	}
	return t.count("SELECT COALESCE(MAX(version), 0) FROM schema_version")
}

// migrate takes the steps that were not taken yet, and tells whether there were
// any. After them the schema lacks the dialect's guard.
func (t *tx) migrate(steps []migration) (took bool, err error) {
	have, err := t.schema()
	if err != nil {
		return false, err
	}
	if have > len(steps) {
		return false, errkind.New(errkind.Unsupported,
			"the catalog (%s) was written by a newer mooringd: its schema is version %d, this build knows up to %d; install the newer version again",
			t.dialect.place, have, len(steps))
	}
	for _, m := range steps[have:] {
		if _, err := t.exec(m.text); err != nil {
			return false, errkind.Wrap(errkind.Of(err), err, "bring the catalog to schema version %d", m.version)
		}
		if _, err := t.exec("INSERT INTO schema_version (version) VALUES (?)", m.version); err != nil {
			return false, err
		}
	}
	return have < len(steps), nil
}
