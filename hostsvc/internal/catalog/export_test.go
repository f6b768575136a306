package catalog

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
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

// Fleet fills an empty catalog with vmgroups g0, g1, … of ten volumes each, of
// which the last lies in the trash. It is made by the database, since ten
// thousand PutVolume are slow under the race detector.
func Fleet(tb testing.TB, c *Catalog, groups int) {
	tb.Helper()
	template := volume.Record{ID: "template", Key: volume.Key{Group: "template"}, State: volspec.Trashed, Size: volspec.GiB, Spec: volspec.Spec{Size: volspec.GiB}.Defaulted()}
	special := map[string]string{
		"id": "'v' || CAST(i AS TEXT)", "group_id": "'g' || CAST(i / 10 AS TEXT)", "name": "'volume' || CAST(i % 10 AS TEXT)",
		"datastore": "'ds' || CAST(i % 3 AS TEXT)", "state": "CASE WHEN i % 10 = 9 THEN 'trashed' ELSE 'ready' END",
	}
	names := strings.Split(strings.Join(strings.Fields(volumeCols), " "), ", ")
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = cmp.Or(special[name], name)
	}
	numbers := "WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ?) "
	require.NoError(tb, c.update(context.Background(), func(x *tx) error {
		require.NoError(tb, x.PutGroup(volspec.VMGroup{ID: "template", Name: "template"}))
		require.NoError(tb, x.PutVolume(template))
		_, err := x.exec("INSERT INTO vmgroups ("+groupCols+") "+numbers+
			"SELECT 'g' || CAST(i AS TEXT), 'group' || CAST(i AS TEXT), '', '', '', 0, 'enabled' FROM numbers", groups)
		require.NoError(tb, err)
		_, err = x.exec("INSERT INTO volumes ("+volumeCols+") "+numbers+
			"SELECT "+strings.Join(values, ", ")+" FROM numbers, volumes WHERE id = 'template'", 10*groups)
		require.NoError(tb, err)
		require.NoError(tb, x.DeleteVolume("template"))
		return x.DeleteGroup("template")
	}))
}

// ListQuery is the statement of Volumes.
var ListQuery = listQuery

// SchemaVersion is the newest that this build knows.
func SchemaVersion(t *testing.T) int {
	all, err := migrations()
	require.NoError(t, err)
	return len(all)
}

// FillTables puts rows into every table of an empty catalog that is dumped, and
// returns the names of all tables. In row i all texts are alike, so that rows
// refer to each other, and all numbers.
func FillTables(t *testing.T, c *Catalog, rows int) (tables []string) {
	t.Helper()
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if c.dialect.clock != "" {
		query = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
	}
	require.NoError(t, c.update(t.Context(), func(x *tx) error {
		all, err := list(x, word[string], query)
		require.NoError(t, err)
		_, err = x.exec("DELETE FROM transporters")
		require.NoError(t, err)
		for _, d := range dumped {
			for i := range rows {
				fillRow(t, x, d.name, i)
			}
		}
		tables = all
		return nil
	}))
	return tables
}

func fillRow(t *testing.T, x *tx, table string, i int) {
	t.Helper()
	rows, err := x.sql.QueryContext(t.Context(), "SELECT * FROM "+table+" WHERE 1 = 0")
	require.NoError(t, err)
	types, err := rows.ColumnTypes()
	require.NoError(t, err)
	require.NoError(t, rows.Close())
	var names []string
	var args []any
	for _, c := range types {
		names = append(names, c.Name())
		if strings.HasPrefix(c.DatabaseTypeName(), "TEXT") {
			args = append(args, fmt.Sprintf("%06d ü ? $1 '\"<&>\\\n\u2028", i))
		} else {
			args = append(args, int64(1)<<62+int64(i))
		}
	}
	_, err = x.exec("INSERT INTO "+table+" ("+strings.Join(names, ", ")+") VALUES ("+marks(len(names))+")", args...)
	require.NoError(t, err, table)
}
