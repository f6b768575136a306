package catalog_test

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/catalog/catalogtest"
	"mooring.dev/mooring/hostsvc/internal/catalog/pgtest"
)

// server is the PostgreSQL server of all tests, started by the first that
// needs it. Without its programs those tests fail.
var server = sync.OnceValues(pgtest.Start)

var pgStarted bool

func pg(tb testing.TB) *pgtest.Server {
	tb.Helper()
	pgStarted = true
	s, err := server()
	require.NoError(tb, err)
	return s
}

func database(tb testing.TB) string {
	tb.Helper()
	name, err := pg(tb).NewDatabase(tb.Context())
	require.NoError(tb, err)
	return name
}

func openCatalog(tb testing.TB, o catalog.Options) *catalog.Catalog {
	tb.Helper()
	c, err := catalog.Open(tb.Context(), o)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, c.Close()) })
	return c
}

func sqliteOptions(tb testing.TB) catalog.Options {
	return catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(tb.TempDir(), "catalog.db")}
}

func postgresOptions(tb testing.TB) catalog.Options {
	return catalog.Options{Driver: catalog.Postgres, DSN: pg(tb).DSN(database(tb))}
}

func TestSQLiteContract(t *testing.T) {
	catalogtest.Run(t, catalogtest.Backend{
		Open: func(tb testing.TB) catalogtest.Catalog { return openCatalog(tb, sqliteOptions(tb)) },
		Again: func(tb testing.TB, c catalogtest.Catalog) catalogtest.Catalog {
			_, path, _ := strings.Cut(c.(*catalog.Catalog).Place(), " ")
			return openCatalog(tb, catalog.Options{Driver: catalog.SQLite, Path: path})
		},
	})
}

func TestPostgresContract(t *testing.T) {
	catalogtest.Run(t, catalogtest.Backend{
		Open: func(tb testing.TB) catalogtest.Catalog { return openCatalog(tb, postgresOptions(tb)) },
		Again: func(tb testing.TB, c catalogtest.Catalog) catalogtest.Catalog {
			place := c.(*catalog.Catalog).Place()
			return openCatalog(tb, catalog.Options{Driver: catalog.Postgres, DSN: pg(tb).DSN(filepath.Base(place))})
		},
	})
}
