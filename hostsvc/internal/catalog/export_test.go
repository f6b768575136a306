package catalog

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Pragmas reads settings of the writing connection.
func Pragmas(t *testing.T, c *Catalog, names ...string) map[string]string {
	values := map[string]string{}
	for _, name := range names {
		var v string
		require.NoError(t, c.write.QueryRow("PRAGMA "+name).Scan(&v))
		values[name] = v
	}
	return values
}

// Plan is how the database would run the listing of one filter.
func Plan(t *testing.T, c *Catalog, explain, query string, args ...any) (plan string) {
	require.NoError(t, c.view(t.Context(), func(x *tx) error {
		return x.each(func(s scanner) error {
			var line string
			dest := []any{&line}
			if c.dialect.clock == "" { // SQLite: id, parent, unused, detail
				var a, b, d int
				dest = []any{&a, &b, &d, &line}
			}
			err := s.Scan(dest...)
			plan += line + "\n"
			return err
		}, explain+" "+query, args...)
	}))
	return plan
}

// ListQuery is the statement of Volumes.
var ListQuery = listQuery
